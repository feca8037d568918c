package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

const echoJob = `
variable "n" {
  type    = number
  default = 1
}
job "echo" {
  task "say" {
    command = ["echo", jsonencode(event), tostring(var.n)]
  }
}
`

func apply(source string) *api.ApplyRequest {
	return &api.ApplyRequest{Source: &source, Filename: "echo.hcl"}
}

// newStoredWorld has one job stored, and two nodes that hold the state.
func newStoredWorld(t *testing.T, with ...func(*api.Config)) (*world, *api.Client) {
	t.Helper()
	w := newWorld(t, 2, 2, with...)
	w.do(t, rota.RaiseFormat{Format: rota.FormatJobs})
	c := w.client(t, 0, 1)
	if v, err := c.ApplyJob(t.Context(), "echo", apply(echoJob)); err != nil || v.Result != api.JobCreated || v.Version != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	return w, c
}

// TestApplyingTwiceStoresOnce: the same file is unchanged, another one the next version.
func TestApplyingTwiceStoresOnce(t *testing.T) {
	_, c := newStoredWorld(t)
	if v, err := c.ApplyJob(t.Context(), "echo", apply(echoJob)); err != nil || v.Result != api.JobUnchanged || v.Version != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	v, err := c.ApplyJob(t.Context(), "echo", apply(echoJob+"\n# changed\n"))
	if err != nil || v.Result != api.JobUpdated || v.Version != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	if j, err := c.JobVersion(t.Context(), "echo", 0); err != nil || j.Version != 2 || !strings.HasSuffix(j.Source, "# changed\n") {
		t.Errorf("%+v, %v", j, err)
	}
	_, err = c.ApplyJob(t.Context(), "echo", apply("job \"echo\" {\n  task \"x\" {}\n}\n"))
	if p := problemOf(t, err); p.Type != api.TypeInvalidSpec || len(p.Diagnostics) == 0 {
		t.Errorf("%+v", p)
	}
}

