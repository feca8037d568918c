package api_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (w *world) peers(key string, nodes ...int) *api.Peers {
	return api.NewPeers(api.PeersConfig{
		Targets: func() []string {
			var targets []string
			for _, i := range nodes {
				targets = append(targets, w.nodes[i].address())
			}
			return targets
		},
		Credentials: func() (string, []byte) { return clusterID, []byte(key) },
	})
}

func info(id, name string) rota.NodeInfo {
	return rota.NodeInfo{
		ID: rota.NodeID(id), Name: name, Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop}, MaxFormat: 1,
		Address: "10.0.0.1:8420", Capacity: rota.Capacity{CPUMilli: 1000, MemoryBytes: 1 << 30, Slots: 4},
	}
}

// TestNodeLivesItsLifeOverHTTP: register, renew, report and release, asked of a
// node without a replica, reach the leader and come back.
func TestNodeLivesItsLifeOverHTTP(t *testing.T) {
	w := newWorld(t, 3, 2)
	p := w.peers(secret, 2)
	defer p.Close()
	ctx := soon(t)
	session, err := p.Register(ctx, rota.RegisterNode{Boot: "b", Info: info("00000000-0000-4000-8000-0000000000aa", "worker")})
	if err != nil || session.IsZero() {
		t.Fatal(session, err)
	}
	if _, err := p.Register(ctx, rota.RegisterNode{Boot: "b", Info: info("00000000-0000-4000-8000-0000000000bb", "worker")}); !errors.Is(err, rota.ErrConflict) {
		t.Errorf("two of one name: %v", err)
	}
	r, err := p.Renew(ctx, session)
	if err != nil || !r.Current || r.Leader != w.nodes[0].id {
		t.Fatal(r, err)
	}
	if len(w.nodes[0].renewed) != 1 || w.nodes[0].renewed[0] != session {
		t.Errorf("renewed: %v", w.nodes[0].renewed)
	}
	run := w.submit(t, 0, twoTasks)
	task := rota.TaskID{Run: run.ID, Key: "a"}
	fence := w.place(t, task, session)
	kinds, err := p.Report(ctx, rota.Report{Session: session, Items: []rota.ReportItem{{Task: task, Fence: fence, Outcome: &rota.Outcome{}, Released: true}}})
	if err != nil || len(kinds) != 1 || kinds[0] != rota.KindNone {
		t.Fatal(kinds, err)
	}
	if got, _ := w.snapshot().Task(task); got.Status != rota.StatusDelivered {
		t.Errorf("task: %s", got.Status)
	}
	if err := p.Release(ctx, session, true, nil); err != nil {
		t.Fatal(err)
	}
	if n, _ := w.snapshot().NodeByName("worker"); n.State() != rota.NodeLeft {
		t.Errorf("node: %s", n.State())
	}
	if _, err := p.Report(ctx, rota.Report{Session: session, Items: []rota.ReportItem{{Task: task, Fence: fence, Started: true}}}); !errors.Is(err, rota.ErrStale) {
		t.Logf("report of a session that is over: %v", err) // the state machine decides
	}
	if err := p.Release(ctx, session, true, nil); err != nil {
		t.Errorf("released twice: %v", err)
	}
}

