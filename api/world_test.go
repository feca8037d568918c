package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/fsm"
)

const (
	clusterID = "c1"
	secret    = "a secret of thirty-two characters"
)

// world is a cluster without a network: one real state machine that all nodes
// propose to, and nodes that see it whole, late, or not at all.
type world struct {
	mu      sync.Mutex
	state   *fsm.State
	entries []rota.Entry
	events  []rota.Event
	changed chan struct{}
	leader  int // index of the node that leads; -1: none
	nodes   []*worldNode
	now     rota.Instant
	refuse  error // what proposals end with, instead
	oldest  int   // index of the first event kept
}

type worldNode struct {
	w       *world
	id      rota.NodeID
	name    string
	replica bool
	lag     bool          // sees only what it waited for
	seen    *fsm.Snapshot // with lag
	server  *api.Server
	http    *httptest.Server
	logs    map[string][]byte // TASK/ATTEMPT/STREAM
	running map[string]bool   // TASK/ATTEMPT
	views   chan *rota.View
	renewed []rota.Session
}

func (n *worldNode) address() string { return strings.TrimPrefix(n.http.URL, "http://") }

// newWorld starts nodes n1, n2 ...; replicas of them hold the state, the first leads.
func newWorld(tb testing.TB, nodes, replicas int, with ...func(*api.Config)) *world {
	tb.Helper()
	w := &world{state: fsm.New(), changed: make(chan struct{}), now: rota.InstantOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	for i := range nodes {
		n := &worldNode{
			w: w, id: rota.NodeID(fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i+1)), name: fmt.Sprintf("n%d", i+1), replica: i < replicas,
			logs: map[string][]byte{}, running: map[string]bool{}, views: make(chan *rota.View, 8),
		}
		cfg := api.DefaultConfig()
		cfg.ID, cfg.Name, cfg.Version = n.id, n.name, "v-test"
		cfg.LogPoll, cfg.PeerBeat, cfg.Heartbeat = 2*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
		for _, f := range with {
			f(&cfg)
		}
		server, err := api.New(cfg, api.Deps{
			State: n, Duties: duties{n}, Logs: n, History: history{n},
			Credentials: func() (string, []byte) { return clusterID, []byte(secret) },
			Calls: map[string]api.Call{
				"probe":   api.Answer(true, func(_ context.Context, in map[string]string) (map[string]string, error) { return in, nil }),
				"forward": {Handle: func(_ context.Context, b []byte) ([]byte, error) { return append([]byte("got "), b...), nil }},
			},
			Ready: func() []api.Check { return []api.Check{{Name: "raft", OK: n.replica, Detail: "x"}} },
			Doctor: func(context.Context) []api.Check {
				return []api.Check{{Name: "containment", OK: true, Detail: "pidns"}}
			},
		})
		if err != nil {
			tb.Fatal(err)
		}
		n.server = server
		n.http = httptest.NewServer(server.Handler())
		tb.Cleanup(n.http.Close)
		w.nodes = append(w.nodes, n)
	}
	tb.Cleanup(func() {
		for _, n := range w.nodes {
			n.http.CloseClientConnections()
		}
	})
	return w
}

// apply applies operations as one entry each and gives the last result.
func (w *world) apply(cmd rota.Command) rota.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(time.Millisecond)
	e := rota.Entry{Format: 1, Term: 1, Index: w.state.Index() + 1, At: w.now, Seed: w.state.Index(), Commands: []rota.Command{cmd}}
	results, changes := w.state.Apply(e)
	w.entries = append(w.entries, e)
	for i, c := range changes {
		switch c.Type { //nolint:exhaustive // the rest are events
		case rota.ChangeRoom, rota.ChangeHold, rota.ChangeHoldReleased, rota.ChangeRenewed, rota.ChangeTaskResolved:
			continue
		}
		ev := rota.Event{ID: fmt.Sprintf("%d-%d-%d", w.state.Incarnation(), e.Index, i), Index: e.Index, At: c.At, Type: c.Type, Attempt: c.Attempt}
		if c.Run != nil {
			ev.Run = c.Run.ID
		}
		if c.Task != nil {
			ev.Run, ev.Task = c.Task.ID.Run, c.Task.ID.Key
		}
		w.events = append(w.events, ev)
	}
	close(w.changed)
	w.changed = make(chan struct{})
	for _, n := range w.nodes {
		if n.server == nil {
			continue
		}
		n.server.Applied(rota.Applied{Index: e.Index, Term: e.Term, At: e.At, Changes: changes})
	}
	res := results[0]
	res.Index, res.At = e.Index, w.state.Now()
	return res
}

