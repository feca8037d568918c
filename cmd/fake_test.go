package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cmd"
)

// The runs that the fake node knows. A submitted source decides which one it
// starts, by a word in it.
const (
	okRun      = "01JD0000000000000000000K00" // two tasks, succeeded
	oneRun     = "01JD0000000000000000000100" // one task, succeeded
	failedRun  = "01JD0000000000000000000F00"
	pausedRun  = "01JD0000000000000000000P00"
	foreverRun = "01JD0000000000000000000R00"
	waitingRun = "01JD0000000000000000000W00"
	exit7Run   = "01JD0000000000000000000700" // one task, exit code 7
)

// fakeNode answers the HTTP door with canned shapes.
type fakeNode struct {
	mux       http.Handler
	mu        sync.Mutex // guards what follows
	cancelled map[string]bool
	keys      map[string]string // idempotency key -> run
	posted    []api.SubmitRequest
	asked     map[string]bool // method and path of the requests
}

func (f *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.Method+" "+r.URL.Path] = true
	f.mu.Unlock()
	f.mux.ServeHTTP(w, r)
}

func (f *fakeNode) wasAsked(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[what]
}

func newFakeNode() (f *fakeNode, address string, stop func()) {
	f = &fakeNode{asked: map[string]bool{}, cancelled: map[string]bool{}, keys: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, fakeStatus()) })
	mux.HandleFunc("GET /v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, api.List[api.NodeView]{Items: fakeNodes()})
	})
	mux.HandleFunc("GET /v1/nodes/{id}", f.node)
	mux.HandleFunc("POST /v1/nodes/{id}/{what}", f.node)
	mux.HandleFunc("GET /v1/nodes/{id}/explain", f.explainNode)
	mux.HandleFunc("POST /v1/runs", f.submit)
	mux.HandleFunc("GET /v1/runs", f.runs)
	mux.HandleFunc("GET /v1/runs/{id}", f.run)
	mux.HandleFunc("GET /v1/runs/{id}/tasks", f.runTasks)
	mux.HandleFunc("GET /v1/runs/{id}/graph", f.graph)
	mux.HandleFunc("GET /v1/runs/{id}/events", f.events)
	mux.HandleFunc("GET /v1/events", f.events)
	mux.HandleFunc("POST /v1/runs/{id}/cancel", f.cancel)
	mux.HandleFunc("GET /v1/tasks/{run}/{key}", f.task)
	mux.HandleFunc("POST /v1/tasks/{run}/{key}/{what}", f.task)
	mux.HandleFunc("GET /v1/tasks/{run}/{key}/logs", f.logs)
	mux.HandleFunc("GET /v1/tasks/{run}/{key}/explain", f.explain)
	f.handleJobs(mux)
	handleServers(mux)
	mux.HandleFunc("POST /v1/jobs:plan", f.plan)
	mux.HandleFunc("GET /v1/doctor", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, api.DoctorView{Node: "n1", Checks: []api.Check{{Name: "containment", OK: true, Detail: "PID namespace and cgroup"}, {Name: "disk", OK: true, Detail: "80 GiB free"}}})
	})
	f.mux = mux
	s := httptest.NewServer(f)
	return f, s.URL, func() {
		s.CloseClientConnections()
		s.Close()
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Rota-Index", "812")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, word, title, detail string, ds ...rota.Diagnostic) {
	answer(w, status, api.Problem{Type: word, Title: title, Detail: detail, Status: status, Diagnostics: ds})
}

func ago(d time.Duration) rota.Instant { return rota.InstantOf(time.Now().Add(-d)) }

func pointer[T any](v T) *T { return &v }

