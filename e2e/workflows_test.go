package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// workflows are the recorded ones if a directory is given, else generated ones.
func workflows(t *testing.T) []*Workflow {
	t.Helper()
	dir := os.Getenv("ROTA_WORKFLOWS")
	if dir == "" {
		return Shapes(1)
	}
	all, err := ReadWorkflows(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestShapesAreTheSameForASeed: and each is a graph of 50 to 100 tasks.
func TestShapesAreTheSameForASeed(t *testing.T) {
	for seed := range uint64(50) {
		first, second := Shapes(seed), Shapes(seed)
		for i, w := range first {
			a, err := w.Job(0.01, "/tmp/evidence")
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := second[i].Job(0.01, "/tmp/evidence"); a != b {
				t.Errorf("seed %d: %s is made in two ways", seed, w.Name)
			}
			if n := len(w.Tasks); n < 50 || n > 100 {
				t.Errorf("seed %d: %s has %d tasks", seed, w.Name, n)
			}
		}
	}
}

// TestWorkflowThatIsNoGraphIsRefused: before anything is made of it.
func TestWorkflowThatIsNoGraphIsRefused(t *testing.T) {
	task := func(id string, parents ...string) WorkflowTask { return WorkflowTask{ID: id, Parents: parents} }
	for name, c := range map[string]struct {
		tasks []WorkflowTask
		says  string
	}{
		"cycle":          {[]WorkflowTask{task("a", "b"), task("b", "a")}, "cycle"},
		"unknown parent": {[]WorkflowTask{task("a", "b")}, `"b", which is not there`},
		"twice":          {[]WorkflowTask{task("a"), task("a")}, "twice"},
		"below zero":     {[]WorkflowTask{{ID: "a", Seconds: -1}}, "ran for -1 s"},
	} {
		if _, err := (&Workflow{Name: name, Tasks: c.tasks}).Job(1, "e"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWorkflowNamesBecomeLabels: whatever the recorder called its tasks, each has
// a label of its own.
func TestWorkflowNamesBecomeLabels(t *testing.T) {
	w := &Workflow{Tasks: []WorkflowTask{{ID: "1st run"}, {ID: "a.b"}, {ID: "a b"}, {ID: strings.Repeat("é", 90)}}}
	keys := w.Keys()
	want := map[string]string{"1st run": "t_1st_run", "a b": "a_b", "a.b": "a_b_2", strings.Repeat("é", 90): strings.Repeat("_", 90)}
	if fmt.Sprint(keys) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", keys, want)
	}
}

// workflowTime is how long one workflow should take.
const workflowTime = 4 * time.Second

// TestWorkflowsRunInOrderAndOnce runs real shapes of work on three nodes: every
// task after all of its parents, every task delivered exactly once; then again
// with a node killed in the middle. (Recorded workflows: e2e/README.md.)
func TestWorkflowsRunInOrderAndOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	nodes := cluster(t, 3)
	for i, w := range workflows(t) {
		t.Run(w.Name, func(t *testing.T) {
			began := time.Now()
			flow := start(t, w, nodes[0])
			flow.check(t, flow.wait(t, nodes...), true)
			t.Logf("%d tasks in %v", len(w.Tasks), time.Since(began).Round(time.Millisecond))
		})
		t.Run(w.Name+" with a node killed", func(t *testing.T) {
			began := time.Now()
			flow := start(t, w, nodes[0])
			victim := flow.half(t, nodes)
			if i == 0 {
				victim.killHost(t) // its tasks are missed once its session has expired
			} else {
				victim.kill(t) // its keeper gives them back
			}
			run := flow.wait(t, without(nodes, victim)...)
			flow.check(t, run, false)
			deliveredOnce(t, without(nodes, victim)[0], run)
			again := 0
			for _, task := range run.Tasks {
				if task.Attempts > 1 {
					again++
				}
			}
			t.Logf("%d tasks in %v, %d of them again after %s died", len(w.Tasks), time.Since(began).Round(time.Millisecond), again, victim.name)
			if again == 0 {
				t.Log("what ran there ended by itself before its keeper gave up on the agent: nothing had to run again")
			}
			victim.start(t)
			ready(t, nodes...)
		})
	}
}

// flow is a workflow that runs.
type flow struct {
	w            *Workflow
	id, evidence string
}

func start(t *testing.T, w *Workflow, p *process) *flow {
	t.Helper()
	f := &flow{w: w, evidence: filepath.Join(t.TempDir(), "evidence")}
	scale, err := w.Scale(30, workflowTime)
	if err != nil {
		t.Fatal(err)
	}
	text, err := w.Job(scale, f.evidence)
	if err != nil {
		t.Fatal(err)
	}
	f.id = submit(t, p, text)
	return f
}

// half waits until half of the tasks are delivered and returns a node that runs
// some of the others.
func (f *flow) half(t *testing.T, nodes []*process) *process {
	t.Helper()
	var on *process
	eventually(t, 60*time.Second, "half of the workflow is done", func() (string, bool) {
		run, err := runOf(nodes[0], f.id)
		if err != nil {
			return err.Error(), false
		}
		done, at := 0, map[string]int{}
		for _, task := range run.Tasks {
			switch task.Status {
			case "delivered":
				done++
			case "running":
				at[task.Node]++
			}
		}
		for _, p := range nodes {
			if at[p.name] > 0 && (on == nil || at[p.name] > at[on.name]) {
				on = p
			}
		}
		return fmt.Sprintf("%d of %d, running %v", done, len(run.Tasks), at), done >= len(run.Tasks)/2 && on != nil && at[on.name] > 0
	})
	return on
}

// wait returns the run once it has ended.
func (f *flow) wait(t *testing.T, nodes ...*process) runView {
	t.Helper()
	addresses := make([]string, len(nodes))
	for i, p := range nodes {
		addresses[i] = p.address()
	}
	out, errOut, code := rota(nil, "--address", strings.Join(addresses, ","), "runs", "wait", f.id, "--timeout", "55s")
	if code != 0 {
		t.Errorf("runs wait: exit %d\n%s%s", code, out, tail([]byte(errOut), 3000))
	}
	return await(t, 5*time.Second, f.id, nodes...)
}

// check holds what the cluster says about the run, and what the tasks themselves
// wrote down, against the graph.
func (f *flow) check(t *testing.T, run runView, quiet bool) {
	t.Helper()
	if run.Status != "succeeded" || len(run.Tasks) != len(f.w.Tasks) {
		t.Fatalf("the run %s has %d tasks and is %s", f.id, len(run.Tasks), run.Status)
	}
	tasks := make(map[string]taskView, len(run.Tasks))
	for _, task := range run.Tasks {
		tasks[task.Key] = task
		if task.Status != "delivered" || quiet && task.Attempts != 1 {
			t.Errorf("%s: %s after %d attempts", task.Key, task.Status, task.Attempts)
		}
	}
	text, err := os.ReadFile(f.evidence)
	if err != nil {
		t.Fatal(err)
	}
	seen := newWitness(string(text))
	keys := f.w.Keys()
	for _, recorded := range f.w.Tasks {
		task := tasks[keys[recorded.ID]]
		if task.StartedAt == nil || task.FinishedAt == nil || task.FinishedAt.Before(*task.StartedAt) {
			t.Errorf("%s started at %v and finished at %v", task.Key, task.StartedAt, task.FinishedAt)
			continue
		}
		if n := seen.ends[task.Key]; n == 0 || quiet && n != 1 {
			t.Errorf("%s ended %d times", task.Key, n)
		}
		for _, parent := range recorded.Parents {
			p := tasks[keys[parent]]
			if p.FinishedAt == nil || task.StartedAt.Before(*p.FinishedAt) {
				t.Errorf("%s started at %v, its parent %s finished at %v", task.Key, task.StartedAt, p.Key, p.FinishedAt)
			}
			if seen.firstStart[task.Key] < seen.firstEnd[p.Key] {
				t.Errorf("%s wrote that it started before its parent %s wrote that it ended", task.Key, p.Key)
			}
		}
	}
}

// deliveredOnce checks that of each task's attempts one alone ended well.
func deliveredOnce(t *testing.T, p *process, run runView) {
	t.Helper()
	for _, task := range run.Tasks {
		if task.Attempts < 2 {
			continue // the run says delivered
		}
		good := 0
		attempts := attemptsOf(t, p, run.ID+"/"+task.Key)
		for _, a := range attempts {
			if a.Cause == "" && a.FinishedAt != nil {
				good++
			}
		}
		if good != 1 {
			t.Errorf("%s: %d attempts ended well: %+v", task.Key, good, attempts)
		}
	}
}

// witness is the order in which tasks wrote their lines.
type witness struct {
	firstStart, firstEnd map[string]int // line numbers
	ends                 map[string]int
}

func newWitness(text string) witness {
	w := witness{map[string]int{}, map[string]int{}, map[string]int{}}
	for n, line := range strings.Split(text, "\n") {
		what, rest, _ := strings.Cut(line, " ")
		key, _, _ := strings.Cut(rest, " ")
		first := w.firstStart
		if what == "end" {
			w.ends[key]++
			first = w.firstEnd
		}
		if _, ok := first[key]; !ok {
			first[key] = n + 1
		}
	}
	return w
}
