package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// TestRunIsTheSameThroughEveryNode: whichever node is asked, leader, follower or a
// node without a replica, the answer is the same.
func TestRunIsTheSameThroughEveryNode(t *testing.T) {
	w := newWorld(t, 3, 2)
	session := w.register(t, 0)
	run := w.submit(t, 2, twoTasks)
	if run.Job != "two" || run.Version != 1 || run.TasksTotal != 2 || run.Status != rota.RunRunning {
		t.Fatalf("run: %+v", run)
	}
	if !strings.HasSuffix(string(run.ID), rota.ShardSuffix) || len(run.ID) != 26 {
		t.Errorf("run id %s", run.ID)
	}
	a := rota.TaskID{Run: run.ID, Key: "a"}
	fence := w.place(t, a, session)
	w.finish(t, a, session, fence, rota.Outcome{Output: json.RawMessage(`{"x":1}`)})
	var first []byte
	for i := range w.nodes {
		status, h, b := raw(t, "GET", w.nodes[i].http.URL+"/v1/runs/"+string(run.ID)+"?tasks=true", "", nil)
		if status != http.StatusOK {
			t.Fatalf("node %d: %d %s", i, status, b)
		}
		for _, name := range []string{"Rota-Index", "Rota-Index-Age-Ms"} {
			if h.Get(name) == "" {
				t.Errorf("node %d: no %s", i, name)
			}
		}
		if h.Get("Rota-Leader") != "n1" {
			t.Errorf("node %d: leader %q", i, h.Get("Rota-Leader"))
		}
		if first == nil {
			first = b
		}
		if string(b) != string(first) {
			t.Errorf("node %d says\n%s, node 0\n%s", i, b, first)
		}
	}
	v := decode[api.RunView](t, first)
	if len(v.Tasks) != 2 || v.Tasks[0].Node != "n1" || v.Tasks[0].Status != rota.StatusDelivered || string(v.Tasks[0].Output) != `{"x":1}` {
		t.Errorf("tasks: %s", first)
	}
	if v.Tasks[1].Reason == nil || v.Tasks[1].Reason.Code != rota.ReasonNoRoom || !slices.Equal(v.Tasks[1].DependsOn, []rota.TaskKey{"a"}) {
		t.Errorf("second task: %+v", v.Tasks[1])
	}
}

// TestContractShapes: the fields that scripts rely on are there, by their names,
// null where nothing was reached. (Source: CONTRACT.md, Shapes.)
func TestContractShapes(t *testing.T) {
	w := newWorld(t, 1, 1)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	a := rota.TaskID{Run: run.ID, Key: "a"}
	w.place(t, a, session)
	base := w.nodes[0].http.URL
	for _, c := range []struct {
		path   string
		fields string
	}{
		{"/v1/status", "cluster_id version node leader term index index_age_ms servers nodes tasks cost_micro_usd"},
		{"/v1/runs/@last?tasks=true", "id job version namespace labels status reason created_at finished_at cost_micro_usd tokens_in tokens_out tasks"},
		{"/v1/tasks/@last/a", "key status node attempts attempts_used cause message exit_code reason output depends_on queued_at started_at finished_at cost_micro_usd attempt_list"},
		{"/v1/nodes/n1", "id name state roles address capabilities models labels resources used running slots"},
		{"/v1/nodes", "items next_cursor"},
		{"/v1/runs", "items next_cursor"},
	} {
		_, _, b := raw(t, "GET", base+c.path, "", nil)
		m := decode[map[string]any](t, b)
		for f := range strings.FieldsSeq(c.fields) {
			if _, ok := m[f]; !ok {
				t.Errorf("%s has no %q: %s", c.path, f, b)
			}
		}
	}
	_, _, b := raw(t, "GET", base+"/v1/tasks/@last/a", "", nil)
	m := decode[map[string]any](t, b)
	if m["finished_at"] != nil || m["output"] != nil || m["reason"] != nil || m["cause"] != "" {
		t.Errorf("want null for what was not reached: %s", b)
	}
	attempts := m["attempt_list"].([]any)
	if len(attempts) != 1 {
		t.Fatalf("attempts: %s", b)
	}
	first := attempts[0].(map[string]any)
	if first["node"] != "n1" || first["number"] != 1.0 || first["fence"] != "1" {
		t.Errorf("attempt: %v", first)
	}
}

