package fsm

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/rota-sched/rota"
	"github.com/tidwall/btree"
)

// tester is what rapid's and testing's T have in common here.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// roundTrip takes a snapshot, restores it and compares everything, the derived
// trees included.
func roundTrip(t tester, s *State) *State {
	t.Helper()
	var b bytes.Buffer
	if err := s.Snapshot().Encode(&b); err != nil {
		t.Fatal(err)
	}
	first := bytes.Clone(b.Bytes())
	back, err := RestoreWith(&b, s.limits)
	if err != nil {
		t.Fatalf("a snapshot of our own does not restore: %v", err)
	}
	if back.Digest() != s.Digest() {
		t.Fatalf("digest after restore %s, before %s", back.Digest(), s.Digest())
	}
	for _, d := range []string{
		differ("queued", s.queued, back.queued, func(i taskItem) any { return i.rec.Task }),
		differ("unresolved", s.unresolved, back.unresolved, func(i taskItem) any { return i.rec.Task }),
		differ("tasks", s.tasks, back.tasks, func(i taskItem) any { return []any{i.rec.Task, i.rec.held, i.rec.sum, i.rec.fixed} }),
		differ("runs", s.runs, back.runs, func(i runItem) any {
			return []any{i.rec.Run, i.rec.unresolved, i.rec.sum, i.rec.graph.first, i.rec.graph.after}
		}),
		differ("nodes", s.nodes, back.nodes, func(i nodeItem) any { return []any{i.rec.Session, i.rec.due, i.rec.sum, i.rec.Capacity} }),
		differ("timers", s.timers, back.timers, func(i timer) any { return i }),
		differ("ages", s.ages, back.ages, func(i ageItem) any { return *i.rec }),
		differ("ended", s.ended, back.ended, func(i endedItem) any { return i }),
		differ("names", s.names, back.names, func(i nameItem) any { return i }),
		differ("hashes", s.hashes, back.hashes, func(i hashItem) any { return i }),
		differ("run IDs", s.runIDs, back.runIDs, func(i runIDItem) any { return i }),
		differ("versions", s.versions, back.versions, func(i versionItem) any { return []any{i.rec.runs, i.rec.last, i.rec.Hash} }),
		differ("jobs", s.jobs, back.jobs, func(i jobItem) any { return *i.rec }),
		differ("pending", s.pending, back.pending, func(i pendingItem) any { return *i.rec }),
		differ("requests", s.requests, back.requests, func(i requestItem) any { return *i.rec }),
	} {
		if d != "" {
			t.Fatal(d)
		}
	}
	if s.live != back.live || s.queue != back.queue || s.output != back.output || s.counts != back.counts || !reflect.DeepEqual(s.kept, back.kept) {
		t.Fatalf("counters before %d %d %d %v %v, after %d %d %d %v %v", s.live, s.queue, s.output, s.counts, s.kept,
			back.live, back.queue, back.output, back.counts, back.kept)
	}
	var again bytes.Buffer
	if err := back.Snapshot().Encode(&again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again.Bytes()) {
		t.Fatal("the snapshot of a restored state has other bytes")
	}
	return back
}

func differ[T any](name string, a, b *btree.BTreeG[T], view func(T) any) string {
	x, y := a.Items(), b.Items()
	if len(x) != len(y) {
		return fmt.Sprintf("%s: %d items before the snapshot, %d after\n%+v\n%+v", name, len(x), len(y), x, y)
	}
	for i := range x {
		if p, q := view(x[i]), view(y[i]); !reflect.DeepEqual(p, q) {
			return fmt.Sprintf("%s differ:\n%+v\n%+v", name, p, q)
		}
	}
	return ""
}

// checkState recomputes from the plain records what the state must never break.
func checkState(t tester, s *State) {
	t.Helper()
	sn := s.Snapshot()
	checkRoom(t, sn)
	live := 0
	var counts [16]int
	for r := range sn.Runs() {
		var own [16]int
		for task := range sn.Tasks(r.ID) {
			own[task.Status]++
			checkTask(t, s, sn, task)
		}
		if own != r.Counts {
			t.Fatalf("run %s counts %v, its tasks %v", r.ID, r.Counts, own)
		}
		for i, n := range own {
			counts[i] += n
		}
		if r.Status.Terminal() != (r.Open() == 0) {
			t.Fatalf("run %s is %s with %d open tasks", r.ID, r.Status, r.Open())
		}
		if !r.Status.Terminal() {
			live += r.Total
		}
	}
	if counts != sn.Counts() || live != s.live {
		t.Fatalf("the state counts %v and %d live, its tasks %v and %d", sn.Counts(), s.live, counts, live)
	}
	if s.ages.Len() != s.requests.Len() || s.requests.Len() > s.limits.MaxRequests {
		t.Fatalf("%d keys with %d ages, at most %d", s.requests.Len(), s.ages.Len(), s.limits.MaxRequests)
	}
	if n := s.timers.Len() + s.ages.Len(); n > 0 != (sn.NextDue() != 0) {
		t.Fatalf("%d timers and due at %d", n, sn.NextDue())
	}
}

