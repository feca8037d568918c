package sim

import (
	"bytes"
	"fmt"
	"hash/fnv"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// checker holds the world to Rota's promises, at every step.
type checker struct {
	w *World

	entries map[uint64]appliedEntry // by index: what was applied there first
	newest  uint64
	now     *fsm.Snapshot // as of then

	acked     map[rota.RunID]rota.SubmitRun
	order     []rota.RunID
	ended     map[rota.TaskID]rota.Status
	deliver   map[rota.TaskID]int
	sessions  map[rota.NodeID]rota.Session
	renewedAt map[rota.NodeID]moment  // when a renewal was first applied anywhere
	current   map[rota.Session]uint64 // the newest entry a leader said the session was current at

	started map[attemptRef]int
	exits   map[attemptRef]int // exit codes of the main processes that ended
	alive   []*process

	counts
}

// counts is what happened in a history.
type counts struct {
	starts   int // of processes
	signals  int // sent to processes
	expired  int // sessions ended by a leader
	faults   int
	installs int // of snapshots on followers
	unsynced int // entries of the log that a disk lost
	voters   int // changes of them that a leader committed
	calls    int // of clients
}

type appliedEntry struct {
	data   uint64
	digest fsm.Digest
}

func newChecker(w *World) *checker {
	return &checker{
		w: w, entries: map[uint64]appliedEntry{}, acked: map[rota.RunID]rota.SubmitRun{}, current: map[rota.Session]uint64{}, sessions: map[rota.NodeID]rota.Session{}, renewedAt: map[rota.NodeID]moment{},
		ended: map[rota.TaskID]rota.Status{}, deliver: map[rota.TaskID]int{}, started: map[attemptRef]int{}, exits: map[attemptRef]int{},
	}
}

// applied: every server applies the same entry at an index and comes to the same
// state; the first of them shows what the entry did.
func (c *checker) applied(r *replica, e *rota.Entry, data []byte, results []rota.Result, changes []rota.Change) {
	h := fnv.New64a()
	_, _ = h.Write(data)
	now := appliedEntry{data: h.Sum64(), digest: r.state.Digest()}
	if first, ok := c.entries[e.Index]; ok {
		if first != now {
			c.w.broken(same, "%s applied entry %d and came to another state than the first that did", r.m.name, e.Index)
		}
		return
	}
	if e.Index <= c.newest {
		c.w.broken(same, "%s applied entry %d, which nobody had applied, after entry %d", r.m.name, e.Index, c.newest)
		return
	}
	c.entries[e.Index] = now
	c.results(e, results)
	c.newest, c.now = e.Index, r.state.Snapshot()
	c.w.note(fmt.Sprint(e.Index, now.digest))
	for i := range changes {
		c.change(&changes[i])
	}
	for _, id := range c.order {
		c.there(id)
	}
}

// restored: a snapshot brings back the very state.
func (c *checker) restored(r *replica) {
	if first, ok := c.entries[r.state.Index()]; ok && first.digest != r.state.Digest() {
		c.w.broken(same, "%s restored another state at entry %d", r.m.name, r.state.Index())
	}
}

// saved: a snapshot is of the moment it was taken at, whatever came later. One in
// four is read back at once.
func (c *checker) saved(r *replica, s *snapshot, digest fsm.Digest) {
	if s.index%4 != 0 {
		return
	}
	state, err := fsm.Restore(bytes.NewReader(s.data))
	switch {
	case err != nil:
		c.w.broken(same, "the snapshot that %s wrote of entry %d cannot be read: %v", r.m.name, s.index, err)
	case state.Digest() != digest:
		c.w.broken(same, "the snapshot that %s wrote of entry %d is not of that moment", r.m.name, s.index)
	}
}

// results looks at what an entry did to sessions: a decision to end one that a
// renewal overtook counts for nothing, once that renewal was answered.
func (c *checker) results(e *rota.Entry, results []rota.Result) {
	for i := range e.Commands {
		op, ok := e.Commands[i].Op.(rota.ExpireSession)
		if !ok || results[i].Kind != rota.KindNone {
			continue
		}
		c.w.tell("session %s is over (released %v, left %v)", op.Session, op.Released, op.Left)
		if !op.Released {
			c.expired++
			if at := c.current[op.Session]; op.Seen < at {
				c.w.broken(kept, "session %s was told that entry %d renewed it, and a decision as of entry %d ended it", op.Session, at, op.Seen)
			}
		}
	}
}

// renewed notes what a leader answers to a node that asked for its lease.
func (c *checker) renewed(s rota.Session, r rota.Renewal) {
	if r.Current {
		c.current[s] = max(c.current[s], r.Index)
	}
}

func (c *checker) change(ch *rota.Change) {
	if t := ch.Task; t != nil && ch.Type != rota.ChangeTaskLate {
		c.task(ch, t)
	}
	for _, s := range ch.Renewed {
		c.renewedAt[s.Node] = c.w.now
	}
	if n := ch.Node; n != nil {
		switch ch.Type { //nolint:exhaustive // the two of interest
		case rota.ChangeRoom:
			c.room(n)
		case rota.ChangeNode:
			c.node(n)
		}
	}
}

// task: one outcome, never taken back, and that of the newest attempt.
func (c *checker) task(ch *rota.Change, t *rota.Task) {
	if was, over := c.ended[t.ID]; over && t.Status != was {
		c.w.broken(once, "task %s was %s and is %s", t.ID, was, t.Status)
	}
	if t.Status.Terminal() {
		c.ended[t.ID] = t.Status
	}
	switch ch.Type {
	case rota.TaskChange(rota.StatusDelivered):
		if c.deliver[t.ID]++; c.deliver[t.ID] > 1 {
			c.w.broken(once, "task %s was delivered twice", t.ID)
		}
		c.really(t, ch.Attempt)
	case rota.TaskChange(rota.StatusQueued), rota.TaskChange(rota.StatusAssigned):
		c.inOrder(t, t.Status.String())
	default:
	}
}

// really: what is delivered is what the very attempt did.
func (c *checker) really(t *rota.Task, attempt uint64) {
	if t.Spec.Driver != rota.DriverExec {
		return
	}
	ref := attemptRef{Task: t.ID, Fence: rota.NewFence(c.now.Incarnation(), attempt)}
	if code, ended := c.exits[ref]; !ended || code != 0 {
		c.w.broken(once, "attempt %d of task %s is said to have ended well, which it has not (ended %v, exit code %d)", attempt, t.ID, ended, code)
	}
}

// inOrder: what a task depends on is over, and as its edges want it.
func (c *checker) inOrder(t *rota.Task, is string) {
	for _, e := range t.DependsOn {
		on, ok := c.now.Task(rota.TaskID{Run: t.ID.Run, Key: e.On})
		well := ok && on.Status.Terminal()
		switch e.Kind {
		case rota.EdgeDelivered:
			well = well && (on.Status == rota.StatusDelivered || on.Spec.AllowFailure)
		case rota.EdgeFailure:
			well = well && (on.Status == rota.StatusDeadLettered || on.Status == rota.StatusCancelled)
		case rota.EdgeAny:
		}
		if !well {
			c.w.broken(order, "task %s is %s before what it depends on: %s is %s", t.ID, is, e.On, on.Status)
		}
	}
}

// node: a session may end only when nothing of it is alive.
func (c *checker) node(n *rota.Node) {
	was := c.sessions[n.ID]
	if was == n.Session {
		return
	}
	c.sessions[n.ID] = n.Session
	if !n.Session.IsZero() {
		c.w.tell("%s registers as session %s", n.Name, n.Session)
	}
	if !was.IsZero() {
		c.nothingAlive(n.ID, n.Session, "its end was committed")
	}
}

// room: what is held on a node is the sum of its holds, and fits.
func (c *checker) room(n *rota.Node) {
	var sum rota.Held
	for h := range c.now.Holds(n.ID) {
		sum = sum.Add(&n.Capacity, *h)
	}
	k, h := &n.Capacity, &n.Held
	if sum.CPUMilli != h.CPUMilli || sum.MemoryBytes != h.MemoryBytes || sum.Slots != h.Slots {
		c.w.broken(fits, "node %s: its holds add up to %+v, its record says %+v", n.Name, sum, *h)
	}
	over := sum.CPUMilli > k.CPUMilli || sum.MemoryBytes > k.MemoryBytes || sum.Slots > k.Slots
	for i := range k.GPUs {
		over = over || sum.FreeMilli(i) < 0
	}
	if over {
		c.w.broken(fits, "node %s is over its room: %+v of %+v", n.Name, sum, *k)
	}
}

// acknowledged notes a run that somebody was promised.
func (c *checker) acknowledged(op rota.SubmitRun, res rota.Result) {
	if res.Run != op.Run {
		c.w.broken(once, "submission of run %s was acknowledged as run %s", op.Run, res.Run)
	}
	c.acked[op.Run] = op
	c.order = append(c.order, op.Run)
	c.there(op.Run)
}

// there: what was acknowledged is in the newest state.
func (c *checker) there(id rota.RunID) {
	r, ok := c.now.Run(id)
	switch {
	case !ok:
		c.w.broken(kept, "run %s was acknowledged and is lost", id)
	case r.Total != c.acked[id].Total:
		c.w.broken(kept, "run %s was acknowledged with %d tasks and has %d", id, c.acked[id].Total, r.Total)
	}
}

// reported: an outcome whose report was answered is in the state.
func (c *checker) reported(r *rota.Report, answers []rota.Kind) {
	for i, k := range answers {
		it := &r.Items[i]
		t, ok := c.now.Task(it.Task)
		if k != rota.KindNone || it.Outcome == nil || !ok {
			continue
		}
		for j := range t.Attempts {
			if a := &t.Attempts[j]; a.Fence == it.Fence && a.FinishedAt == 0 {
				c.w.broken(kept, "the outcome of attempt %d of task %s was acknowledged and is lost", a.Number, t.ID)
			}
		}
	}
}
