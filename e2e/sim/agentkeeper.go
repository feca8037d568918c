package sim

import (
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// What the agent and its keeper say to each other.

// greet connects to the machine's keeper, starting one where none lives.
func (a *agentSide) greet() {
	k := a.m.keeper
	if k == nil || k.p.dead {
		a.p.later(a.w.between(5*time.Millisecond, 40*time.Millisecond), func() {
			if k = a.m.keeper; k == nil || k.p.dead {
				k = a.m.startKeeper()
			}
			a.hello(k)
		})
		return
	}
	a.hello(k)
}

func (a *agentSide) hello(k *keeperSide) {
	if a.conn == nil || a.conn.closed || a.conn.k != k {
		k.conns++
		a.conn = &conn{number: k.conns, a: a, k: k}
	}
	c := a.conn
	answered := false
	c.ask(func(k *keeperSide) {
		if k.conn != c {
			k.step(keeper.AgentBack{Conn: c.number})
			k.conn = c
		}
		sn := k.core.Snapshot()
		c.say(func(a *agentSide) {
			answered = true
			a.greeted(k, sn)
		})
	})
	a.p.later(callTimeout, func() {
		if !answered {
			a.step(agent.Greeted{Err: errGone})
		}
	})
}

// greeted is the node's reading of what a keeper holds.
func (a *agentSide) greeted(k *keeperSide, sn keeper.Snapshot) {
	kept := agent.Kept{
		ID: k.id, Boot: a.m.boot(), Containment: "pidns", Over: sn.Phase == keeper.PhaseEnding || sn.Phase == keeper.PhaseReleasing,
		Lease: agent.Lease{Session: sn.Session, Deadline: agent.BootTime(sn.Deadline), Incarnation: sn.Newest.Incarnation, Index: sn.Newest.Index},
	}
	var tasks []agent.Task
	for i := range sn.Attempts {
		at := &sn.Attempts[i]
		kept.Attempts = append(kept.Attempts, agent.KeptAttempt{Ref: agent.Ref(at.Ref), Running: at.Running()})
		tasks = append(tasks, a.m.records[agent.Ref(at.Ref)])
	}
	a.step(agent.Greeted{Kept: kept, Tasks: tasks})
}

// disconnected: the keeper died, or another agent took over.
func (a *agentSide) disconnected(c *conn) {
	if !a.leaving {
		a.step(agent.KeeperSaid{Event: agent.KeeperEvent{Keeper: c.k.id, Kind: agent.KeeperGone}})
	}
	order := a.order
	a.order = nil
	for _, ref := range order {
		if f := a.running[ref]; f != nil {
			delete(a.running, ref)
			if !f.handled {
				a.step(agent.Started{Ref: ref}) // whether it was is not known
			}
			a.step(agent.Lost{Ref: ref})
		}
	}
}

// tellKeeper sends a request; answered runs in the agent, not at all if the
// connection breaks.
func (a *agentSide) tellKeeper(event func(uint64) keeper.Event, answered func(keeper.Reply)) bool {
	c := a.conn
	if c == nil || c.closed {
		return false
	}
	c.ask(func(k *keeperSide) {
		k.request(event, func(r keeper.Reply) { c.say(func(*agentSide) { answered(r) }) })
	})
	return true
}

// sendLease tells the keeper the newest lease, one after the other.
func (a *agentSide) sendLease() {
	if a.leasing || a.lease == nil {
		return
	}
	l := *a.lease
	a.lease, a.leasing = nil, true
	ended := false
	end := func(err error) {
		if !ended {
			ended, a.leasing = true, false
			a.step(agent.Extended{Lease: l, Err: err})
			a.sendLease()
		}
	}
	c := a.conn
	sent := a.tellKeeper(func(t uint64) keeper.Event {
		c.k.step(keeper.NoteView{View: keeper.ViewMark{Incarnation: l.Incarnation, Index: l.Index}})
		return keeper.Begin{Token: t, Session: l.Session, Deadline: keeper.BootTime(l.Deadline)}
	}, func(r keeper.Reply) { end(errorOf(r)) })
	limit := a.w.times.Renew
	if !sent {
		limit = 0
	}
	a.p.later(limit, func() { end(errGone) })
}

func errorOf(r keeper.Reply) error {
	if r.Kind == rota.KindNone {
		return nil
	}
	return &rota.Refusal{Kind: r.Kind, Detail: r.Detail}
}