func fakeStatus() api.StatusView {
	return api.StatusView{
		ClusterID: "c0ffee", Version: "v0.1.0", Node: "n1", Leader: pointer("n2"), Term: 4, Index: 812, IndexAgeMs: 3, LastContactMs: pointer(int64(8)),
		Servers: []api.ServerView{
			{ID: "id-1", Name: "n1", Address: "127.0.0.1:8420", State: "follower", LastContactMs: pointer(int64(8))},
			{ID: "id-2", Name: "n2", Address: "127.0.0.1:8430", State: "leader"},
			{ID: "id-3", Name: "n3", Address: "127.0.0.1:8440", State: "unreachable", LastContactMs: pointer(int64(63_000))},
		},
		Nodes: api.NodeCounts{Ready: 2, Down: 1}, Tasks: map[string]int{"queued": 3, "running": 2, "delivered": 40}, CostMicros: 1_200_000,
	}
}

func fakeNodes() []api.NodeView {
	gib := int64(1 << 30)
	node := func(i int, state rota.NodeState) api.NodeView {
		return api.NodeView{
			ID: rota.NodeID(fmt.Sprintf("id-%d", i)), Name: fmt.Sprintf("n%d", i), State: state, Roles: []rota.Role{rota.RoleServer, rota.RoleWorker},
			Address: fmt.Sprintf("127.0.0.1:%d", 8410+10*i), OS: "linux", Arch: "amd64", Version: "v0.1.0", Containment: "pidns",
			Drivers: []rota.Driver{"exec", "noop"}, Labels: map[string]string{"rack": "a"},
			Resources: api.NodeResources{CPUMilli: 8000, MemoryBytes: 32 * gib}, Used: api.NodeUsed{CPUMilli: 1500, MemoryBytes: gib / 2}, Running: 2, Slots: 128,
		}
	}
	nodes := []api.NodeView{node(1, rota.NodeReady), node(2, rota.NodeReady), node(3, rota.NodeDown)}
	nodes[1].Resources.GPUs = []api.GPUView{
		{ID: "fake-0", Model: "H100", MemoryBytes: 80 * gib, FreeMilli: 1000}, {ID: "fake-1", Model: "H100", MemoryBytes: 80 * gib, FreeMilli: 500},
	}
	nodes[1].Attempts = []api.HoldView{{Task: okRun + "/fit", Resources: rota.Resources{CPUMilli: 500, MemoryBytes: gib}, GPUs: []rota.GPUGrant{{ID: "fake-1", Milli: 500}}}}
	return nodes
}

func (f *fakeNode) node(w http.ResponseWriter, r *http.Request) {
	for _, n := range fakeNodes() {
		if n.Name == r.PathValue("id") {
			if r.PathValue("what") == "drain" {
				n.State = rota.NodeDraining
			}
			answer(w, 200, n)
			return
		}
	}
	refuse(w, 404, api.TypeNotFound, "Not found", fmt.Sprintf("there is no node %q", r.PathValue("id")))
}

func (f *fakeNode) explainNode(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, api.ExplainNodeView{
		Node: fakeNodes()[0], Lines: []string{"2 attempts hold 1.5 of 8 cores"},
		Reason: &rota.Reason{Code: "draining", Text: "it is being drained"},
	})
}