// checkRoom adds up what is held, without the state's own arithmetic.
func checkRoom(t tester, sn *Snapshot) {
	t.Helper()
	type room struct {
		cpu, memory, disk, slots int64
		gpu                      map[string]int64
	}
	rooms := map[rota.NodeID]*room{}
	holders := map[rota.TaskID]int{}
	for h := range sn.AllHolds() {
		r := rooms[h.Session.Node]
		if r == nil {
			r = &room{gpu: map[string]int64{}}
			rooms[h.Session.Node] = r
		}
		r.cpu += h.Resources.CPUMilli
		r.memory += h.Resources.MemoryBytes
		r.disk += h.Resources.DiskBytes
		r.slots++
		for _, g := range h.GPUs {
			r.gpu[g.ID] += g.Milli
		}
		if holders[h.Task]++; holders[h.Task] > 1 {
			t.Fatalf("task %s holds room twice: two attempts may run at once", h.Task)
		}
		n, ok := sn.Node(h.Session.Node)
		if !ok || n.Session != h.Session {
			t.Fatalf("a hold of %s on a session that is not current", h.Task)
		}
	}
	for n := range sn.Nodes() {
		r := rooms[n.ID]
		if r == nil {
			r = &room{}
		}
		c := &n.Capacity
		if r.cpu > c.CPUMilli || r.memory > c.MemoryBytes || r.disk > c.DiskBytes || r.slots > c.Slots {
			t.Fatalf("node %s is over its room: %+v of %+v", n.ID, r, c)
		}
		if n.Held.CPUMilli != r.cpu || n.Held.MemoryBytes != r.memory || n.Held.DiskBytes != r.disk || n.Held.Slots != r.slots {
			t.Fatalf("node %s says it holds %+v, its holds are %+v", n.ID, n.Held, r)
		}
		for i, g := range c.GPUs {
			if got := r.gpu[g.ID]; got > rota.WholeGPU || got != rota.WholeGPU-n.Held.FreeMilli(i) {
				t.Fatalf("device %s of node %s: %d held, the node says %d free", g.ID, n.ID, got, n.Held.FreeMilli(i))
			}
		}
	}
}

func checkTask(t tester, s *State, sn *Snapshot, task *rota.Task) {
	t.Helper()
	same, ok := sn.Task(task.ID)
	if !ok || same != task {
		t.Fatalf("task %s is not found by its key", task.ID)
	}
	open := 0
	for _, e := range task.DependsOn {
		on, ok := sn.Task(rota.TaskID{Run: task.ID.Run, Key: e.On})
		if !ok {
			t.Fatalf("task %s depends on %s, which is not there", task.ID, e.On)
		}
		if !on.Status.Terminal() {
			open++
		}
		started := task.Attempt > 0 || task.Status == rota.StatusQueued
		if started && (!on.Status.Terminal() || !satisfied(e.Kind, s.taskByID(on.ID))) {
			t.Fatalf("task %s is %s although %s is %s", task.ID, task.Status, on.ID, on.Status)
		}
	}
	placed := task.Status == rota.StatusAssigned || task.Status == rota.StatusRunning
	rec := s.taskByID(task.ID)
	switch {
	case task.Status == rota.StatusCreated && task.OpenDeps != open:
		t.Fatalf("task %s waits for %d dependencies, says %d", task.ID, open, task.OpenDeps)
	case placed != (task.Placement != nil):
		t.Fatalf("task %s is %s, placement %v", task.ID, task.Status, task.Placement)
	case placed && s.holdAt(holdKey{node: task.Placement.Node, task: task.ID, fence: task.Placement.Fence}) == nil:
		t.Fatalf("task %s is placed and holds no room", task.ID)
	case task.Status == rota.StatusQueued && rec.held:
		t.Fatalf("task %s is queued while an attempt of it may live", task.ID)
	case task.Status == rota.StatusFailed || task.Status == rota.StatusCompleted || task.Status == rota.StatusValidated:
		t.Fatalf("task %s rests in status %s", task.ID, task.Status)
	case task.Status == rota.StatusRetrying && !rec.held && task.DueAt == 0:
		t.Fatalf("task %s waits for a retry that never comes", task.ID)
	case task.AttemptsUsed < 0 || task.Losses < 0:
		t.Fatalf("task %s: attempts used %d, losses %d", task.ID, task.AttemptsUsed, task.Losses)
	}
	if _, ok := s.queued.Get(taskItem{taskPos: rec.pos()}); ok != (task.Status == rota.StatusQueued) {
		t.Fatalf("task %s is %s, in the queue: %t", task.ID, task.Status, ok)
	}
}
