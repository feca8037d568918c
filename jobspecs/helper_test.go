package jobspecs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// parse reads a job file that must be fine and gives its only job.
func parse(t *testing.T, text string) (*jobspecs.File, *rota.Job) {
	t.Helper()
	return parseWith(t, text, jobspecs.Inputs{})
}

func parseWith(t *testing.T, text string, in jobspecs.Inputs) (*jobspecs.File, *rota.Job) {
	t.Helper()
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, in)
	if ds.HasErrors() {
		t.Fatalf("the job file was refused:\n%s", ds.Error())
	}
	job, ds := f.Job(in.Job)
	if ds.HasErrors() {
		t.Fatal(ds.Error())
	}
	return f, job
}

// refused reads a job file that must not be fine; the one error must hold the
// words and stand at line:column, written as "3:15".
func refused(t *testing.T, text, at string, words ...string) {
	t.Helper()
	_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{})
	d, ok := firstError(ds)
	if !ok {
		t.Fatalf("it was accepted:\n%s", text)
	}
	if !strings.HasPrefix(d.String(), "t.hcl:"+strings.TrimSuffix(at, ":")+":") {
		t.Errorf("it is refused at another place than %s:\n%s", at, ds.Error())
	}
	for _, w := range words {
		if !strings.Contains(d.String(), w) {
			t.Errorf("%q is not said:\n%s", w, ds.Error())
		}
	}
}

func vars(pairs ...string) map[string]json.RawMessage {
	m := make(map[string]json.RawMessage)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return m
}

func specOf(t *testing.T, job *rota.Job, key rota.TaskKey) *rota.TaskSpec {
	t.Helper()
	return job.Specs[taskOf(t, job, key).Spec]
}

func taskOf(t *testing.T, job *rota.Job, key rota.TaskKey) rota.NewTask {
	t.Helper()
	for _, task := range job.Tasks {
		if task.Key == key {
			return task
		}
	}
	t.Fatalf("there is no task %q among %v", key, keysOf(job))
	return rota.NewTask{}
}

func keysOf(job *rota.Job) []string {
	keys := make([]string, len(job.Tasks))
	for i, task := range job.Tasks {
		keys[i] = string(task.Key)
	}
	return keys
}