// TestKeysTravelAsOneSegment: whatever a task's key holds, the path carries it.
func TestKeysTravelAsOneSegment(t *testing.T) {
	w := newWorld(t, 1, 1)
	run := w.submit(t, 0, `
job "keys" {
  task "m" {
    driver = "noop"
    matrix {
      os = ["debian 12", "a/b", "100%", "käse", ".."]
      go = ["1.26"]
    }
  }
}
`)
	c := w.client(t, 0)
	tasks, err := c.RunTasks(t.Context(), string(run.ID))
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) != 5 {
		t.Fatalf("tasks: %+v", tasks)
	}
	for _, task := range tasks {
		got, err := c.Task(t.Context(), string(run.ID), string(task.Key))
		if err != nil || got.Key != task.Key {
			t.Errorf("task %q: %v %v", task.Key, got, err)
		}
	}
}

// TestSameKeySameRun: a submission may be sent again, and only the same one.
func TestSameKeySameRun(t *testing.T) {
	w := newWorld(t, 2, 2)
	first, existed, err := w.client(t, 0).Submit(t.Context(), request(twoTasks), "k")
	if err != nil || existed {
		t.Fatal(existed, err)
	}
	again, existed, err := w.client(t, 1).Submit(t.Context(), request(twoTasks), "k")
	if err != nil || !existed || again.ID != first.ID {
		t.Fatalf("again: %v %v %v, want %s", again, existed, err, first.ID)
	}
	_, _, err = w.client(t, 1).Submit(t.Context(), request(strings.ReplaceAll(twoTasks, `"b"`, `"c"`)), "k")
	if !errors.Is(err, rota.ErrConflict) || problemOf(t, err).Status != http.StatusConflict {
		t.Errorf("another body: %v", err)
	}
}

// largeJob has a task for each of a times b, each with a spec of its own.
func largeJob(a, b int) string {
	return fmt.Sprintf(`
job "large" {
  task "work" {
    driver = "exec"
    matrix {
      row    = range(%d)
      column = range(%d)
    }
    command = ["echo", "${matrix.row}", "${matrix.column}", "%s"]
  }
}
`, a, b, strings.Repeat("x", 200))
}

// TestTenThousandTasksTravelInPieces: a large run is proposed in operations that
// the log takes, shows only when it is whole, and is whole after a repetition.
func TestTenThousandTasksTravelInPieces(t *testing.T) {
	w := newWorld(t, 1, 1)
	source := largeJob(100, 100)
	c := w.client(t, 0)
	run, _, err := c.Submit(t.Context(), request(source), "large")
	if err != nil {
		t.Fatal(err)
	}
	if run.TasksTotal != 10_000 {
		t.Fatalf("run: %+v", run)
	}
	pieces := 0
	for _, e := range w.entries {
		size := len(fsmBytes(&e.Commands[0]))
		if size > 1<<20 {
			t.Errorf("an operation of %d bytes", size)
		}
		pieces++
	}
	if pieces < 2 {
		t.Errorf("only %d operations", pieces)
	}
	tasks, err := c.RunTasks(t.Context(), string(run.ID))
	if err != nil || len(tasks) != 10_000 {
		t.Fatalf("%d tasks, %v", len(tasks), err)
	}
	again, existed, err := c.Submit(t.Context(), request(source), "large")
	if err != nil || !existed || again.ID != run.ID {
		t.Fatal(again, existed, err)
	}
	if got, _ := w.snapshot().Run(run.ID); got.Total != 10_000 {
		t.Errorf("after the repetition: %+v", got)
	}
}

