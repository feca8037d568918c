package jobspecs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// ended answers look with the given tasks.
func ended(values ...jobspecs.TaskValue) func(rota.TaskKey) (jobspecs.TaskValue, bool) {
	return func(k rota.TaskKey) (jobspecs.TaskValue, bool) {
		for _, v := range values {
			if v.Key == k {
				return v, true
			}
		}
		return jobspecs.TaskValue{}, false
	}
}

func delivered(key rota.TaskKey, output string) jobspecs.TaskValue {
	return jobspecs.TaskValue{
		Key: key, Status: rota.StatusDelivered, Output: json.RawMessage(output), HasOutput: true, Attempts: 2, Node: "n1", Cost: 1500,
	}
}

func resolve(t *testing.T, f *jobspecs.File, key rota.TaskKey, values ...jobspecs.TaskValue) *rota.TaskSpec {
	t.Helper()
	spec, skip, ds := f.Resolve("j", key, "01RUN", ended(values...))
	if ds.HasErrors() || skip || spec == nil {
		t.Fatalf("resolve %s: skip %v\n%s", key, skip, ds.Error())
	}
	if spec.Late != nil {
		t.Errorf("%s is still late: %v", key, spec.Late)
	}
	return spec
}

// TestLateExpressionsGetTheirValuesAfterTheirTasks: what mentions another task is
// named as late at submit and evaluated with that task's real values.
func TestLateExpressionsGetTheirValuesAfterTheirTasks(t *testing.T) {
	f, job := parse(t, `
job "j" {
  task "plan" {
    command = ["true"]
    output {
      type = "json"
    }
  }
  task "text" {
    command = ["true"]
    output {}
  }
  task "use" {
    command = ["echo", task.plan.output.questions[1], task.text.output, "fixed"]
    env     = { N = task.plan.output.n, RUN = run.id }
    input {
      all    = task.plan
      static = 5
    }
    resources {
      memory = task.plan.output.memory
    }
    priority = task.plan.exit_code + 7
  }
}`)
	late := specOf(t, job, "use")
	if want := []string{"command", "env", "input.all", "priority", "resources.memory"}; !slices.Equal(late.Late, want) {
		t.Errorf("late: %v, want %v", late.Late, want)
	}
	if late.Command != nil || late.Input != nil {
		t.Errorf("values before their time: %+v", late)
	}
	if got := edges(taskOf(t, job, "use")); got != "plan, text" {
		t.Errorf("depends on %s", got)
	}
	spec := resolve(t, f, "use", delivered("plan", `{"questions":["a","b"],"n":12345678901234567890,"memory":"2GiB"}`), delivered("text", `"hello"`))
	if got := strings.Join(spec.Command, " "); got != "echo b hello fixed" {
		t.Errorf("command: %s", got)
	}
	if want := []rota.Pair{{Key: "N", Value: "12345678901234567890"}, {Key: "RUN", Value: "01RUN"}}; !slices.Equal(spec.Env, want) {
		t.Errorf("env: %v", spec.Env)
	}
	if want := `{"all":{"attempts":2,"cost":1500,"exit_code":0,"node":"n1","output":{"memory":"2GiB","n":12345678901234567890,"questions":["a","b"]},"status":"delivered"},"static":5}`; string(spec.Input) != want {
		t.Errorf("input: %s\nwant   %s", spec.Input, want)
	}
	if spec.Resources.MemoryBytes != 2<<30 || spec.Priority != 7 {
		t.Errorf("%+v", spec)
	}
}

// TestWhenSkips: a condition that is false skips the task when its turn comes,
// known before or not.
func TestWhenSkips(t *testing.T) {
	f, job := parse(t, `
variable "deploy" {
  default = false
}
job "j" {
  task "a" {
    command = ["true"]
    output {}
  }
  task "b" {
    command = ["echo", task.a.output]
    when    = task.a.output == "go"
  }
  task "c" {
    command = ["true"]
    when    = var.deploy
  }
  task "d" {
    command = ["true"]
    when    = !var.deploy
  }
}`)
	for key, want := range map[rota.TaskKey]string{"b": "command,when", "c": "when", "d": ""} {
		if got := strings.Join(specOf(t, job, key).Late, ","); got != want {
			t.Errorf("%s: late %q, want %q", key, got, want)
		}
	}
	for output, want := range map[string]bool{`"go"`: false, `"stop"`: true} {
		_, skip, ds := f.Resolve("j", "b", "r", ended(delivered("a", output)))
		if ds.HasErrors() || skip != want {
			t.Errorf("a puts out %s: skip %v, want %v %v", output, skip, want, ds)
		}
	}
	if _, skip, ds := f.Resolve("j", "c", "r", ended()); !skip || ds.HasErrors() {
		t.Errorf("c: skip %v %v", skip, ds)
	}
}

