package history

import (
	"reflect"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

// TestEventSaysWhatAPersonAsks: which node, which attempt, why.
func TestEventSaysWhatAPersonAsks(t *testing.T) {
	task := &rota.Task{
		ID: rota.TaskID{Run: "R1", Key: "a"}, Cause: rota.CauseExitNonzero, Message: "exit status 3", ExitCode: 3,
		Attempts: []rota.Attempt{{Number: 1, NodeName: "old"}, {Number: 2, NodeName: "n2"}},
		Late:     []rota.Attempt{{Number: 1, NodeName: "n1", Cause: rota.CauseOOM, Message: "killed"}},
		Why:      rota.Reason{Code: rota.ReasonBackoff, Text: "in a while"},
	}
	run := &rota.Run{ID: "R1", Namespace: "team", Job: "job", Version: 4, Status: rota.RunCancelled, Reason: "enough"}
	node := &rota.Node{NodeInfo: rota.NodeInfo{ID: "id", Name: "n1"}, Left: true}
	for name, c := range map[string]struct {
		change rota.Change
		want   rota.Event
	}{
		"failed": {
			rota.Change{Type: rota.TaskChange(rota.StatusFailed), Task: task, Run: run, From: rota.StatusRunning, Attempt: 2},
			rota.Event{Run: "R1", Task: "a", Attempt: 2, Data: map[string]any{"from": "running", "node": "n2", "cause": "exit_nonzero", "message": "exit status 3", "exit_code": int64(3)}},
		},
		"late": {
			rota.Change{Type: rota.ChangeTaskLate, Task: task, From: rota.StatusRunning, Attempt: 1},
			rota.Event{Run: "R1", Task: "a", Attempt: 1, Data: map[string]any{"from": "running", "node": "n1", "cause": "oom", "message": "killed"}},
		},
		"retrying": {
			rota.Change{Type: rota.TaskChange(rota.StatusRetrying), Task: task, From: rota.StatusFailed, Attempt: 2},
			rota.Event{Run: "R1", Task: "a", Attempt: 2, Data: map[string]any{"from": "failed", "node": "n2", "reason": "backoff", "message": "in a while"}},
		},
		"queued": {
			rota.Change{Type: rota.TaskChange(rota.StatusQueued), Task: task, From: rota.StatusCreated},
			rota.Event{Run: "R1", Task: "a", Data: map[string]any{"from": "created"}},
		},
		"finished": {
			rota.Change{Type: rota.ChangeRunFinished, Run: run},
			rota.Event{Run: "R1", Data: map[string]any{"namespace": "team", "job": "job", "version": int64(4), "status": "cancelled", "reason": "enough"}},
		},
		"node": {
			rota.Change{Type: rota.ChangeNode, Node: node},
			rota.Event{Data: map[string]any{"node": "id", "name": "n1", "state": "left"}},
		},
	} {
		c.want.Type = c.change.Type
		got, ok := EventOf(&c.change)
		if !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %t\nwant %+v\ngot  %+v", name, ok, c.want, got)
		}
	}
	for c, s := range map[rota.ChangeType]rota.Status{
		taskFailed: rota.StatusFailed, taskDeadLettered: rota.StatusDeadLettered, taskRetrying: rota.StatusRetrying, taskWaiting: rota.StatusWaiting,
		taskPaused: rota.StatusPaused, taskSkipped: rota.StatusSkipped, taskCancelled: rota.StatusCancelled,
	} {
		if c != rota.TaskChange(s) {
			t.Errorf("%s is not the change to %s", c, s)
		}
	}
	for _, quiet := range []rota.ChangeType{rota.ChangeRoom, rota.ChangeHold, rota.ChangeHoldReleased, rota.ChangeRenewed, rota.ChangeTaskResolved, rota.ChangeTaskUnresolved} {
		if _, ok := EventOf(&rota.Change{Type: quiet, Task: task, Node: node}); ok {
			t.Errorf("%s became an event", quiet)
		}
	}
	if _, ok := EventOf(&rota.Change{Type: "something.else"}); ok {
		t.Error("a change about nothing became an event")
	}
}

// TestIDsSortAndParse.
func TestIDsSortAndParse(t *testing.T) {
	ids := []ID{{}, {Position: 1}, {Index: 1}, After(0, 1), {Index: 2}, {Incarnation: 1}, After(65535, 1<<63)}
	for i, id := range ids {
		back, err := ParseID(id.String())
		if err != nil || back != id {
			t.Errorf("%s came back as %s: %v", id, back, err)
		}
		for j, o := range ids {
			if got := id.Compare(o); got != min(max(i-j, -1), 1) {
				t.Errorf("%s against %s: %d", id, o, got)
			}
		}
	}
	for _, bad := range []string{"", "1", "1-2", "1-2-3-4", "x-1-1", "65536-1-1", "1--1", "1-2-4294967296"} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzDecodeBatch: hostile bytes are an error or a batch, never a panic.
func FuzzDecodeBatch(f *testing.F) {
	a := applied(7, 3)
	a.Changes = append(a.Changes, rota.Change{Type: rota.ChangeRunFinished, Run: &rota.Run{ID: "R1", Version: 3, Status: rota.RunFailed}})
	e := entry{incarnation: 2, applied: a}
	f.Add(e.append(nil)[recordHead:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := decodeBatch(payload)
		if err == nil && len(b.events) > len(payload) {
			t.Fatalf("%d events of %d bytes", len(b.events), len(payload))
		}
	})
}

// BenchmarkAppend is what an entry of 64 task steps costs the writer.
func BenchmarkAppend(b *testing.B) {
	h, err := Open(DefaultConfig(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	a := applied(0, 64)
	b.ReportAllocs()
	start := time.Now()
	n := 0
	for b.Loop() {
		n++
		a.Index = uint64(n)
		h.Append(0, a)
		h.drain()
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(n*64), "ns/event")
}