// TestBrokenSubmissionIsCompletedByItsRepetition: when a submission in pieces stops
// half way, the same request sent again brings the rest.
func TestBrokenSubmissionIsCompletedByItsRepetition(t *testing.T) {
	w := newWorld(t, 1, 1)
	source := largeJob(60, 100)
	c := w.client(t, 0)
	broken := &breaker{worldNode: w.nodes[0], after: 1}
	w.nodes[0].server = nil
	server := newServer(t, broken, w.nodes[0])
	bc, err := api.NewClient([]string{server.URL}, api.Options{Patience: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = bc.Submit(t.Context(), request(source), "k")
	if !errors.Is(err, rota.ErrUnknown) || problemOf(t, err).Status != http.StatusGatewayTimeout {
		t.Fatalf("want the outcome unknown, got %v", err)
	}
	if runs, err := c.Runs(t.Context(), api.RunFilter{}); err != nil || len(runs.Items) != 0 {
		t.Fatalf("a half run shows: %+v %v", runs, err)
	}
	run, existed, err := c.Submit(t.Context(), request(source), "k")
	if err != nil || !existed || run.TasksTotal != 6000 {
		t.Fatal(run, existed, err)
	}
}

// TestStoredJobsStartWithoutTheirSource: a job that ran once is started by its name,
// singly or by the array.
func TestStoredJobsStartWithoutTheirSource(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.submit(t, 0, `
variable "n" {
  type    = number
  default = 1
}
job "say" {
  task "a" {
    driver  = "exec"
    command = ["echo", "${var.n}"]
  }
}
`)
	c := w.client(t, 0)
	run, _, err := c.Submit(t.Context(), &api.SubmitRequest{Job: "say", Variables: map[string]json.RawMessage{"n": json.RawMessage("2")}}, "")
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.Task(t.Context(), string(run.ID), "a")
	if err != nil || !slices.Equal(task.Command, []string{"echo", "2"}) || run.Version != 1 {
		t.Fatal(task, run, err)
	}
	items := []api.SubmitRequest{{Job: "say"}, {Job: "none"}, {Job: "say", Version: 7}, {Job: "say", Variables: map[string]json.RawMessage{"n": json.RawMessage("3")}}}
	answers, err := c.SubmitMany(t.Context(), items, "many")
	if err != nil || len(answers) != 4 {
		t.Fatal(answers, err)
	}
	for i, want := range []string{"", api.TypeNotFound, api.TypeNotFound, ""} {
		switch got := answers[i]; {
		case want == "" && (got.Problem != nil || got.ID == ""):
			t.Errorf("item %d: %+v", i, got.Problem)
		case want != "" && (got.Problem == nil || got.Problem.Type != want):
			t.Errorf("item %d: %+v", i, got)
		}
	}
	again, err := c.SubmitMany(t.Context(), items, "many")
	if err != nil || again[0].ID != answers[0].ID || !again[0].Existed {
		t.Errorf("again: %+v %v", again, err)
	}
}

// TestBadSpecComesBackWithItsPlace: what is wrong with a job file is told with file,
// line and column.
func TestBadSpecComesBackWithItsPlace(t *testing.T) {
	w := newWorld(t, 1, 1)
	bad := "job \"x\" {\n  task \"a\" {\n    driver = \"noop\"\n    depends_on = [task.zz]\n  }\n}\n"
	c := w.client(t, 0)
	_, _, err := c.Submit(t.Context(), request(bad), "")
	p := problemOf(t, err)
	if p.Type != api.TypeInvalidSpec || p.Status != http.StatusUnprocessableEntity || len(p.Diagnostics) == 0 {
		t.Fatalf("problem: %+v", p)
	}
	if d := p.Diagnostics[0]; d.File != "two.hcl" || d.Range.Start.Line != 4 {
		t.Errorf("diagnostic: %+v", d)
	}
	_, err = c.Validate(t.Context(), &api.SpecRequest{Source: &bad, Filename: "two.hcl"})
	if problemOf(t, err).Type != api.TypeInvalidSpec {
		t.Errorf("validate: %v", err)
	}
	good := twoTasks
	v, err := c.Validate(t.Context(), &api.SpecRequest{Source: &good})
	if err != nil || !v.Valid || len(v.Jobs) != 1 || v.Jobs[0].Tasks != 2 {
		t.Errorf("validate: %+v %v", v, err)
	}
}

// TestPlanShowsWhatWouldChange: a dry run compares with the stored version and says
// where tasks would go; a follower passes it to the leader.
func TestPlanShowsWhatWouldChange(t *testing.T) {
	w := newWorld(t, 2, 2)
	c := w.client(t, 1)
	source := twoTasks
	p, err := c.Plan(t.Context(), &api.SpecRequest{Source: &source})
	if err != nil || !p.Changed || p.Version != 0 || len(p.Changes) != 2 || p.Tasks[0].Node != "n1" {
		t.Fatalf("plan: %+v %v", p, err)
	}
	w.submit(t, 0, source)
	if p, err = c.Plan(t.Context(), &api.SpecRequest{Source: &source, Filename: "two.hcl"}); err != nil || p.Changed || p.Version != 1 {
		t.Fatalf("plan of the same: %+v %v", p, err)
	}
	source = strings.ReplaceAll(source, `driver     = "noop"`, "driver = \"noop\"\n priority = 7")
	p, err = c.Plan(t.Context(), &api.SpecRequest{Source: &source})
	if err != nil || !p.Changed || len(p.Changes) != 1 || p.Changes[0].Action != "change" || !slices.Equal(p.Changes[0].Fields, []string{"priority"}) {
		t.Fatalf("plan of another: %+v %v", p, err)
	}
}

// TestDrainAndCancel: what is proposed shows in the answer.
func TestDrainAndCancel(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.register(t, 0)
	c := w.client(t, 1)
	n, err := c.Drain(t.Context(), "n1")
	if err != nil || n.State != rota.NodeDraining {
		t.Fatal(n, err)
	}
	if n, err = c.Undrain(t.Context(), string(w.nodes[0].id)); err != nil || n.State != rota.NodeReady {
		t.Fatal(n, err)
	}
	if _, err := c.Drain(t.Context(), "n9"); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("drain of nobody: %v", err)
	}
	run := w.submit(t, 0, twoTasks)
	task, err := c.CancelTask(t.Context(), string(run.ID), "b", "not needed")
	if err != nil || task.Status != rota.StatusCancelled || task.Reason.Text != "not needed" {
		t.Fatal(task, err)
	}
	if _, err = c.CancelTask(t.Context(), string(run.ID), "b", ""); !errors.Is(err, rota.ErrEnded) {
		t.Errorf("cancelled twice: %v", err)
	}
	if _, err = c.AnswerTask(t.Context(), string(run.ID), "a", true); !errors.Is(err, rota.ErrConflict) {
		t.Errorf("answer for a task that does not ask: %v", err)
	}
	r, err := c.CancelRun(t.Context(), string(run.ID)[:20], "stop it")
	if err != nil || r.Status != rota.RunCancelled || r.Reason == nil || r.Reason.Text != "stop it" {
		t.Fatal(r, err)
	}
}

// TestListsArePaged: pages follow each other without a hole or a repetition.
func TestListsArePaged(t *testing.T) {
	w := newWorld(t, 1, 1)
	var want []rota.RunID
	for i := range 25 {
		source := twoTasks
		r := request(source)
		r.Labels = map[string]string{"parity": fmt.Sprint(i % 2)}
		run, _, err := w.client(t, 0).Submit(t.Context(), r, "")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, run.ID)
	}
	slices.Reverse(want)
	c := w.client(t, 0)
	var got []rota.RunID
	f := api.RunFilter{Limit: 10}
	for {
		page, err := c.Runs(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Items {
			got = append(got, r.ID)
		}
		if page.NextCursor == nil {
			break
		}
		f.Cursor = *page.NextCursor
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	odd, err := c.Runs(t.Context(), api.RunFilter{Labels: map[string]string{"parity": "1"}, Status: []rota.RunStatus{rota.RunRunning}, Job: "two"})
	if err != nil || len(odd.Items) != 12 {
		t.Errorf("%d odd ones, %v", len(odd.Items), err)
	}
	none, err := c.Runs(t.Context(), api.RunFilter{Status: []rota.RunStatus{rota.RunFailed}})
	if err != nil || len(none.Items) != 0 {
		t.Errorf("failed: %+v %v", none, err)
	}
}