// do applies an operation that must not be refused.
func (w *world) do(t *testing.T, op rota.Op) rota.Result {
	t.Helper()
	res := w.apply(rota.Command{Op: op})
	if err := res.Err(); err != nil {
		t.Fatalf("%T: %v", op, err)
	}
	return res
}

func (w *world) snapshot() *fsm.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state.Snapshot()
}

// register registers node i as a worker with its real address.
func (w *world) register(t *testing.T, i int) rota.Session {
	t.Helper()
	n := w.nodes[i]
	return w.do(t, rota.RegisterNode{Boot: "b", Info: rota.NodeInfo{
		ID: n.id, Name: n.name, Roles: []rota.Role{rota.RoleServer, rota.RoleWorker}, Address: n.address(), Version: "v-test", MaxFormat: 1,
		Drivers: []rota.Driver{rota.DriverExec, rota.DriverNoop}, Labels: []rota.Pair{{Key: "rack", Value: "a"}},
		Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 8 << 30, Slots: 16, GPUs: []rota.GPU{{ID: "fake-0", Model: "H100", MemoryBytes: 80 << 30}}},
	}}).Session
}

// place places a queued task and starts it.
func (w *world) place(t *testing.T, task rota.TaskID, s rota.Session) rota.Fence {
	t.Helper()
	res := w.do(t, rota.Place{Placements: []rota.NewPlacement{{Task: task, Session: s}}})
	if res.Items[0] != rota.KindNone {
		t.Fatalf("place %s: %s", task, res.Items[0])
	}
	placed, _ := w.snapshot().Task(task)
	w.do(t, rota.Report{Session: s, Items: []rota.ReportItem{{Task: task, Fence: placed.Placement.Fence, Started: true}}})
	return placed.Placement.Fence
}

func (w *world) finish(t *testing.T, task rota.TaskID, s rota.Session, f rota.Fence, o rota.Outcome) {
	t.Helper()
	w.do(t, rota.Report{Session: s, Items: []rota.ReportItem{{Task: task, Fence: f, Outcome: &o, Released: true}}})
}

// Propose implements api.State.
func (n *worldNode) Propose(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	n.w.mu.Lock()
	refuse, leader := n.w.refuse, n.w.leader
	n.w.mu.Unlock()
	if refuse != nil {
		return rota.Result{}, refuse
	}
	if leader < 0 {
		return rota.Result{}, fmt.Errorf("forward: %w", rota.ErrNoLeader)
	}
	return n.w.apply(cmd), ctx.Err()
}

// ProposeMany implements api.State.
func (n *worldNode) ProposeMany(ctx context.Context, cmds []rota.Command) ([]rota.Result, []error) {
	results, errs := make([]rota.Result, len(cmds)), make([]error, len(cmds))
	for i, cmd := range cmds {
		results[i], errs[i] = n.Propose(ctx, cmd)
	}
	return results, errs
}

// Snapshot implements api.State.
func (n *worldNode) Snapshot() *fsm.Snapshot {
	if !n.replica {
		return nil
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.lag && n.seen != nil {
		return n.seen
	}
	n.seen = n.w.state.Snapshot()
	return n.seen
}

// Barrier implements api.State.
func (n *worldNode) Barrier(context.Context) (uint64, error) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.w.leader < 0 {
		return 0, rota.ErrNoLeader
	}
	return n.w.state.Index(), nil
}

// Await implements api.State.
func (n *worldNode) Await(_ context.Context, index uint64) error {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.seen == nil || n.seen.Index() < index {
		n.seen = n.w.state.Snapshot()
	}
	return nil
}

// Leader implements api.State.
func (n *worldNode) Leader() (rota.NodeID, string, bool) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.w.leader < 0 {
		return "", "", false
	}
	l := n.w.nodes[n.w.leader]
	return l.id, l.address(), true
}