// TestFanInSeesAMapByKey, and an index of keys needs that instance only.
func TestFanInSeesAMapByKey(t *testing.T) {
	f, _ := parse(t, `
job "j" {
  task "sq" {
    for_each = toset(["a", "b"])
    command  = ["true"]
    output {
      type = "json"
    }
  }
  task "m" {
    matrix {
      x = ["p", "q"]
      n = [1, 2]
    }
    command = ["true"]
    output {}
  }
  task "sum" {
    command = ["echo", sum([for k, t in task.sq : t.output.n]), join("+", keys(task.sq)), join(",", [for k, v in task.m : "${k}=${v.output}"])]
  }
  task "next" {
    for_each = toset(["a", "b"])
    command  = ["echo", task.sq[each.key].output.n, each.value]
  }
  task "one" {
    command = ["echo", task.m["q,2"].output]
  }
}`)
	values := []jobspecs.TaskValue{
		delivered("sq[a]", `{"n":4}`), delivered("sq[b]", `{"n":9,"more":true}`),
		delivered("m[p,1]", `"p1"`), delivered("m[p,2]", `"p2"`), delivered("m[q,1]", `"q1"`), delivered("m[q,2]", `"q2"`),
	}
	if got := strings.Join(resolve(t, f, "sum", values...).Command, " "); got != "echo 13 a+b p,1=p1,p,2=p2,q,1=q1,q,2=q2" {
		t.Errorf("sum: %s", got)
	}
	if got := strings.Join(resolve(t, f, "next[b]", values[1]).Command, " "); got != "echo 9 b" {
		t.Errorf("next: %s", got)
	}
	if got := strings.Join(resolve(t, f, "one", values[5]).Command, " "); got != "echo q2" {
		t.Errorf("one: %s", got)
	}
}

// TestWhatDidNotDeliverHasANullOutput, for those that come after any end.
func TestWhatDidNotDeliverHasANullOutput(t *testing.T) {
	f, job := parse(t, `
job "j" {
  task "a" {
    command       = ["false"]
    allow_failure = true
    output {
      type = "json"
    }
  }
  task "b" {
    command   = ["echo", coalesce(task.a.output, "nothing"), task.a.status, task.a.exit_code, task.a.attempts]
    after_any = [task.a]
  }
}`)
	if got := edges(taskOf(t, job, "b")); got != "a any" {
		t.Errorf("depends on %q", got)
	}
	failed := jobspecs.TaskValue{Key: "a", Status: rota.StatusDeadLettered, ExitCode: 1, Attempts: 3}
	if got := strings.Join(resolve(t, f, "b", failed).Command, " "); got != "echo nothing dead_lettered 1 3" {
		t.Errorf("%s", got)
	}
}

