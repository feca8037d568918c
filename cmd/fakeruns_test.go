package cmd_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// view makes the run as it is now. (f.mu is held.)
func (f *fakeNode) view(id string) (api.RunView, bool) {
	id = strings.ToUpper(id)
	if id == "@LAST" {
		id = okRun
	}
	began, end := ago(3*time.Minute+5*time.Second), ago(3*time.Minute)
	run := api.RunView{
		ID: rota.RunID(id), Job: "nightly", Version: 1, Namespace: "default", Labels: map[string]string{"team": "a"}, Priority: 50,
		CreatedAt: began, FinishedAt: end, TasksTotal: 2, CostMicros: 1200, TokensIn: 900, TokensOut: 300,
	}
	task := func(key string, status rota.Status) api.TaskView {
		return api.TaskView{
			Key: rota.TaskKey(key), Status: status, Node: "n2", Attempts: 1, AttemptsUsed: 1, DependsOn: []rota.TaskKey{},
			CreatedAt: began, QueuedAt: began, StartedAt: began, FinishedAt: end,
		}
	}
	fetch, report := task("fetch", rota.StatusDelivered), task("report", rota.StatusDelivered)
	report.DependsOn = []rota.TaskKey{"fetch"}
	fetch.Output = []byte(`{"lines":3}`)
	run.Status, run.Tasks = rota.RunSucceeded, []api.TaskView{fetch, report}
	switch id {
	case okRun:
	case oneRun:
		run.Tasks = []api.TaskView{fetch}
	case exit7Run:
		run.Status = rota.RunFailed
		fetch.Status, fetch.Cause, fetch.Message, fetch.ExitCode = rota.StatusDeadLettered, rota.CauseExitNonzero, "exit code 7", 7
		run.Tasks = []api.TaskView{fetch}
	case failedRun:
		run.Status = rota.RunFailed
		report.Status, report.Cause, report.Message, report.ExitCode = rota.StatusDeadLettered, rota.CauseExitNonzero, "exit code 3", 3
		run.Tasks[1] = report
	case pausedRun:
		run.Status, run.FinishedAt, run.Reason = rota.RunPaused, 0, &rota.Reason{Code: "budget", Text: "the budget of $1.00 is spent"}
		run.Tasks[1].Status = rota.StatusPaused
	case foreverRun, waitingRun:
		run.Status, run.FinishedAt = rota.RunRunning, 0
		run.Tasks[1].Status, run.Tasks[1].FinishedAt = rota.StatusRunning, 0
		if f.cancelled[id] {
			run.Status = rota.RunCancelled
		}
	default:
		return run, false
	}
	run.TasksTotal = len(run.Tasks)
	run.TaskCounts = map[string]int{}
	for _, t := range run.Tasks {
		run.TaskCounts[t.Status.String()]++
	}
	return run, true
}

// events tells the story of the run; the stream of a run that goes on stays open.
func (f *fakeNode) events(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if id == "" {
		id = okRun
	}
	view, ok := f.locked(id)
	if !ok {
		refuse(w, 404, api.TypeNotFound, "Not found", "no such run")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(200)
	n := 0
	send := func(what rota.ChangeType, task rota.TaskKey, data map[string]any) {
		n++
		e := rota.Event{ID: fmt.Sprintf("1-%d-0", 800+n), Index: uint64(800 + n), At: view.CreatedAt, Type: what, Run: view.ID, Task: task, Data: data}
		if task != "" {
			e.Attempt = 1
		}
		_, _ = fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Type, mustJSON(e))
	}
	send(rota.ChangeRunCreated, "", nil)
	for _, t := range view.Tasks {
		send("task.running", t.Key, map[string]any{"node": "n2"})
		if t.Status == rota.StatusDeadLettered {
			send("task.dead_lettered", t.Key, map[string]any{"cause": t.Cause.String(), "message": t.Message})
		} else if t.Status.Terminal() {
			send(rota.TaskChange(t.Status), t.Key, nil)
		}
	}
	if view.Status.Terminal() {
		send(rota.ChangeRunFinished, "", map[string]any{"status": view.Status.String()})
		if r.URL.Query().Get("end") == "true" {
			_, _ = io.WriteString(w, "event: end\ndata: {}\n\n")
			return
		}
	}
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	<-r.Context().Done()
}

func (f *fakeNode) logs(w http.ResponseWriter, r *http.Request) {
	stream := r.URL.Query().Get("stream")
	if stream == "" {
		stream = "stdout"
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = fmt.Fprintf(w, "%s of %s\nline 2\n", stream, r.PathValue("key"))
}

func (f *fakeNode) task(w http.ResponseWriter, r *http.Request) {
	view, ok := f.locked(r.PathValue("run"))
	for _, t := range view.Tasks {
		if !ok || string(t.Key) != r.PathValue("key") {
			continue
		}
		t.Run = view.ID
		switch r.PathValue("what") {
		case "cancel":
			t.Status = rota.StatusCancelled
		case "answer":
			t.Status = rota.StatusQueued
		}
		answer(w, 200, api.TaskDetail{
			TaskView: t, Driver: rota.DriverExec, Priority: 50, Command: []string{"sh", "-c", "echo it's done"},
			Resources:   rota.Resources{CPUMilli: 100, MemoryBytes: 64 << 20},
			AttemptList: []api.AttemptView{{Number: 1, Node: "n2", Fence: 1, Cause: t.Cause, Message: t.Message, ExitCode: t.ExitCode, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt}},
		})
		return
	}
	refuse(w, 404, api.TypeNotFound, "Not found", fmt.Sprintf("run %s has no task %q", view.ID, r.PathValue("key")))
}

func (f *fakeNode) explain(w http.ResponseWriter, r *http.Request) {
	answer(w, 200, api.ExplainView{
		Run: rota.RunID(r.PathValue("run")), Key: rota.TaskKey(r.PathValue("key")), Status: rota.StatusQueued,
		Reason: &rota.Reason{Code: rota.ReasonNoRoom, Text: "2 nodes fit, none has 4 free cores"}, Place: 2, Queued: 9,
		Candidates: []api.ExplainCandidate{
			{Node: "n1", Misfit: "cpu", Text: "4 cores asked for, 2.5 free"},
			{Node: "n3", Misfit: "node_state", Text: "it is down", Count: 3},
		},
	})
}

func (f *fakeNode) plan(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, api.PlanView{
		Job: "nightly", Namespace: "default", Version: 3, Changed: true, Diagnostics: rota.Diagnostics{},
		Changes: []api.PlanChange{{Key: "fetch", Action: "change", Fields: []string{"command", "env"}}, {Key: "report", Action: "add"}},
		Tasks: []api.PlanTask{
			{Key: "fetch", Driver: "exec", Priority: 50, Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 64 << 20}, Node: "n2"},
			{
				Key: "train", Driver: "exec", Priority: 50, Resources: rota.Resources{CPUMilli: 4000, MemoryBytes: 64 << 30, GPU: rota.GPUDemand{Count: 8, Model: "H100"}},
				Reason: &rota.Reason{Code: rota.ReasonNoNode, Text: "no node has 8 GPUs"},
			},
			{Key: "report", DependsOn: []rota.TaskKey{"fetch"}, Driver: "exec", Priority: 50, Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 64 << 20}, Reason: &rota.Reason{Code: rota.ReasonDependencies, Text: "waits for fetch"}},
		},
	})
}