func (f *fakeNode) submit(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in api.SubmitRequest
	if err != nil || json.Unmarshal(body, &in) != nil || in.Source == nil {
		f.dispatch(w, body)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.posted = append(f.posted, in)
	text := *in.Source
	switch {
	case strings.Contains(text, "broken"):
		refuse(w, 422, api.TypeInvalidSpec, "Invalid job file", "the job file has errors", rota.Diagnostic{
			Severity: rota.SeverityError, Summary: `Unknown task "aa"`, Detail: `This job has no task "aa". Did you mean "a"?`, File: in.Filename,
			Range: rota.Range{Start: rota.Position{Line: 3, Column: 16, Byte: 0}, End: rota.Position{Line: 3, Column: 23}},
		})
		return
	case strings.Contains(text, "taken"):
		refuse(w, 409, api.TypeConflict, "Conflict", "the key names another request")
		return
	case strings.Contains(text, "denied"):
		refuse(w, 403, api.TypeDenied, "Denied", "this token may not start runs")
		return
	case strings.Contains(text, "echo-source"):
		refuse(w, 400, api.TypeInvalid, "Invalid request", text+" "+string(mustJSON(in.Variables))+" "+string(mustJSON(in.Labels)))
		return
	}
	id := okRun
	for word, run := range map[string]string{"single": oneRun, "fails": failedRun, "pauses": pausedRun, "forever": foreverRun, "exit7": exit7Run} {
		if strings.Contains(text, word) {
			id = run
		}
	}
	status := 201
	if f.keys[key] != "" {
		status = 200
	}
	f.keys[key] = id
	view, _ := f.view(id)
	view.Tasks = nil
	answer(w, status, view)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

func (f *fakeNode) runs(w http.ResponseWriter, r *http.Request) {
	items := []api.RunView{}
	for _, id := range []string{okRun, failedRun, foreverRun} {
		view, _ := f.view(id)
		view.Tasks = nil
		if s := r.URL.Query().Get("status"); s == "" || s == view.Status.String() {
			items = append(items, view)
		}
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	page := api.List[api.RunView]{Items: items}
	if err == nil && limit < len(items) {
		page.Items, page.NextCursor = items[:limit], pointer("more")
	}
	answer(w, 200, page)
}

func (f *fakeNode) run(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	view, ok := f.locked(id)
	switch {
	case !ok:
		refuse(w, 404, api.TypeNotFound, "Not found", fmt.Sprintf("no run begins with %q", id))
		return
	case r.URL.Query().Get("index") != "":
		select { // nothing changes: a blocking read
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Second):
		}
	}
	if r.URL.Query().Get("tasks") == "" {
		view.Tasks = nil
	}
	answer(w, 200, view)
}

func (f *fakeNode) locked(id string) (api.RunView, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view(id)
}

func (f *fakeNode) runTasks(w http.ResponseWriter, r *http.Request) {
	view, _ := f.locked(r.PathValue("id"))
	answer(w, 200, api.List[api.TaskView]{Items: view.Tasks})
}

func (f *fakeNode) cancel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	view, ok := f.locked(id)
	switch {
	case !ok:
		refuse(w, 404, api.TypeNotFound, "Not found", fmt.Sprintf("no run begins with %q", id))
	case view.Status.Terminal():
		refuse(w, 409, api.TypeEnded, "Already ended", fmt.Sprintf("run %s has ended: %s", view.ID, view.Status))
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cancelled[id] = true
		view.Status, view.Tasks = rota.RunCancelled, nil
		answer(w, 200, view)
	}
}

func (f *fakeNode) graph(w http.ResponseWriter, r *http.Request) {
	answer(w, 200, api.GraphView{
		Run:   rota.RunID(r.PathValue("id")),
		Nodes: []api.GraphNode{{Key: "report", Status: rota.StatusQueued}, {Key: "fetch", Status: rota.StatusDelivered}, {Key: "clean", Status: rota.StatusCreated}},
		Edges: []api.GraphEdge{{From: "fetch", To: "report", Kind: "delivered"}, {From: "report", To: "clean", Kind: "any"}},
	})
}

func exitCode(err error) string {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return strconv.Itoa(e.ExitCode())
	}
	return err.Error()
}

// fakeStart stands for a node: it says what it was told and waits to be stopped.
func fakeStart(ctx context.Context, f cmd.StartFlags, to cmd.Streams) error {
	if _, err := fmt.Fprintf(to.Stdout, "http %s raft %s gossip %s roles %v join %v expect %d gpus %d slots %d labels %v\n",
		f.HTTP, f.Raft, f.Gossip, f.Roles, f.Join, f.BootstrapExpect, len(f.GPU.Fake), f.Slots, f.Labels); err != nil {
		return err
	}
	if f.Name != "stays" {
		return nil
	}
	if err := os.WriteFile("ready", nil, 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	_, err := io.WriteString(to.Stdout, "planned stop\n")
	return err
}