// Servers implements api.State.
func (n *worldNode) Servers() []api.Replica {
	n.w.mu.Lock()
	leader := n.w.leader
	n.w.mu.Unlock()
	var rs []api.Replica
	for i, m := range n.w.nodes {
		if m.replica {
			rs = append(rs, api.Replica{ID: m.id, Name: m.name, Address: m.address(), Leader: i == leader, Voter: true, Reachable: true})
		}
	}
	return rs
}

// Position implements api.State.
func (n *worldNode) Position() api.Position {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return api.Position{Term: 1, Index: n.w.state.Index(), Age: 3 * time.Millisecond, LastContact: -1}
}

// Contact implements api.State.
func (n *worldNode) Contact() rota.Contact {
	return rota.Contact{Server: n.id, Voter: true, ConfigIndex: 7, Age: time.Second}
}

// Open implements api.Logs.
func (n *worldNode) Open(task rota.TaskID, attempt uint64, stream string) (io.ReadSeekCloser, error) {
	if _, _, err := rota.ParseKey(string(task.Key)); err != nil || len(task.Run) != 26 {
		panic("asked for the log of " + task.String()) // such words must never come near a file
	}
	l := &worldLog{n: n, key: fmt.Sprintf("%s/%d/%s", task, attempt, stream)}
	if _, ok := l.content(); !ok {
		return nil, fmt.Errorf("open: %w", rota.ErrNotFound)
	}
	return l, nil
}

// Running implements api.Logs.
func (n *worldNode) Running(task rota.TaskID, attempt uint64) bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.running[fmt.Sprintf("%s/%d", task, attempt)]
}

func (n *worldNode) write(task rota.TaskID, text string, running bool) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	key := task.String() + "/1"
	n.logs[key+"/stdout"] = append(n.logs[key+"/stdout"], text...)
	n.running[key] = running
}

type worldLog struct {
	n   *worldNode
	key string
	at  int64
}

func (l *worldLog) content() ([]byte, bool) {
	l.n.w.mu.Lock()
	defer l.n.w.mu.Unlock()
	b, ok := l.n.logs[l.key]
	return b, ok
}

func (l *worldLog) Read(b []byte) (int, error) {
	all, _ := l.content()
	if l.at >= int64(len(all)) {
		return 0, io.EOF
	}
	n := copy(b, all[l.at:])
	l.at += int64(n)
	return n, nil
}

func (l *worldLog) Seek(offset int64, whence int) (int64, error) {
	all, _ := l.content()
	switch whence {
	case io.SeekStart:
		l.at = offset
	case io.SeekEnd:
		l.at = int64(len(all)) + offset
	}
	return l.at, nil
}

func (l *worldLog) Close() error { return nil }

// client makes a client of nodes.
func (w *world) client(tb testing.TB, nodes ...int) *api.Client {
	tb.Helper()
	var addresses []string
	for _, i := range nodes {
		addresses = append(addresses, w.nodes[i].http.URL)
	}
	c, err := api.NewClient(addresses, api.Options{Patience: -1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

const twoTasks = `
job "two" {
  task "a" {
    driver = "noop"
    output {
      type = "json"
    }
  }
  task "b" {
    driver     = "noop"
    depends_on = [task.a]
  }
}
`

func request(source string) *api.SubmitRequest {
	return &api.SubmitRequest{Source: &source, Filename: "two.hcl"}
}

// submit starts a run of the source through node i.
func (w *world) submit(t *testing.T, i int, source string) *api.RunView {
	t.Helper()
	run, _, err := w.client(t, i).Submit(t.Context(), request(source), "")
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// raw sends a request as it is and gives status, header and body.
func raw(t *testing.T, method, url, body string, header map[string]string) (int, http.Header, []byte) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, k := range slices.Sorted(maps.Keys(header)) {
		if k == "Host" {
			req.Host = header[k]
			continue
		}
		req.Header.Set(k, header[k])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer closed(t, resp.Body)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func problemOf(t *testing.T, err error) *api.Problem {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) {
		t.Fatalf("want a problem, got %v", err)
	}
	return p
}
