package sim

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// callTimeout bounds a call of a node.
const callTimeout = 3 * time.Second

// agentSide is one life of a machine's agent: its core with what the shell and
// the drivers do around it.
type agentSide struct {
	w     *World
	m     *machine
	p     *program
	core  *agent.Core
	alarm alarm
	conn  *conn

	running map[agent.Ref]*followed
	order   []agent.Ref // of running, as they came
	streams map[uint64]*stream
	lease   *agent.Lease // offered, not yet sent
	leasing bool
	leaving bool
	ended   func() // a planned stop is done
	spins   int
}

// followed is an attempt that a driver follows in the keeper.
type followed struct {
	ref      agent.Ref
	handled  bool // its start is known
	unreaped bool
}

var errGone = errors.New("the keeper is gone")

func (m *machine) startAgent(p *program) *agentSide {
	a := &agentSide{w: m.w, m: m, p: p, alarm: alarm{p: p}, running: map[agent.Ref]*followed{}, streams: map[uint64]*stream{}}
	cfg := agent.DefaultCoreConfig()
	cfg.Times = m.w.times
	cfg.Node = rota.RegisterNode{Info: m.info(), Boot: m.boot()}
	a.core = agent.NewCore(cfg)
	m.agent = a
	a.step(agent.Tick{})
	return a
}

func (a *agentSide) now() agent.BootTime { return agent.BootTime(a.m.bootClock()) }

func (a *agentSide) step(ev agent.Event) {
	if a.p.dead {
		return
	}
	for _, act := range slices.Clone(a.core.Step(ev, a.now())) {
		a.carry(act)
	}
	wake := a.core.Wake()
	if a.spins++; wake == 0 || wake > a.now() {
		a.spins = 0
	}
	if a.spins > 1000 {
		a.w.broken("%s: the agent's core wants to be woken at once, again and again", a.m.name)
	}
	a.alarm.arm(time.Duration(wake), wake != 0, func() { a.step(agent.Tick{}) })
}

func (a *agentSide) carry(act agent.Action) {
	switch act := act.(type) {
	case agent.Greet:
		a.p.later(a.w.between(time.Millisecond, 20*time.Millisecond), a.greet)
	case agent.Register:
		a.w.command(a.p, rota.Command{Op: act.Node}, callTimeout, func(res rota.Result, err error) {
			a.step(agent.Registered{Sent: act.Sent, Session: res.Session, Err: err})
		})
	case agent.Renew:
		a.w.renew(a.p, act.Session, a.core.RenewTimeout(), func(r rota.Renewal, err error) {
			a.step(agent.Renewed{Session: act.Session, Sent: act.Sent, Renewal: r, Err: err})
		})
	case agent.Extend:
		a.lease = &act.Lease
		a.sendLease()
	case agent.Poll:
		a.poll(act)
	case agent.OpenStream:
		a.openStream(act)
	case agent.CloseStream:
		if s := a.streams[act.Stream]; s != nil {
			delete(a.streams, act.Stream)
			s.leave()
		}
	case agent.StartTask:
		a.startTask(act)
	case agent.AdoptTask:
		a.adopt(act.Task)
	case agent.StopTask:
		a.stop(act)
	case agent.SendReport:
		a.w.command(a.p, rota.Command{Op: act.Report}, callTimeout, func(res rota.Result, err error) {
			a.step(agent.Reported{Batch: act.Batch, Answers: res.Items, Err: err})
		})
	case agent.Ack:
		refs := make([]keeper.Ref, len(act.Refs))
		for i, r := range act.Refs {
			refs[i] = keeper.Ref(r)
		}
		a.tellKeeper(func(t uint64) keeper.Event { return keeper.AckAsked{Token: t, Refs: refs} }, func(keeper.Reply) {})
	case agent.Release:
		a.release(act)
	case agent.AnnounceLeave:
		a.leaving = true
		if c := a.conn; c != nil {
			a.tellKeeper(func(t uint64) keeper.Event { return keeper.PlannedStop{Token: t, Conn: c.number} }, func(keeper.Reply) {})
		}
	case agent.KillKeeper:
		if k := a.m.keeper; k != nil && a.conn != nil && a.conn.k == k {
			k.end()
		}
	case agent.Say:
		if act.Warn {
			a.w.tell("%s: agent: %s %v", a.m.name, act.Text, act.Pairs)
		}
	case agent.Done:
		a.p.later(0, a.ended)
	}
}

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

// poll asks all servers for their last contact and takes what they answer in time.
func (a *agentSide) poll(act agent.Poll) {
	var contacts []rota.Contact
	ended := false
	end := func() {
		if !ended {
			ended = true
			a.step(agent.Polled{Sent: act.Sent, Contacts: contacts})
		}
	}
	for _, s := range a.w.servers {
		a.w.net.send(a.m, s, func() *program { return s.node }, func() {
			if s.node.replica == nil {
				return
			}
			c := s.node.replica.contactNow()
			a.w.net.send(s, a.m, func() *program { return a.p }, func() {
				if !ended {
					contacts = append(contacts, c)
				}
				if len(contacts) == len(a.w.servers) {
					end()
				}
			})
		})
	}
	a.p.later(a.w.times.Poll*3/4, end)
}

func (a *agentSide) openStream(act agent.OpenStream) {
	for n, s := range a.streams { // at most one
		delete(a.streams, n)
		s.leave()
	}
	a.streams[act.Stream] = a.w.attach(a.p, act.Session,
		func(v *rota.View) { a.step(agent.Viewed{Stream: act.Stream, View: v}) },
		func(err error) {
			delete(a.streams, act.Stream)
			a.step(agent.StreamEnded{Stream: act.Stream, Err: err})
		})
}

func (a *agentSide) startTask(act agent.StartTask) {
	ref := agent.Ref{Task: act.Assignment.Task, Fence: act.Assignment.Fence}
	d := a.w.between(100*time.Microsecond, 5*time.Millisecond)
	if !a.w.cfg.Calm && a.w.chance(5) {
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
