package jobspecs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

func containsAll(s string, words ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) })
}

func edges(task rota.NewTask) string {
	var words []string
	for _, e := range task.DependsOn {
		w := string(e.On)
		if e.Kind != rota.EdgeDelivered {
			w += " " + e.Kind.String()
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

// TestFanOutKeysAreNamesNotPositions: instances are called by their keys, in the
// order of the keys, or of the axes.
func TestFanOutKeysAreNamesNotPositions(t *testing.T) {
	_, job := parse(t, `
job "j" {
  task "set" {
    for_each = toset(["b", "a", "x y"])
    command  = ["echo", each.value]
  }
  task "map" {
    for_each = { one = { n = 1 }, two = { n = 2, more = true } }
    command  = ["echo", each.key, each.value.n]
  }
  task "m" {
    matrix {
      os = ["debian", "alpine"]
      go = [1.25, 1.26]
      exclude = [{ os = "alpine", go = 1.25 }]
      include = [{ os = "scratch", go = "tip" }, { os = "debian", go = 1.25 }]
    }
    command = ["echo", matrix.os, matrix.go]
  }
}`)
	want := []string{
		"set[a]", "set[b]", "set[x%20y]", "map[one]", "map[two]",
		"m[debian,1.25]", "m[debian,1.26]", "m[alpine,1.26]", "m[scratch,tip]",
	}
	if got := keysOf(job); !slices.Equal(got, want) {
		t.Errorf("keys %v\nwant %v", got, want)
	}
	for key, want := range map[rota.TaskKey]string{"set[x%20y]": "echo x y", "map[two]": "echo two 2", "m[alpine,1.26]": "echo alpine 1.26", "m[scratch,tip]": "echo scratch tip"} {
		if got := strings.Join(specOf(t, job, key).Command, " "); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

// TestIndexOfKeysIsOneEdge: task.a[each.key] waits for that instance alone, any
// other index for all. (Source: JOBSPEC.md, section 1.3.)
func TestIndexOfKeysIsOneEdge(t *testing.T) {
	_, job := parse(t, `
variable "one" {
  default = "x"
}
job "j" {
  task "a" {
    for_each = toset(["x", "y"])
    command  = ["true"]
    output {}
  }
  task "m" {
    matrix {
      k = ["x", "y"]
      n = [1, 2]
    }
    command = ["true"]
    output {}
  }
  task "same" {
    for_each = toset(["x", "y"])
    command  = ["echo", task.a[each.key].output]
  }
  task "joined" {
    matrix {
      k = ["x", "y"]
    }
    command = ["echo", task.m["${matrix.k},1"].output]
  }
  task "fixed" {
    command = ["echo", task.a["y"].output, task.a.x.status]
  }
  task "loose" {
    command = ["echo", task.a[var.one].output]
  }
  task "all" {
    command = ["echo", join(",", values(task.a)[*].output)]
  }
  task "order" {
    for_each      = toset(["x", "y"])
    command       = ["true"]
    depends_on    = [task.all, task.same[each.key]]
    after_any     = [task.m]
    after_failure = [task.fixed]
  }
  task "replaced" {
    command   = ["echo", task.a["x"].status, task.all.status]
    after_any = [task.a["x"]]
  }
}`)
	for key, want := range map[rota.TaskKey]string{
		"same[x]": "a[x]", "same[y]": "a[y]", "joined[x]": "m[x,1]", "joined[y]": "m[y,1]", "fixed": "a[x], a[y]", "loose": "a[x], a[y]", "all": "a[x], a[y]",
		"order[y]": "all, fixed failure, m[x,1] any, m[x,2] any, m[y,1] any, m[y,2] any, same[y]",
		"replaced": "a[x] any, all",
	} {
		if got := edges(taskOf(t, job, key)); got != want {
			t.Errorf("%s depends on %q, want %q", key, got, want)
		}
	}
}

// TestFanOutMistakes have a place and a way out.
func TestFanOutMistakes(t *testing.T) {
	task := func(body string) string {
		return "job \"j\" {\n  task \"a\" {\n    command = [\"true\"]\n    " + body + "\n  }\n}"
	}
	for name, c := range map[string]struct {
		body, at string
		words    []string
	}{
		"null":              {`for_each = null`, "4:16", []string{"null"}},
		"number":            {`for_each = 5`, "4:16", []string{"number", "toset"}},
		"set of numbers":    {`for_each = toset([1, 2])`, "4:16", []string{"set", "tostring"}},
		"null in set":       {`for_each = toset(["a", null])`, "4:16", []string{"null"}},
		"empty key":         {`for_each = { "" = 1 }`, "4:16", []string{"empty"}},
		"long key":          {`for_each = toset([format("%0130d", 1)])`, "4:16", []string{"128"}},
		"late":              {`for_each = task.b.output`, "4:16", []string{"not built yet"}},
		"both":              {"for_each = {}\n    matrix {\n x = [1]\n }", "4:5", []string{"matrix"}},
		"no axis":           {"matrix {}", "4:5", []string{"axis"}},
		"axis text":         {"matrix {\n x = \"a\"\n }", "5:6", []string{"list"}},
		"axis twice":        {"matrix {\n x = [1, \"1\"]\n }", "5:10", []string{"twice"}},
		"axis of objects":   {"matrix {\n x = [{}]\n }", "5:7", []string{"text"}},
		"axis null":         {"matrix {\n x = [null]\n }", "5:7", []string{"null"}},
		"exclude unknown":   {"matrix {\n xyz = [1]\n exclude = [{ xyy = 1 }]\n }", "6:13", []string{"xyz"}},
		"include half":      {"matrix {\n x = [1]\n y = [1]\n include = [{ x = 1 }]\n }", "7:13", []string{"incomplete"}},
		"exclude no object": {"matrix {\n x = [1]\n exclude = [1]\n }", "6:13", []string{"objects"}},
		"unknown instance":  {"for_each = toset([\"k1\"])\n  }\n  task \"b\" {\n    command = [\"echo\", task.a.k2.status]", "7:24", []string{`"k2"`, `"k1"`}},
		"no instances":      {"}\n  task \"b\" {\n    command = [\"echo\", task.a[\"k\"].status]", "6:24", []string{`k`}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, task(c.body), c.at, c.words...) })
	}
}

// TestTooManyTasksAreRefused before they are made.
func TestTooManyTasksAreRefused(t *testing.T) {
	refused(t, `
job "j" {
  task "a" {
    command = ["true"]
    matrix {
      x = range(1000)
      y = range(1000)
      z = range(1000)
    }
  }
}`, "5:5", "10000")
	var b strings.Builder
	b.WriteString("job \"j\" {\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "task \"t%d\" {\ndriver = \"noop\"\n}\n", i)
	}
	b.WriteString("}\n")
	refused(t, b.String(), "30002:1", "10000")
}

// TestWideFanInBetweenFanOutsNeedsATaskBetween: n x m edges are refused with the
// way to n + m.
func TestWideFanInBetweenFanOutsNeedsATaskBetween(t *testing.T) {
	refused(t, `
job "j" {
  task "a" {
    driver = "noop"
    matrix {
      x = range(1000)
      y = range(4)
    }
  }
  task "b" {
    driver = "noop"
    matrix {
      x = range(1000)
      y = range(4)
    }
    depends_on = [task.a]
  }
}`, "10:3", "noop")
}

// TestEmptyFanOutIsNoTask, and what gathers it gathers nothing.
func TestEmptyFanOutIsNoTask(t *testing.T) {
	_, job := parse(t, `
job "j" {
  task "a" {
    for_each = {}
    command  = ["echo", each.value]
    output {}
  }
  task "b" {
    command = ["echo", length(task.a), join(",", values(task.a)[*].output)]
  }
}`)
	if got := keysOf(job); !slices.Equal(got, []string{"b"}) {
		t.Errorf("%v", got)
	}
	if got := specOf(t, job, "b"); !slices.Equal(got.Command, []string{"echo", "0", ""}) || got.Late != nil {
		t.Errorf("%+v", got)
	}
	refused(t, `
job "j" {
  task "a" {
    for_each = {}
    command  = ["echo", 1 + "x"]
  }
}`, "5:29", "number")
}

// TestVariableFansOut: the instances follow a variable's value.
func TestVariableFansOut(t *testing.T) {
	_, job := parseWith(t, `
variable "names" {
  type    = list(string)
  default = ["a"]
}
job "j" {
  task "t" {
    for_each = toset(var.names)
    command  = ["echo", each.key]
  }
}`, jobspecs.Inputs{Variables: vars("names", `["q", "r"]`)})
	if got := keysOf(job); !slices.Equal(got, []string{"t[q]", "t[r]"}) {
		t.Errorf("%v", got)
	}
}