// TestPausedAndDeletedJobsStartNothing and are there again when asked for.
func TestPausedAndDeletedJobsStartNothing(t *testing.T) {
	_, c := newStoredWorld(t)
	dispatch := func() error {
		_, _, err := c.Submit(t.Context(), &api.SubmitRequest{Job: "echo"}, "")
		return err
	}
	if j, err := c.PauseJob(t.Context(), "echo", true); err != nil || !j.Paused {
		t.Fatalf("%+v, %v", j, err)
	}
	if err := dispatch(); !errors.Is(err, rota.ErrConflict) || !strings.Contains(err.Error(), "paused") {
		t.Errorf("a run of a paused job: %v", err)
	}
	if _, err := c.PauseJob(t.Context(), "echo", false); err != nil {
		t.Fatal(err)
	}
	if err := dispatch(); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteJob(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	if err := dispatch(); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("a run of a deleted job: %v", err)
	}
	if jobs, err := c.Jobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("%+v, %v", jobs, err)
	}
	if v, err := c.ApplyJob(t.Context(), "echo", apply(echoJob)); err != nil || v.Result != api.JobCreated {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestDispatchedRunSeesItsInput, and the run shows what it was started with.
func TestDispatchedRunSeesItsInput(t *testing.T) {
	w, c := newStoredWorld(t)
	run, _, err := c.Submit(t.Context(), &api.SubmitRequest{
		Job: "echo", Event: json.RawMessage(`{ "who": "ada" }`), Variables: map[string]json.RawMessage{"n": json.RawMessage("7")},
	}, "k")
	if err != nil {
		t.Fatal(err)
	}
	task, _ := w.snapshot().Task(rota.TaskID{Run: run.ID, Key: "say"})
	if got := strings.Join(task.Spec.Command, " "); got != `echo {"who":"ada"} 7` {
		t.Errorf("it runs %s", got)
	}
	view, err := c.Run(t.Context(), string(run.ID), api.RunOptions{})
	if err != nil || string(view.Event) != `{"who":"ada"}` || string(view.Variables["n"]) != "7" || len(view.Variables) != 1 {
		t.Errorf("%+v, %v", view, err)
	}
}

// TestDispatchFollowsTheNewestVersion though the older one's request was remembered,
// and goes on when the version it found has just gone.
func TestDispatchFollowsTheNewestVersion(t *testing.T) {
	w, c := newStoredWorld(t)
	for version := 1; version <= 3; version++ {
		run, _, err := c.Submit(t.Context(), &api.SubmitRequest{Job: "echo"}, "")
		if err != nil || run.Version != version {
			t.Fatalf("version %d: %+v, %v", version, run, err)
		}
		if _, err := c.ApplyJob(t.Context(), "echo", apply(echoJob+strings.Repeat("\n", version))); err != nil {
			t.Fatal(err)
		}
	}
	w.nodes[0].lag = true
	w.nodes[0].Snapshot()
	for i := range 2 { // node 0 has not heard of the first of them, which is gone by now
		if _, err := w.client(t, 1).ApplyJob(t.Context(), "echo", apply(echoJob+strings.Repeat("#\n", i))); err != nil {
			t.Fatal(err)
		}
	}
	w.nodes[0].lag = false
	if run, _, err := c.Submit(t.Context(), &api.SubmitRequest{Job: "echo"}, ""); err != nil || run.Version != 6 {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestEachItemOfAnArrayHasItsOwnAnswer: a run or a problem, under its own key.
func TestEachItemOfAnArrayHasItsOwnAnswer(t *testing.T) {
	w, c := newStoredWorld(t)
	source := twoTasks
	items := []api.SubmitRequest{
		{Job: "echo"},
		{Job: "nosuch"},
		{Job: "echo", Key: "mine", Event: json.RawMessage(`1`)},
		{Source: &source, Filename: "x.hcl"},
		{Job: "echo", Variables: map[string]json.RawMessage{"n": json.RawMessage(`"x"`)}},
		{Job: "echo"},
	}
	first, err := c.SubmitMany(t.Context(), items, "k")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", api.TypeNotFound, "", api.TypeInvalid, api.TypeInvalidSpec, ""}
	for i, a := range first {
		switch {
		case want[i] == "" && (a.Problem != nil || a.ID == "" || a.Existed):
			t.Errorf("item %d: %+v", i, a)
		case want[i] != "" && (a.Problem == nil || a.Problem.Type != want[i]):
			t.Errorf("item %d: %+v, want %s", i, a, want[i])
		}
	}
	if first[0].ID == first[5].ID {
		t.Error("equal items are one run")
	}
	again, err := c.SubmitMany(t.Context(), items, "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 2, 5} {
		if again[i].ID != first[i].ID || !again[i].Existed {
			t.Errorf("item %d sent again: %+v, first %+v", i, again[i], first[i])
		}
	}
	items[2].Event = json.RawMessage(`2`)
	if again, err = c.SubmitMany(t.Context(), items[2:3], "other"); err != nil || again[0].Problem == nil || again[0].Problem.Type != api.TypeConflict {
		t.Errorf("another item under the same key: %+v, %v", again, err)
	}
	if n := len(w.entries); n > 20 {
		t.Errorf("%d entries", n)
	}
}

// TestAThousandItemsAreOneRequest, and more are refused.
func TestAThousandItemsAreOneRequest(t *testing.T) {
	w, c := newStoredWorld(t)
	items := make([]api.SubmitRequest, 1000)
	for i := range items {
		items[i] = api.SubmitRequest{Job: "echo", Event: json.RawMessage(fmt.Sprint(i)), Key: fmt.Sprintf("k/%d", i)}
	}
	answers, err := c.SubmitMany(t.Context(), items, "k")
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		task, ok := w.snapshot().Task(rota.TaskID{Run: a.ID, Key: "say"})
		if !ok || task.Spec.Command[1] != fmt.Sprint(i) {
			t.Fatalf("item %d: %+v", i, a)
		}
	}
	_, err = c.SubmitMany(t.Context(), append(items, items[0]), "k2")
	if p := problemOf(t, err); p.Status != http.StatusRequestEntityTooLarge || p.Limit != "submissions" {
		t.Errorf("%+v", p)
	}
}

// TestSubmissionsUnderWayAreBoundedInBytes: beyond it the node says when to come again.
func TestSubmissionsUnderWayAreBoundedInBytes(t *testing.T) {
	w, _ := newStoredWorld(t, func(c *api.Config) { c.MaxBodies = 8 << 20 })
	slow, hold := pipe(t, w.nodes[0].http.URL+"/v1/runs", 8<<20)
	defer func() { hold() }()
	deadline(t, "the node to refuse", func() bool {
		select {
		case <-slow: // it was refused itself, for the sake of a small one
			slow, hold = pipe(t, w.nodes[0].http.URL+"/v1/runs", 8<<20)
		default:
		}
		status, header, body := raw(t, http.MethodPost, w.nodes[0].http.URL+"/v1/runs", `{"job":"echo"}`, nil)
		if status == http.StatusCreated {
			return false // the large one has not arrived yet
		}
		p := decode[api.Problem](t, body)
		if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" || p.Type != api.TypeOverloaded {
			t.Fatalf("%d %v %s", status, header, body)
		}
		return true
	})
	hold()
	<-slow
	deadline(t, "room again", func() bool {
		status, _, _ := raw(t, http.MethodPost, w.nodes[0].http.URL+"/v1/runs", `{"job":"echo"}`, nil)
		return status == http.StatusCreated
	})
}

// TestWhatIsRememberedIsBounded: many different submissions, all of them right.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	w, c := newStoredWorld(t)
	pad := string(bytes.Repeat([]byte("x"), 20<<10))
	for i := range 500 {
		run, _, err := c.Submit(t.Context(), &api.SubmitRequest{Job: "echo", Event: json.RawMessage(fmt.Sprintf(`"%s%d"`, pad, i))}, "")
		if err != nil {
			t.Fatal(err)
		}
		task, _ := w.snapshot().Task(rota.TaskID{Run: run.ID, Key: "say"})
		if !strings.HasSuffix(task.Spec.Command[1], fmt.Sprintf(`%d"`, i)) {
			t.Fatalf("run %d got another's input", i)
		}
	}
}

// pipe sends a body of so many bytes that does not come to its end until hold is
// called; done is closed when the request is over.
func pipe(t *testing.T, url string, size int64) (done <-chan struct{}, hold func()) {
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, r)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/json")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
			_ = resp.Body.Close() // nobody wants it
		}
	}()
	go func() { _, _ = w.Write([]byte("{")) }() // ends with the pipe
	return ended, sync.OnceFunc(func() { _ = w.CloseWithError(io.ErrUnexpectedEOF) })
}

// deadline waits until a condition holds.
func deadline(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