// TestViewsStream: views arrive in order through a node that passes them on, and
// the end of the session is told.
func TestViewsStream(t *testing.T) {
	w := newWorld(t, 3, 2)
	p := w.peers(secret, 2)
	defer p.Close()
	session := rota.Session{Node: "x", Boot: "b", Counter: 3}
	s, err := p.Stream(soon(t), session, 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	v, err := s.Recv()
	if err != nil || !v.Full || v.Session != session {
		t.Fatal(v, err)
	}
	for i := range 100 {
		w.nodes[0].views <- &rota.View{Term: 1, Index: uint64(i), Session: session, Start: []rota.Assignment{{
			Task: rota.TaskID{Run: "01AAAAAAAAAAAAAAAAAAAAAA00", Key: "a"}, Fence: 1, Spec: &rota.TaskSpec{Driver: rota.DriverNoop},
		}}}
		v, err := s.Recv()
		if err != nil || v.Index != uint64(i) || len(v.Start) != 1 || v.Start[0].Spec.Driver != rota.DriverNoop {
			t.Fatal(v, err)
		}
	}
	w.nodes[0].views <- nil
	if _, err := s.Recv(); !errors.Is(err, rota.ErrStale) {
		t.Errorf("after the session: %v", err)
	}
	if _, err := p.Stream(soon(t), rota.Session{Node: "x", Counter: 99}, 1, 7); !errors.Is(err, rota.ErrStale) {
		t.Errorf("a session that is over: %v", err)
	}
}

// TestSilentStreamEnds: a stream that gives no sign of life is no stream.
func TestSilentStreamEnds(t *testing.T) {
	w := newWorld(t, 1, 1, func(c *api.Config) { c.PeerBeat = 1 << 40 })
	p := api.NewPeers(api.PeersConfig{
		Targets:     func() []string { return []string{w.nodes[0].address()} },
		Credentials: func() (string, []byte) { return clusterID, []byte(secret) },
		Silence:     time.Second,
	})
	defer p.Close()
	s, err := p.Stream(soon(t), rota.Session{Node: "x"}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err == nil || rota.KindOf(err) != rota.KindNone {
		t.Errorf("got %v", err)
	}
}

// TestOnlyTheClusterMayReport: without the cluster's secret nothing is taken.
func TestOnlyTheClusterMayReport(t *testing.T) {
	w := newWorld(t, 1, 1)
	session := w.register(t, 0)
	p := w.peers("another secret", 0)
	defer p.Close()
	ctx := soon(t)
	before := w.snapshot().Digest()
	_, err := p.Register(ctx, rota.RegisterNode{Boot: "b", Info: info("00000000-0000-4000-8000-0000000000aa", "w")})
	if !errors.Is(err, rota.ErrDenied) {
		t.Errorf("register: %v", err)
	}
	if _, err = p.Renew(ctx, session); !errors.Is(err, rota.ErrDenied) {
		t.Errorf("renew: %v", err)
	}
	if err = p.Release(ctx, session, false, nil); !errors.Is(err, rota.ErrDenied) {
		t.Errorf("release: %v", err)
	}
	if _, err = p.Stream(ctx, session, 0, 0); !errors.Is(err, rota.ErrDenied) {
		t.Errorf("stream: %v", err)
	}
	if _, err = p.Call(ctx, w.nodes[0].address(), "forward", []byte("x")); !errors.Is(err, rota.ErrDenied) {
		t.Errorf("forward: %v", err)
	}
	if w.snapshot().Digest() != before {
		t.Error("the state changed")
	}
	good := w.peers(secret, 0)
	defer good.Close()
	b, err := good.Forward(ctx, w.nodes[0].address(), []byte("x"))
	if err != nil || string(b) != "got x" {
		t.Errorf("forward: %q %v", b, err)
	}
	out, err := api.Ask[map[string]string](ctx, p, w.nodes[0].address(), "probe", map[string]string{"a": "b"})
	if err != nil || out["a"] != "b" {
		t.Errorf("an open call: %v %v", out, err)
	}
}

// TestPeersTryTheNextServer: a dead server costs a moment, and no answer.
func TestPeersTryTheNextServer(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.nodes[1].http.Close()
	p := w.peers(secret, 1, 2, 0)
	defer p.Close()
	session := w.register(t, 0)
	if r, err := p.Renew(soon(t), session); err != nil || !r.Current {
		t.Fatal(r, err)
	}
	contacts, err := p.Contacts(soon(t))
	if err != nil || len(contacts) != 2 || contacts[0].ConfigIndex != 7 {
		t.Errorf("contacts: %+v %v", contacts, err)
	}
	w.mu.Lock()
	w.leader = -1
	w.mu.Unlock()
	if _, err := p.Renew(soon(t), session); !errors.Is(err, rota.ErrNoLeader) {
		t.Errorf("without a leader: %v", err)
	}
	none := api.NewPeers(api.PeersConfig{Targets: func() []string { return nil }})
	if _, err := none.Renew(context.Background(), session); !errors.Is(err, rota.ErrUnavailable) {
		t.Errorf("without servers: %v", err)
	}
}
