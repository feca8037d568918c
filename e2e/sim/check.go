package sim

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// checker holds the world to Rota's promises, at every step.
type checker struct {
	w *World

	entries map[uint64]appliedEntry // by index: what was applied there first
	newest  uint64
	now     *fsm.Snapshot // as of then

	acked   map[rota.RunID]rota.SubmitRun
	order   []rota.RunID
	ended   map[rota.TaskID]rota.Status
	deliver map[rota.TaskID]int

	started map[attemptRef]int
	alive   []*process
	starts  int
	signals int // sent to processes
	expired int // sessions ended by a leader
	faults  int
}

type appliedEntry struct {
	data   uint64
	digest fsm.Digest
}

func newChecker(w *World) *checker {
	return &checker{
		w: w, entries: map[uint64]appliedEntry{}, acked: map[rota.RunID]rota.SubmitRun{},
		ended: map[rota.TaskID]rota.Status{}, deliver: map[rota.TaskID]int{}, started: map[attemptRef]int{},
	}
}

// applied: every server applies the same entry at an index and comes to the same
// state; the first of them shows what the entry did.
func (c *checker) applied(r *replica, e *rota.Entry, data []byte, changes []rota.Change) {
	h := fnv.New64a()
	_, _ = h.Write(data)
	now := appliedEntry{data: h.Sum64(), digest: r.state.Digest()}
	if first, ok := c.entries[e.Index]; ok {
		if first != now {
			c.w.broken("%s applied entry %d and came to another state than the first that did", r.m.name, e.Index)
		}
		return
	}
	if e.Index <= c.newest {
		c.w.broken("%s applied entry %d, which nobody had applied, after entry %d", r.m.name, e.Index, c.newest)
		return
	}
	c.entries[e.Index] = now
	c.newest, c.now = e.Index, r.state.Snapshot()
	c.w.note(fmt.Sprint(e.Index, now.digest))
	for i := range e.Commands {
		c.command(e.Commands[i].Op)
	}
	for i := range changes {
		c.change(&changes[i])
	}
}

// restored: a snapshot brings back the very state.
func (c *checker) restored(r *replica) {
	if first, ok := c.entries[r.state.Index()]; ok && first.digest != r.state.Digest() {
		c.w.broken("%s restored another state at entry %d", r.m.name, r.state.Index())
	}
}

// command looks at what an entry wanted: a session may end only when nothing of
// it is alive.
func (c *checker) command(op rota.Op) {
	switch op := op.(type) { //nolint:gochecksumtype // the two that end sessions
	case rota.ExpireSession:
		if n, ok := c.now.Node(op.Session.Node); ok && n.Session != op.Session {
			c.w.tell("session %s is over (released %v, left %v)", op.Session, op.Released, op.Left)
			c.nothingAlive(op.Session.Node, n.Session, "its end was committed")
			if !op.Released {
				c.expired++
			}
		}
	case rota.RegisterNode:
		if n, ok := c.now.Node(op.Info.ID); ok && !n.Session.IsZero() {
			c.w.tell("%s registers as session %s", n.Name, n.Session)
			c.nothingAlive(n.ID, n.Session, "another one was registered")
		}
	}
}

// nothingAlive: of the node's sessions but one, no process lives.
func (c *checker) nothingAlive(node rota.NodeID, but rota.Session, when string) {
	for _, x := range c.alive {
		if x.m.id == node && x.session != but {
			c.w.broken("%s of session %s is alive on %s although %s", x.ref, x.session, x.m.name, when)
		}
	}
}

func (c *checker) change(ch *rota.Change) {
	if t := ch.Task; t != nil && ch.Type != rota.ChangeTaskLate {
		if was, over := c.ended[t.ID]; over && t.Status != was {
			c.w.broken("task %s was %s and is %s", t.ID, was, t.Status)
		}
		if t.Status.Terminal() {
			c.ended[t.ID] = t.Status
		}
		if ch.Type == rota.TaskChange(rota.StatusDelivered) {
			if c.deliver[t.ID]++; c.deliver[t.ID] > 1 {
				c.w.broken("task %s was delivered twice", t.ID)
			}
		}
	}
	if n := ch.Node; n != nil && ch.Type == rota.ChangeRoom {
		c.room(n)
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
		c.w.broken("node %s: its holds add up to %+v, its record says %+v", n.Name, sum, *h)
	}
	over := sum.CPUMilli > k.CPUMilli || sum.MemoryBytes > k.MemoryBytes || sum.Slots > k.Slots
	for i := range k.GPUs {
		over = over || sum.FreeMilli(i) < 0
	}
	if over {
		c.w.broken("node %s is over its room: %+v of %+v", n.Name, sum, *k)
	}
}