// TestLateMistakesHaveTheirPlaceToo: what only the values show is reported with
// the range of the expression.
func TestLateMistakesHaveTheirPlaceToo(t *testing.T) {
	f, _ := parse(t, `
job "j" {
  task "a" {
    command = ["true"]
    output {
      type = "json"
    }
  }
  task "b" {
    command = ["echo", task.a.output.missing]
  }
  task "c" {
    command = task.a.output
  }
  task "d" {
    command = ["true"]
    when    = task.a.output
  }
  task "e" {
    command = ["echo", "x${task.a.output}"]
  }
  task "f" {
    command = ["true"]
    resources {
      memory = task.a.output
    }
  }
  task "g" {
    command = ["echo", task.a.output]
  }
}`)
	for _, c := range []struct {
		key    rota.TaskKey
		output string
		at     string
		word   string
	}{
		{"b", `{"n":1}`, "10:37", "missing"},
		{"b", `null`, "10:37", "null"},
		{"c", `"a b"`, "13:15", "list"},
		{"c", `[]`, "13:15", "empty"},
		{"c", `[["a"]]`, "13:15", "no text"},
		{"d", `"perhaps"`, "17:15", "bool"},
		{"e", `null`, "20:28", "null"},
		{"e", `[1]`, "20:28", "string"},
		{"f", `"lots"`, "25:16", "size"},
		{"g", `"` + strings.Repeat("x", 200<<10) + `"`, "29:24", "too long"},
	} {
		_, _, ds := f.Resolve("j", c.key, "r", ended(delivered("a", c.output)))
		if d, ok := firstError(ds); !ok || !strings.HasPrefix(d.String(), "t.hcl:"+c.at+": ") || !strings.Contains(d.String(), c.word) {
			t.Errorf("%s with %.40s: want %s %q, got\n%s", c.key, c.output, c.at, c.word, ds.Error())
		}
	}
	_, _, ds := f.Resolve("j", "b", "r", ended())
	if !ds.HasErrors() {
		t.Error("a task that has not ended was read")
	}
	if _, _, ds := f.Resolve("j", "nobody", "r", ended()); !ds.HasErrors() {
		t.Error("a task that is not there was resolved")
	}
	if _, _, ds := f.Resolve("nojob", "b", "r", ended()); !ds.HasErrors() {
		t.Error("a job that is not there was resolved")
	}
}

// TestFanInTooLargeIsSaid rather than stored: evaluated values of one task are
// bounded. (Source: JOBSPEC.md, section 1.7.)
func TestFanInTooLargeIsSaid(t *testing.T) {
	f, _ := parse(t, `
job "j" {
  task "a" {
    for_each = toset([for i in range(10) : "k${i}"])
    command  = ["true"]
    output {}
  }
  task "b" {
    command = ["true"]
    input {
      all = task.a
    }
  }
}`)
	var values []jobspecs.TaskValue
	for i := range 10 {
		values = append(values, delivered(rota.TaskKey(fmt.Sprintf("a[k%d]", i)), `"`+strings.Repeat("y", 60<<10)+`"`))
	}
	_, _, ds := f.Resolve("j", "b", "r", ended(values...))
	if !containsAll(ds.Error(), "256 KiB", "t.hcl:8:3") {
		t.Errorf("%s", ds.Error())
	}
}

// TestResolveAgreesWithSubmit: a task without late expressions resolves to the
// spec it was submitted with.
func TestResolveAgreesWithSubmit(t *testing.T) {
	f, job := parse(t, `
locals {
  big = { a = [1, 2, 3][*] }
}
job "j" {
  task "a" {
    for_each = toset(["x", "y"])
    command  = ["echo", each.key, local.big.a[1]]
    input {
      k = each.value
    }
  }
}`)
	for _, task := range job.Tasks {
		got := resolve(t, f, task.Key)
		want := job.Specs[task.Spec]
		if strings.Join(got.Command, " ") != strings.Join(want.Command, " ") || string(got.Input) != string(want.Input) {
			t.Errorf("%s: %+v and %+v", task.Key, got, want)
		}
	}
}

// TestResolveFromManyGoroutines: a file is not written to once it is parsed. (The
// race detector looks on.)
func TestResolveFromManyGoroutines(t *testing.T) {
	f, _ := parse(t, `
locals {
  names = [for i in range(8) : "k${i}"]
}
job "j" {
  task "a" {
    for_each = toset(local.names)
    command  = ["true"]
    output {
      type = "json"
    }
  }
  task "b" {
    for_each = toset(local.names)
    command  = concat(["echo", each.key], values(task.a)[*].output.n, [for t in task.a : t.output.n * 2], local.names[*])
    when     = task.a[each.key].output.n > 0
  }
}`)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			key := rota.TaskKey(fmt.Sprintf("b[k%d]", i))
			for n := range 20 {
				spec, _, ds := f.Resolve("j", key, "r", func(k rota.TaskKey) (jobspecs.TaskValue, bool) {
					return delivered(k, fmt.Sprintf(`{"n":%d}`, n+1)), true
				})
				if ds.HasErrors() || len(spec.Command) != 26 || spec.Command[2] != fmt.Sprint(n+1) {
					t.Errorf("%+v %s", spec, ds.Error())
				}
			}
		})
	}
	group.Wait()
}
