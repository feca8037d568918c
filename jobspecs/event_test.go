package jobspecs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

const eventJob = `
locals { who = try(event.who, "nobody") }
job "j" {
  task "a" {
    command = ["echo", local.who, jsonencode(event)]
  }
  task "each" {
    for_each = toset(try(event.items, []))
    command  = ["echo", each.key]
  }
}
`

// TestRunSeesTheDataItWasStartedWith: whole, in part, and as null without any; and
// reading the file again with what is kept gives the same job.
func TestRunSeesTheDataItWasStartedWith(t *testing.T) {
	syntax, ds := jobspecs.Read(jobspecs.Source{Filename: "e.hcl", Text: []byte(eventJob)})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	for _, c := range []struct {
		event, words string
		tasks        int
	}{
		{``, `nobody null`, 1},
		{`null`, `nobody null`, 1},
		{`"a line"`, `nobody "a line"`, 1},
		{`{"who":"ada","items":["x","y"]}`, `ada {"items":["x","y"],"who":"ada"}`, 3},
		{`[1, 2]`, `nobody [1,2]`, 1},
	} {
		in := jobspecs.Inputs{}
		if c.event != "" {
			in.Variables = map[string]json.RawMessage{rota.EventVariable: json.RawMessage(c.event)}
		}
		for range 2 {
			file, ds := syntax.Check(in)
			if ds.HasErrors() {
				t.Fatalf("%s: %v", c.event, ds)
			}
			job := file.Jobs()[0]
			if got := strings.Join(job.Specs[0].Command[1:], " "); got != c.words || len(job.Tasks) != c.tasks {
				t.Errorf("%s: %d tasks, %s; want %d, %s", c.event, len(job.Tasks), got, c.tasks, c.words)
			}
			in.Variables = map[string]json.RawMessage{} // as the run keeps them
			for _, v := range file.Variables("j") {
				in.Variables[v.Name] = v.Value
			}
		}
	}
}

// TestDefaultDoesNotDependOnTheEvent: a default stands for itself.
func TestDefaultDoesNotDependOnTheEvent(t *testing.T) {
	_, ds := jobspecs.Parse(jobspecs.Source{Filename: "e.hcl", Text: []byte("variable \"v\" { default = event }\n" + eventJob)}, jobspecs.Inputs{})
	if !strings.Contains(ds.Error(), "A default cannot mention") {
		t.Error(ds)
	}
}
