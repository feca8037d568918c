package leader_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
	"github.com/rota-sched/rota/leader"
)

const lateJob = `
variable "who" { type = string }
job "greet" {
  task "name" {
    command = ["echo", var.who]
    output { type = "json" }
  }
  task "hello" {
    command = ["echo", "hello ${task.name.output.word}"]
  }
  task "maybe" {
    when    = task.name.output.word == "nobody"
    command = ["echo"]
  }
}
`

// greet submits the job and delivers its first task with the output.
func greet(t *testing.T, w *world, output string) rota.RunID {
	t.Helper()
	src := jobspecs.Source{Filename: "greet.hcl", Text: []byte(lateJob)}
	file, ds := jobspecs.Parse(src, jobspecs.Inputs{Job: "greet", Variables: map[string]json.RawMessage{"who": json.RawMessage(`"x"`)}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	job, ds := file.Job("greet")
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	op := rota.SubmitRun{
		Run: "01J0000000000000000000GR00", Job: "greet", Hash: jobspecs.Hash(src), Filename: src.Filename, Source: src.Text,
		Variables: file.Variables("greet"), Priority: job.Priority, Total: len(job.Tasks), Specs: job.Specs, Tasks: job.Tasks,
	}
	w.apply(op)
	w.commitAll()
	for h := range w.state.Snapshot().AllHolds() {
		w.apply(rota.Report{Session: h.Session, Items: []rota.ReportItem{{
			Task: h.Task, Fence: h.Fence, Started: true, Released: true, Outcome: &rota.Outcome{Output: json.RawMessage(output)},
		}}})
	}
	return op.Run
}

func TestLateExpressionsSeeWhatCameBefore(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	run := greet(t, w, `{"word":"world"}`)
	specs := leader.NewSpecs(1)
	if len(w.evaluate) != 2 {
		t.Fatalf("%d tasks to evaluate, want hello and maybe", len(w.evaluate))
	}
	for _, task := range w.evaluate {
		res, err := specs.Evaluate(t.Context(), w.state.Snapshot(), task)
		if err != nil {
			t.Fatal(err)
		}
		w.step(leader.Evaluated{Task: task.ID, Resolve: res})
	}
	w.commitAll()
	hello, _ := w.state.Snapshot().Task(rota.TaskID{Run: run, Key: "hello"})
	if hello.Status != rota.StatusAssigned || strings.Join(hello.Spec.Command, " ") != "echo hello world" {
		t.Errorf("hello is %s with %q", hello.Status, hello.Spec.Command)
	}
	if maybe, _ := w.state.Snapshot().Task(rota.TaskID{Run: run, Key: "maybe"}); maybe.Status != rota.StatusSkipped {
		t.Errorf("maybe is %s", maybe.Status)
	}
}

func TestFailedExpressionSaysWhere(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	run := greet(t, w, `{"other":1}`)
	specs := leader.NewSpecs(0)
	for _, task := range w.evaluate {
		res, err := specs.Evaluate(t.Context(), w.state.Snapshot(), task)
		if err != nil {
			t.Fatal(err)
		}
		w.step(leader.Evaluated{Task: task.ID, Resolve: res})
	}
	w.commitAll()
	hello, _ := w.state.Snapshot().Task(rota.TaskID{Run: run, Key: "hello"})
	if hello.Cause != rota.CauseExpression || !strings.HasPrefix(hello.Message, "greet.hcl:9:") {
		t.Errorf("hello is %s: %s: %s", hello.Status, hello.Cause, hello.Message)
	}
}
