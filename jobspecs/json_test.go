package jobspecs_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

const inHCL = `
variable "names" {
  type    = list(string)
  default = ["a", "b"]
  validation {
    condition     = length(var.names) < 9
    error_message = "Fewer than 9."
  }
}
locals {
  tool = "make"
}
job "j" {
  priority = 60
  defaults {
    retry {
      max_attempts = 4
    }
  }
  task "first" {
    command = [local.tool, "all"]
    output {
      type = "json"
    }
  }
  task "each" {
    for_each   = toset(var.names)
    command    = ["echo", each.key, task.first.output.n]
    env        = { A = "x" }
    depends_on = [task.first]
    constraint {
      attribute = "label.a"
      value     = "1"
    }
    constraint {
      attribute = "label.b"
      value     = "2"
    }
  }
  task "m" {
    matrix {
      os = ["p", "q"]
      go = [1.25]
    }
    command    = ["echo", "${matrix.os}-${matrix.go}"]
    depends_on = [task.each["a"]]
  }
  task "n" {
    for_each   = toset(var.names)
    driver     = "noop"
    depends_on = [task.each[each.key]]
    when       = task.first.output.n > 2
  }
}`

const inJSON = `{
  "//": "the same job in HCL's JSON syntax",
  "variable": {"names": {"type": "list(string)", "default": ["a", "b"],
    "validation": {"condition": "${length(var.names) < 9}", "error_message": "Fewer than 9."}}},
  "locals": {"tool": "make"},
  "job": {"j": {
    "priority": 60,
    "defaults": {"retry": {"max_attempts": 4}},
    "task": {
      "first": {"command": ["${local.tool}", "all"], "output": {"type": "json"}},
      "each": {
        "for_each": "${toset(var.names)}", "command": ["echo", "${each.key}", "${task.first.output.n}"], "env": {"A": "x"},
        "depends_on": ["task.first"],
        "constraint": [{"attribute": "label.a", "value": "1"}, {"attribute": "label.b", "value": "2"}]
      },
      "m": {"matrix": {"os": ["p", "q"], "go": [1.25]}, "command": ["echo", "${matrix.os}-${matrix.go}"], "depends_on": ["${task.each[\"a\"]}"]},
      "n": {"for_each": "${toset(var.names)}", "driver": "noop", "depends_on": ["task.each[each.key]"], "when": "${task.first.output.n > 2}"}
    }
  }}
}`

// TestBothSyntaxesSayTheSame: a job in HCL's JSON syntax is the job in the native
// one, late expressions included.
func TestBothSyntaxesSayTheSame(t *testing.T) {
	hcl, one := parse(t, inHCL)
	json, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.json", Text: []byte(inJSON)}, jobspecs.Inputs{})
	if ds.HasErrors() {
		t.Fatal(ds.Error())
	}
	two, _ := json.Job("j")
	if !reflect.DeepEqual(one, two) {
		t.Errorf("%+v\n%+v", one, two)
	}
	if got, want := keysOf(two), 1+2+2+2; len(got) != want {
		t.Errorf("tasks %v", got)
	}
	if got := edges(taskOf(t, two, "n[b]")); got != "each[b], first" {
		t.Errorf("n[b] depends on %s", got)
	}
	for _, f := range []*jobspecs.File{hcl, json} {
		if got := strings.Join(resolve(t, f, "each[b]", delivered("first", `{"n":3}`)).Command, " "); got != "echo b 3" {
			t.Errorf("%s", got)
		}
	}
}

// TestMistakesInJSONHaveAPlaceToo: the reader's own diagnostics count lines and
// columns of the JSON text.
func TestMistakesInJSONHaveAPlaceToo(t *testing.T) {
	for name, c := range map[string]struct{ text, at, word string }{
		"syntax":     {"{\n  \"job\": {,}\n}", "2:11", ""},
		"word":       {"{\"job\": {\"j\": {\"task\": {\"a\": {\"comand\": [\"x\"]}}}}}", "1:31", `"command"`},
		"later":      {"{\"job\": {\"j\": {\"budget\": {}, \"task\": {\"a\": {\"command\": [\"x\"]}}}}}", "1:16", "not built yet"},
		"template":   {"{\"job\": {\"j\": {\"task\": {\"a\": {\"command\": [\"x\", \"${var.no}\"]}}}}}", "1:51", `"no"`},
		"unfinished": {"{\"job\": {\"j\": {\"task\": {\"a\": {\"command\": [\"x\", \"${var.\"]}}}}}", "1:", ""},
		"reference":  {"{\"job\": {\"j\": {\"task\": {\"a\": {\"command\": [\"x\"], \"depends_on\": [\"task.b\"]}}}}}", "1:65", `"b"`},
		"type":       {"{\"variable\": {\"v\": {\"type\": \"lst(string)\", \"default\": 1}}, \"job\": {\"j\": {\"task\": {\"a\": {\"command\": [\"x\"]}}}}}", "1:29", "not a type"},
		"not object": {"[1]", "1:", ""},
		"block":      {"{\"job\": 5}", "1:9", ""},
		"empty":      {"", "1:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.json", Text: []byte(c.text)}, jobspecs.Inputs{})
			d, ok := firstError(ds)
			if !ok || !strings.HasPrefix(d.String(), "t.json:"+c.at) || !strings.Contains(d.String(), c.word) {
				t.Errorf("want %s %q, got\n%s", c.at, c.word, ds.Error())
			}
		})
	}
}

// TestQuotedReferencesAreForJSONOnly.
func TestQuotedReferencesAreForJSONOnly(t *testing.T) {
	refused(t, `
job "j" {
  task "a" {
    driver     = "noop"
    depends_on = ["b"]
  }
}`, "5:19", "task.b", "without quotes")
	refused(t, `
job "j" {
  task "a" {
    driver     = "noop"
    depends_on = task.b
  }
}`, "5:18", "[task.NAME")
	refused(t, `
job "j" {
  task "a" {
    driver     = "noop"
    output {}
  }
  task "b" {
    driver     = "noop"
    depends_on = [task.a.output]
    after_any  = [upper("a")]
  }
}`, "10:19", "reference")
	refused(t, `
job "j" {
  task "a" {
    driver = "noop"
  }
  task "b" {
    driver     = "noop"
    depends_on = [task.a]
    after_any  = [task.a]
  }
}`, "9:19", "line 8")
}

// TestStatusWordsAreKnown: what expressions see of a status is the word of the
// life cycle.
func TestStatusWordsAreKnown(t *testing.T) {
	f, _ := parse(t, "job \"j\" {\n task \"a\" {\n driver = \"noop\"\n }\n task \"b\" {\n command = [task.a.status]\n after_any = [task.a]\n }\n}")
	for _, s := range []rota.Status{rota.StatusDelivered, rota.StatusSkipped, rota.StatusCancelled, rota.StatusDeadLettered} {
		if got := resolve(t, f, "b", jobspecs.TaskValue{Key: "a", Status: s}).Command[0]; got != s.String() {
			t.Errorf("%s: %s", s, got)
		}
	}
}