// began: no fence is started twice, no task runs twice at once, no machine is
// over its room.
func (c *checker) began(x *process) {
	c.starts++
	ref := attemptRef(x.ref)
	if c.started[ref]++; c.started[ref] > 1 {
		c.w.broken("%s was started twice", x.ref)
	}
	cpu := x.cpu
	for _, o := range c.alive {
		if o.ref.Task == x.ref.Task {
			c.w.broken("task %s runs twice at once: attempt %d on %s and attempt %d on %s", x.ref.Task, o.ref.Fence.Attempt(), o.m.name, x.ref.Fence.Attempt(), x.m.name)
		}
		if o.m == x.m {
			cpu += o.cpu
		}
	}
	if have := x.m.info().Capacity.CPUMilli; cpu > have {
		c.w.broken("%s runs %d thousandths of a core, it has %d", x.m.name, cpu, have)
	}
	c.alive = append(c.alive, x)
	c.w.tell("%s: %s attempt %d starts", x.m.name, x.ref.Task, x.ref.Fence.Attempt())
}

// gone hears that a process has ended.
func (c *checker) gone(x *process) {
	c.alive = slices.DeleteFunc(c.alive, func(o *process) bool { return o == x })
	c.w.tell("%s: %s attempt %d is gone", x.m.name, x.ref.Task, x.ref.Fence.Attempt())
}

// acknowledged notes a run that somebody was promised.
func (c *checker) acknowledged(op rota.SubmitRun, res rota.Result) {
	if res.Run != op.Run {
		c.w.broken("submission of run %s was acknowledged as run %s", op.Run, res.Run)
	}
	c.acked[op.Run] = op
	c.order = append(c.order, op.Run)
}

func (c *checker) tasks() int {
	n := 0
	for _, id := range c.order {
		n += c.acked[id].Total
	}
	return n
}

// waiting lists tasks that wait for people.
func (c *checker) waiting() []rota.TaskID {
	var ids []rota.TaskID
	if c.now == nil {
		return nil
	}
	sn := c.now
	for _, id := range c.order {
		for t := range sn.Tasks(id) {
			if t.Status == rota.StatusWaiting {
				ids = append(ids, t.ID)
			}
		}
	}
	return ids
}

// unfinished says what of all that was promised has not come to its end, or is
// still alive or held; empty: nothing.
func (c *checker) unfinished() string {
	if c.now == nil {
		return "nothing was ever applied"
	}
	for _, x := range c.alive {
		return fmt.Sprintf("%s is alive on %s", x.ref, x.m.name)
	}
	sn := c.now
	for h := range sn.AllHolds() {
		return fmt.Sprintf("%s of %s is held by session %s", h.Fence, h.Task, h.Session)
	}
	for _, id := range c.order {
		r, ok := sn.Run(id)
		if !ok {
			return fmt.Sprintf("run %s was acknowledged and is lost", id)
		}
		for t := range sn.Tasks(id) {
			if !t.Status.Terminal() {
				return fmt.Sprintf("task %s is %s (%s)", t.ID, t.Status, t.Why.Text)
			}
		}
		if !r.Status.Terminal() || r.Total != c.acked[id].Total {
			return fmt.Sprintf("run %s is %s with %d of %d tasks", id, r.Status, r.Total, c.acked[id].Total)
		}
	}
	return ""
}

// atTheEnd: nothing acknowledged is lost, and everything has ended.
func (c *checker) atTheEnd() {
	if what := c.w.restless(); what != "" {
		c.w.broken("long after all faults %s", what)
	}
}
