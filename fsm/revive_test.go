package fsm

import (
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

// lived is a state with a run under way: t00000 runs on n1, t00001 is queued.
func lived(t *testing.T) (*State, rota.Session) {
	t.Helper()
	s := New()
	reg := do(s, rota.RegisterNode{Info: rota.NodeInfo{ID: "n1", Name: "n1", Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop}, Capacity: rota.Capacity{CPUMilli: 1000, MemoryBytes: 1 << 30, Slots: 8}}, Boot: "b"})
	op := submission("R1", 2)
	op.Digest = "d"
	s.Apply(rota.Entry{Format: 1, At: s.Now() + 1, Commands: []rota.Command{{Op: op, RequestID: "key", Namespace: "team", Principal: "p"}}})
	placed := do(s, rota.Place{Placements: []rota.NewPlacement{{Task: rota.TaskID{Run: "R1", Key: "t00000"}, Session: reg.Session}}})
	if placed.Kind != rota.KindNone || placed.Items[0] != rota.KindNone {
		t.Fatalf("the task was not placed: %+v", placed)
	}
	return s, reg.Session
}

// TestARestoredStateEndsEverySession: what ran counts as possibly started, nothing is
// placed for the leader's TTL, and nothing of the old cluster counts any more.
func TestARestoredStateEndsEverySession(t *testing.T) {
	s, old := lived(t)
	task, _ := s.Snapshot().Task(rota.TaskID{Run: "R1", Key: "t00000"})
	fence := task.Fence(0)
	index := s.Index()
	now := s.Now().Add(time.Hour)
	if err := s.Revive(Revival{Incarnation: 1, Now: now, Quiet: 10 * time.Second, Seed: 7}); err != nil {
		t.Fatal(err)
	}
	checkState(t, s)
	roundTrip(t, s)
	sn := s.Snapshot()
	if sn.Index() != index+1 || sn.Incarnation() != 1 || sn.Now() != now {
		t.Fatalf("index %d, incarnation %d, now %d", sn.Index(), sn.Incarnation(), sn.Now())
	}
	for n := range sn.Nodes() {
		t.Errorf("node %s is still known", n.ID)
	}
	for h := range sn.AllHolds() {
		t.Errorf("something is still held: %+v", h)
	}
	task, _ = sn.Task(rota.TaskID{Run: "R1", Key: "t00000"})
	if task.Placement != nil || task.Cause != rota.CauseNodeLost || task.Status.Terminal() {
		t.Errorf("the task that ran is %s, cause %s", task.Status, task.Cause)
	}

	again := submission("R9", 2)
	again.Digest = "d"
	results, _ := s.Apply(rota.Entry{Format: 1, At: s.Now() + 1, Commands: []rota.Command{{Op: again, RequestID: "key", Namespace: "team", Principal: "p"}}})
	if !results[0].Existed || results[0].Run != "R1" {
		t.Errorf("the idempotency key was forgotten: %+v", results[0])
	}
	if r := do(s, rota.Report{Session: old, Items: []rota.ReportItem{{Task: task.ID, Fence: fence, Outcome: &rota.Outcome{}}}}); r.Items[0] == rota.KindNone {
		t.Error("a report of the old cluster counted")
	}

	node := rota.RegisterNode{Info: rota.NodeInfo{ID: "n1", Name: "n1", Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop}, Capacity: rota.Capacity{CPUMilli: 1000, MemoryBytes: 1 << 30, Slots: 8}}, Boot: "b"}
	if r := do(s, node); r.Kind != rota.KindUnavailable || !strings.Contains(r.Detail, "restored") {
		t.Errorf("a node was taken in during the quiet: %+v", r)
	}
	results, _ = s.Apply(rota.Entry{Format: 1, At: now.Add(10 * time.Second), Commands: []rota.Command{{Op: node}}})
	if results[0].Kind != rota.KindNone || results[0].Session.Counter <= sessionsPerIncarnation {
		t.Fatalf("after the quiet: %+v", results[0])
	}
	s.Apply(rota.Entry{Format: 1, At: now.Add(time.Hour), Commands: []rota.Command{{Op: rota.Due{}}}})
	placed := do(s, rota.Place{Placements: []rota.NewPlacement{{Task: task.ID, Session: results[0].Session}}})
	task, _ = s.Snapshot().Task(task.ID)
	if placed.Items[0] != rota.KindNone || task.Placement.Fence <= fence || task.Placement.Fence.Incarnation() != 1 {
		t.Errorf("placed again: %+v, fence %s after %s", placed, task.Placement.Fence, fence)
	}
	checkState(t, s)
	roundTrip(t, s)
}

// TestAnIncarnationOnlyRises: two clusters must not give out the same fences.
func TestAnIncarnationOnlyRises(t *testing.T) {
	s, _ := lived(t)
	if err := s.Revive(Revival{Incarnation: 3}); err != nil {
		t.Fatal(err)
	}
	if err := s.Revive(Revival{Incarnation: 3}); err == nil {
		t.Error("the incarnation stayed, and nobody minded")
	}
}
