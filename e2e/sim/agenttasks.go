package sim

import (
	"syscall"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// What the agent does with attempts: the drivers' part.

func (a *agentSide) startTask(act agent.StartTask) {
	ref := agent.Ref{Task: act.Assignment.Task, Fence: act.Assignment.Fence}
	d := a.w.between(100*time.Microsecond, 5*time.Millisecond)
	if !a.w.cfg.Calm && a.w.chance(10) {
		d = a.w.between(0, 2*time.Second)
	}
	a.p.later(d, func() {
		if a.now() >= act.Before {
			a.step(agent.NotStarted{Ref: ref})
			return
		}
		if act.Assignment.Spec.Driver == rota.DriverNoop {
			a.step(agent.Ended{Ref: ref, Began: true})
			return
		}
		a.spawn(ref, agent.Task{Assignment: act.Assignment, Node: a.m.id, NodeName: a.m.name, StartedAt: a.now()})
	})
}

// spawn is the driver's dealing with the keeper.
func (a *agentSide) spawn(ref agent.Ref, t agent.Task) {
	a.m.records[ref] = t
	sent := a.tellKeeper(func(token uint64) keeper.Event {
		return keeper.SpawnAsked{Token: token, Ref: keeper.Ref(ref)}
	}, func(r keeper.Reply) {
		f := a.running[ref]
		switch {
		case f == nil:
		case r.Kind == rota.KindNone:
			f.handled = true
			a.step(agent.Started{Ref: ref})
		case r.Kind == rota.KindStale || r.Kind == rota.KindUnavailable:
			delete(a.running, ref)
			a.step(agent.NotStarted{Ref: ref})
		default:
			delete(a.running, ref)
			cause := rota.CauseInternal
			if r.Refused {
				cause = rota.CauseRefused
			}
			a.step(agent.Ended{Ref: ref, Outcome: rota.Outcome{Cause: cause, Message: r.Detail}})
		}
	})
	if !sent {
		a.step(agent.NotStarted{Ref: ref})
		return
	}
	a.follow(ref)
}

func (a *agentSide) follow(ref agent.Ref) *followed {
	f := &followed{ref: ref}
	a.running[ref] = f
	a.order = append(a.order, ref)
	return f
}

// adopt follows an attempt that the keeper holds.
func (a *agentSide) adopt(t agent.Task) {
	ref := t.Ref()
	c := a.conn
	if c == nil || c.closed {
		a.p.later(0, func() { a.step(agent.Lost{Ref: ref}) })
		return
	}
	f := a.follow(ref)
	c.ask(func(k *keeperSide) {
		at, known := k.core.Attempt(keeper.Ref(ref))
		c.say(func(*agentSide) {
			switch {
			case a.running[ref] != f:
			case !known:
				delete(a.running, ref)
				a.step(agent.Lost{Ref: ref})
			default:
				f.handled = true
				a.step(agent.Started{Ref: ref})
				if at.State == keeper.StateExited {
					a.pushed(at)
				}
			}
		})
	})
}

// pushed is the keeper's word on how an attempt stands.
func (a *agentSide) pushed(at keeper.Attempt) {
	ref := agent.Ref(at.Ref)
	f := a.running[ref]
	switch {
	case f == nil || !f.handled:
	case at.State != keeper.StateExited && at.Unreaped && !f.unreaped:
		f.unreaped = true
		a.step(agent.Ended{Ref: ref, Began: true, Outcome: outcomeOf(&at, keeper.BootTime(a.now())), Unreaped: true})
	case at.State != keeper.StateExited:
	case f.unreaped:
		delete(a.running, ref)
		a.step(agent.Reaped{Ref: ref})
	default:
		delete(a.running, ref)
		a.step(agent.Ended{Ref: ref, Began: true, Outcome: outcomeOf(&at, keeper.BootTime(a.now()))})
	}
}

func (a *agentSide) stop(act agent.StopTask) {
	if f := a.running[act.Ref]; f == nil || !f.handled {
		return
	}
	a.tellKeeper(func(t uint64) keeper.Event {
		return keeper.StopAsked{Token: t, Ref: keeper.Ref(act.Ref), Signal: syscall.SIGTERM, Grace: act.How.Grace, Reason: act.Cause.String()}
	}, func(keeper.Reply) {})
}

func (a *agentSide) release(act agent.Release) {
	expire := func() {
		cmd := rota.Command{Op: rota.ExpireSession{Session: act.Session, Released: true, Left: act.Left}}
		a.w.command(a.p, cmd, callTimeout, func(_ rota.Result, err error) { a.step(agent.Released{Err: err}) })
	}
	if len(act.Items) == 0 {
		expire()
		return
	}
	report := rota.Command{Op: rota.Report{Session: act.Session, Items: act.Items}}
	a.w.command(a.p, report, callTimeout, func(_ rota.Result, err error) {
		if err != nil && rota.KindOf(err) != rota.KindStale {
			a.step(agent.Released{Err: err})
			return
		}
		expire()
	})
}
