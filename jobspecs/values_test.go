package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

func oneTask(body string) string {
	return "job \"j\" {\n  task \"a\" {\n    command = [\"x\"]\n" + body + "\n  }\n}"
}

// TestDurationsSizesAndCoresAreRead. (Source: JOBSPEC.md, section 3.)
func TestDurationsSizesAndCoresAreRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"90s"`: 90 * time.Second, `"1h30m"`: 90 * time.Minute, `"2d"`: 48 * time.Hour, `"1.5d"`: 36 * time.Hour, `"1d12h"`: 36 * time.Hour, `"500ms"`: 500 * time.Millisecond,
	} {
		_, job := parse(t, oneTask("timeouts {\n start_to_close = "+text+"\n}"))
		if got := specOf(t, job, "a").Timeouts.StartToClose; got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	for text, want := range map[string]int64{
		`1024`: 1024, `"1024"`: 1024, `"1KiB"`: 1024, `"1.5 GiB"`: 3 << 29, `"2TiB"`: 2 << 40, `"1kB"`: 1000, `"0.5MB"`: 500_000, `"3GB"`: 3e9, `"7B"`: 7, `0`: 0,
	} {
		_, job := parse(t, oneTask("resources {\n memory = "+text+"\n}"))
		if got := specOf(t, job, "a").Resources.MemoryBytes; got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
	for text, want := range map[string]int64{`4`: 4000, `0.5`: 500, `"500m"`: 500, `"1.25"`: 1250, `1 / 3`: 333, `0.1 + 0.2`: 300} {
		_, job := parse(t, oneTask("resources {\n cpu = "+text+"\n}"))
		if got := specOf(t, job, "a").Resources.CPUMilli; got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
}

// TestWrongValuesAreRefusedWhereTheyStand.
func TestWrongValuesAreRefusedWhereTheyStand(t *testing.T) {
	for _, c := range []struct{ block, attribute, word string }{
		{"timeouts", `start_to_close = "0s"`, "no bound"},
		{"timeouts", `start_to_close = "-5s"`, "negative"},
		{"timeouts", `start_to_close = 5`, "duration"},
		{"timeouts", `start_to_close = "1 hour"`, `"1h"`},
		{"timeouts", `start_to_close = "5"`, "unit"},
		{"timeouts", `start_to_close = "999999999999d"`, "duration"},
		{"timeouts", `start_to_close = ["5s"]`, "text"},
		{"resources", `memory = "1 gig"`, "GiB"},
		{"resources", `memory = "1e3"`, "size"},
		{"resources", `memory = "9999999999TiB"`, "too large"},
		{"resources", `memory = true`, "number"},
		{"resources", `cpu = "half"`, "500m"},
		{"resources", `cpu = -1`, "negative"},
		{"resources", `disk = ""`, "size"},
		{"retry", `max_attempts = 1.5`, "whole"},
		{"retry", `max_attempts = 1e30`, "1000"},
		{"retry", `multiplier = 0.5`, "from 1"},
		{"retry", `on = ["exit_nonzer"]`, `"exit_nonzero"`},
		{"retry", `on = "exit_nonzero"`, "list"},
		{"retry", `jitter = "maybe"`, "bool"},
		{"stop", `signal = "SIGTREM"`, `"SIGTERM"`},
		{"stop", `grace = "soon"`, "duration"},
		{"output", `type = "jsn"`, `"json"`},
		{"output", `type = "markdown"`, "not built yet"},
		{"output", `schema = {}`, "not built yet"},
		{"routing", `preferred_agent = "x"`, "not built yet"},
		{"routing", `required_capabilities = [null]`, "null"},
		{"routing", `required_capabilities = ["", "a"]`, "empty"},
		{"input", `prompt = "x"`, "not built yet"},
		{"resources", "gpu {\n share = 1\n}", "less than 1"},
		{"resources", "gpu {\n share = 0\n}", "more than 0"},
		{"resources", "gpu {\n count = -1\n}", "0 to 1024"},
		{"resources", "gpu {\n mig = \"1g\"\n}", "not built yet"},
		{"resources", "gpu = 1", "block"},
		{"constraint", `attribute = "label.a"`, "value"},
		{"constraint", "attribute = \"node.memry\"\n value = 1", `"node.memory"`},
		{"constraint", "attribute = \"label.a\"\n operator = \"==\"\n value = 1", `"="`},
		{"constraint", "attribute = \"label.a\"\n operator = \"regexp\"\n value = \"a(\"", "missing closing )"},
		{"constraint", "attribute = \"label.a\"\n operator = \"regexp\"\n value = \"" + strings.Repeat("x", 300) + "\"", "300 bytes"},
		{"constraint", "attribute = \"node.kernel\"\n operator = \"version\"\n value = \"newest\"", "is no version"},
		{"constraint", "attribute = \"node.capabilities\"\n operator = \"set_contains\"\n value = \"a\"", "list"},
		{"constraint", "attribute = \"node.capability\"\n value = \"a\"", `"node.capabilities"`},
		{"constraint", "attribute = \"run.tasks\"\n value = 0", "affinity"},
		{"constraint", "attribute = \"node.disk\"\n operator = \">=\"\n value = \"big\"", "size"},
		{"affinity", `attribute = "label.a"`, "value"},
		{"affinity", "attribute = \"node.memry\"\n value = 1", `"node.memory"`},
		{"affinity", "attribute = \"label.a\"\n value = 1\n weight = 101", "-100 to 100"},
		{"affinity", "attribute = \"label.a\"\n value = 1\n weight = 0", "no weight"},
		{"affinity", "attribute = \"label.a\"\n value = 1\n weight = 1.5", "whole"},
		{"affinity", "attribute = \"label.a\"\n value = 1\n wieght = 5", `"weight"`},
		{"affinity", "attribute = \"label.a\"\n operator = \"regexp\"\n value = \"[\"", "cannot be read"},
		{"spread", `weight = 5`, "attribute"},
		{"spread", `attribute = "gpu.model"`, "one value"},
		{"spread", `attribute = "node.nme"`, `"node.name"`},
		{"spread", "attribute = \"label.rack\"\n weight = -5", "0 to 100"},
		{"spread", "attribute = \"label.rack\"\n value = 1", "value"},
		{"", `distinct_hosts = "maybe"`, "bool"},
		{"", `affinity = []`, "block"},
		{"", strings.Repeat("spread {\n attribute = \"label.a\"\n }\n", 5), "limit is 4"},
		{"constraint", "attribute = \"label.a\"\n operator = \"in\"\n value = \"x\"", "list"},
		{"constraint", "attribute = \"label.a\"\n operator = \"in\"\n value = []", "no value"},
		{"constraint", "attribute = \"label.a\"\n value = null", "no value"},
		{"constraint", "attribute = \"gpu.memory\"\n operator = \">\"\n value = \"big\"", "size"},
		{"", `workdir = "relative"`, "absolute"},
		{"", `env = ["A=b"]`, "map"},
		{"", `env = { A = null }`, "null"},
		{"", `env = { A = [1] }`, "text"},
		{"", `rerun = "perhaps"`, "always"},
		{"", `driver = task.a.status`, "before any task"},
		{"", `driver = "container"`, "not built yet"},
		{"", `priority = -1`, "0 to 100"},
		{"", `type = "` + strings.Repeat("x", 200) + `"`, "128"},
		{"", `when = null == null ? 5 : 5`, "Bool"},
		{"", `artifact "x" {` + "\n}", "not built yet"},
		{"", `heartbeat {` + "\n}", "not built yet"},
		{"", `files = ["x"]`, "not built yet"},
		{"", `workdir = "/x/${nosuch}"`, "nosuch"},
		{"", `workdir = matrix.os`, "matrix"},
		{"", `workdir = run.name`, "run.id"},
		{"", `workdir = event.x`, "started without data"},
		{"", `workdir = wait.x`, "not built yet"},
		{"", `workdir = var`, "var.NAME"},
		{"", `workdir = tsk.a`, `"task"`},
	} {
		t.Run(c.block+" "+strings.Split(c.attribute, "\n")[0], func(t *testing.T) {
			body, line := "    "+c.attribute, 4
			if c.block != "" {
				body, line = fmt.Sprintf("    %s {\n      %s\n    }", c.block, c.attribute), 4
			}
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(oneTask(body))}, jobspecs.Inputs{})
			d, ok := firstError(ds)
			if !ok || d.Range.Start.Line < line || d.Range.Start.Line > line+14 || !strings.Contains(d.Summary+" "+d.Detail, c.word) {
				t.Errorf("%q is not said on line %d:\n%s", c.word, line, ds.Error())
			}
			if d.Snippet == "" {
				t.Error("no snippet")
			}
		})
	}
}

// TestRetryBoundsFit: the longest delay is never shorter than the first.
func TestRetryBoundsFit(t *testing.T) {
	_, job := parse(t, oneTask("retry {\n initial = \"5m\"\n}"))
	if p := specOf(t, job, "a").Retry; p.Initial != 5*time.Minute || p.Max != 5*time.Minute {
		t.Errorf("%+v", p)
	}
	refused(t, oneTask("retry {\n initial = \"5m\"\n max = \"1m\"\n}"), "6:8", "shorter")
	_, job = parse(t, oneTask("retry {\n on = []\n}"))
	if p := specOf(t, job, "a").Retry; p.On == nil || p.Retries(rota.CauseOOM) {
		t.Errorf("an empty list retries: %+v", p)
	}
}

// TestStructureMistakes: blocks at the wrong place, twice, or as attributes.
func TestStructureMistakes(t *testing.T) {
	for name, c := range map[string]struct{ text, at, word string }{
		"twice":           {oneTask("    retry {}\n    retry {}"), "5:5", "line 4"},
		"block in input":  {oneTask("    input {\n      x {\n      }\n    }"), "5:7", "equals"},
		"attribute block": {"job \"j\" {\n  priority {\n  }\n  task \"a\" {\n    driver = \"noop\"\n  }\n}", "2:3", "equals"},
		"no label":        {"job \"j\" {\n  task {\n  }\n}", "2:3", "NAME"},
		"task outside":    {"task \"a\" {\n}", "1:1", "Unknown block"},
		"empty file":      {"", "1:1", "no job"},
		"comment only":    {"# nothing\n", "1:1", "no job"},
		"twice the same":  {oneTask("    command = [\"y\"]"), "4:5", "already"},
		"misspelt task":   {"job \"j\" {\n  tsak \"a\" {\n  }\n}", "2:3", `"task"`},
		"one line":        {"job \"j\" { task \"a\" { } }", "1:11", ""},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.text, c.at, c.word) })
	}
}
