package sim

import (
	"fmt"
	"slices"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// What the checker sees of processes, and at the end.

// nothingAlive: of the node's sessions but one, no process lives.
func (c *checker) nothingAlive(node rota.NodeID, but rota.Session, when string) {
	for _, x := range c.alive {
		if x.m.id == node && x.session != but {
			c.w.broken(alone, "%s of session %s is alive on %s although %s", x.ref, x.session, x.m.name, when)
		}
	}
}

// began: no fence is started twice, no task runs twice at once or before its
// time, no machine is over its room.
func (c *checker) began(x *process) {
	c.starts++
	ref := attemptRef(x.ref)
	if c.started[ref]++; c.started[ref] > 1 {
		c.w.broken(alone, "%s was started twice", x.ref)
	}
	cpu := x.cpu
	for _, o := range c.alive {
		if o.ref.Task == x.ref.Task {
			c.w.broken(alone, "task %s runs twice at once: attempt %d on %s and attempt %d on %s", x.ref.Task, o.ref.Fence.Attempt(), o.m.name, x.ref.Fence.Attempt(), x.m.name)
		}
		if o.m == x.m {
			cpu += o.cpu
		}
	}
	if have := x.m.info().Capacity.CPUMilli; cpu > have {
		c.w.broken(fits, "%s runs %d thousandths of a core, it has %d", x.m.name, cpu, have)
	}
	if t, ok := c.now.Task(x.ref.Task); ok {
		c.inOrder(t, "started")
	}
	c.alive = append(c.alive, x)
	c.w.tell("%s: %s attempt %d starts", x.m.name, x.ref.Task, x.ref.Fence.Attempt())
}

// exited hears how a main process ended.
func (c *checker) exited(x *process, e keeper.Exit) { c.exits[attemptRef(x.ref)] = e.Code }

// gone hears that a process has ended.
func (c *checker) gone(x *process) {
	c.alive = slices.DeleteFunc(c.alive, func(o *process) bool { return o == x })
	c.w.tell("%s: %s attempt %d is gone", x.m.name, x.ref.Task, x.ref.Fence.Attempt())
}

// gaveUp: an agent does not end a session on its keeper's word while the keeper
// serves it.
func (c *checker) gaveUp(a *agentSide, had rota.Session, ev agent.Event) {
	said, ok := ev.(agent.KeeperSaid)
	if !ok || said.Event.Kind != agent.KeeperOver || had.IsZero() || !a.core.Session().IsZero() {
		return
	}
	k := a.m.keeper
	if k == nil || k.p.dead {
		return
	}
	if s := k.core.Snapshot(); s.Session == had && s.Phase == keeper.PhaseServing {
		c.w.broken(alone, "%s gives up session %s at its keeper's word, and the keeper serves it", a.m.name, had)
	}
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
	for r := range c.now.Runs() {
		if r.Status.Terminal() {
			continue
		}
		for t := range c.now.Tasks(r.ID) {
			if t.Status == rota.StatusWaiting {
				ids = append(ids, t.ID)
			}
		}
	}
	return ids
}

// unfinished says what has not come to its end, or is still alive or held; empty:
// nothing.
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
	for r := range sn.Runs() {
		for t := range sn.Tasks(r.ID) {
			if !t.Status.Terminal() {
				return fmt.Sprintf("task %s is %s (%s)", t.ID, t.Status, t.Why.Text)
			}
		}
		if !r.Status.Terminal() {
			return fmt.Sprintf("run %s is %s", r.ID, r.Status)
		}
	}
	return ""
}

// atTheEnd: everything has ended, and clients saw one order of events.
func (c *checker) atTheEnd() {
	if what := c.w.restless(); what != "" {
		c.w.broken(ends, "long after all faults %s", what)
		return
	}
	if what := c.w.clients.judge(); what != "" {
		c.w.broken(linear, "%s", what)
	}
}
