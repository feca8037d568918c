package sim

import (
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// keeperSide is one life of a machine's keeper: its core with what the shell does
// around it. It is init of a PID namespace: its death is its processes' death.
type keeperSide struct {
	m     *machine
	p     *program
	id    string
	core  *keeper.Core
	alarm alarm
	procs map[keeper.Ref]*process
	order []*process
	conn  *conn // the agent's
	conns uint64

	tokens map[uint64]func(keeper.Reply)
	token  uint64
	todo   []keeper.Event
	busy   bool
	pid    int
	tries  int // releases; a cancelled one is not listened to
}

// conn is the agent's connection to its keeper. Each direction keeps its order.
type conn struct {
	number   uint64
	a        *agentSide
	k        *keeperSide
	closed   bool
	toAgent  moment
	toKeeper moment
}

func (m *machine) startKeeper() *keeperSide {
	p := &program{m: m}
	m.w.keepers++
	k := &keeperSide{
		m: m, p: p, id: fmt.Sprintf("keeper-%d", m.w.keepers), alarm: alarm{p: p},
		procs: map[keeper.Ref]*process{}, tokens: map[uint64]func(keeper.Reply){},
	}
	k.core = keeper.NewCore(keeper.DefaultCoreConfig(m.w.times), k.now())
	m.keeper = k
	k.rearm()
	return k
}

func (k *keeperSide) now() keeper.BootTime { return keeper.BootTime(k.m.bootClock()) }

// step feeds the core, and then what its actions brought up.
func (k *keeperSide) step(ev keeper.Event) {
	k.todo = append(k.todo, ev)
	if k.busy {
		return
	}
	k.busy = true
	for len(k.todo) > 0 && !k.p.dead {
		next := k.todo[0]
		k.todo = k.todo[1:]
		for _, a := range k.core.Step(next, k.now()) {
			k.carry(a)
		}
	}
	k.todo, k.busy = nil, false
	k.rearm()
}

func (k *keeperSide) rearm() {
	if !k.p.dead {
		due := k.core.NextDue()
		k.alarm.arm(time.Duration(due), due != 0, func() { k.step(keeper.Tick{}) })
	}
}

// request carries an event that is answered; reply runs in the keeper.
func (k *keeperSide) request(event func(token uint64) keeper.Event, reply func(keeper.Reply)) {
	k.token++
	k.tokens[k.token] = reply
	k.step(event(k.token))
}

func (k *keeperSide) carry(a keeper.Action) {
	switch a := a.(type) {
	case keeper.Reply:
		if f := k.tokens[a.Token]; f != nil {
			delete(k.tokens, a.Token)
			f(a)
		}
	case keeper.Fork:
		k.fork(a)
	case keeper.Signal:
		if x := k.procs[a.Ref]; x != nil {
			x.signal(a.Signal)
		}
	case keeper.Kill:
		if x := k.procs[a.Ref]; x != nil {
			x.kill()
		}
	case keeper.Watch:
		k.watch(k.procs[a.Ref], true)
	case keeper.Push:
		if at, ok := k.core.Attempt(a.Ref); ok && k.conn != nil {
			k.conn.say(func(s *agentSide) { s.pushed(at) })
		}
	case keeper.SessionOver:
		k.m.w.tell("%s: %s ends session %s: %s", k.m.name, k.id, a.Session, a.Why)
		if c := k.conn; c != nil {
			c.say(func(s *agentSide) {
				s.step(agent.KeeperSaid{Event: agent.KeeperEvent{Keeper: k.id, Kind: agent.KeeperOver, Session: a.Session}})
			})
		}
	case keeper.Drop:
		if k.conn != nil && k.conn.number == a.Conn {
			k.conn.cut()
		}
	case keeper.Release:
		k.release(a)
	case keeper.CancelRelease:
		k.tries++
	case keeper.End:
		k.m.w.tell("%s: %s ends: %s", k.m.name, k.id, a.Why)
		k.end()
	}
}

func (k *keeperSide) fork(a keeper.Fork) {
	at, _ := k.core.Attempt(a.Ref)
	if !k.m.w.cfg.Calm && k.m.w.chance(1) {
		k.todo = append(k.todo, keeper.StartFailed{Token: a.Token, Ref: a.Ref, Kind: rota.KindInvalid, Detail: "no such command", Refused: true})
		return
	}
	x := k.start(a.Ref, at.Session)
	k.procs[a.Ref] = x
	k.order = append(k.order, x)
	k.pid++
	k.todo = append(k.todo, keeper.Started{Token: a.Token, Ref: a.Ref, PID: k.pid})
}

// watch looks whether something of an attempt is left.
func (k *keeperSide) watch(x *process, first bool) {
	k.p.later(k.m.w.between(100*time.Microsecond, 2*time.Millisecond), func() {
		switch {
		case !x.alive:
			delete(k.procs, x.ref)
			k.step(keeper.Emptied{Ref: x.ref})
			return
		case first:
			k.step(keeper.Lingers{Ref: x.ref})
		}
		k.p.later(5*time.Millisecond, func() { k.watch(x, false) })
	})
}

// release reports what it can vouch for and ends the session, through any server.
func (k *keeperSide) release(r keeper.Release) {
	k.tries++
	try := k.tries
	done := func(err error) {
		if k.tries != try {
			return
		}
		kind := rota.KindOf(err)
		ok := err == nil || kind == rota.KindStale
		k.m.w.tell("%s: %s releases %s: %v", k.m.name, k.id, r.Session, err)
		k.step(keeper.ReleaseDone{Session: r.Session, OK: ok})
	}
	expire := func() {
		cmd := rota.Command{Op: rota.ExpireSession{Session: r.Session, Released: true, Left: r.Left}}
		k.m.w.command(k.p, cmd, callTimeout, func(_ rota.Result, err error) { done(err) })
	}
	if len(r.Attempts) == 0 {
		expire()
		return
	}
	report := rota.Report{Session: r.Session}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		item := rota.ReportItem{Task: a.Task, Fence: a.Fence, Started: true, Released: true}
		if a.Why == "" {
			o := outcomeOf(a, k.now())
			item.Outcome = &o
		}
		report.Items = append(report.Items, item)
	}
	k.m.w.command(k.p, rota.Command{Op: report}, callTimeout, func(_ rota.Result, err error) {
		if err != nil && rota.KindOf(err) != rota.KindStale {
			done(err)
			return
		}
		expire()
	})
}

// outcomeOf is agent/exec's reading of an exit, for commands without output.
func outcomeOf(a *keeper.Attempt, now keeper.BootTime) rota.Outcome {
	o := rota.Outcome{ExitCode: a.Exit.Code, Ran: a.Ran(now)}
	switch {
	case a.Why == keeper.WhyAsked:
		o.Cause = rota.CauseCancelled
		if c, err := rota.ParseCause(a.Reason); err == nil {
			o.Cause = c
		}
	case a.Why != "":
		o.Cause = rota.CauseNodeLost
	case a.Exit.Code != 0:
		o.Cause = rota.CauseExitNonzero
	}
	return o
}

// end is the death of the keeper, by itself or by SIGKILL.
func (k *keeperSide) end() {
	if k.p.dead {
		return
	}
	k.p.dead = true
	if k.conn != nil {
		k.conn.cut()
	}
	for _, x := range k.order {
		if x.alive {
			k.m.w.after(k.m.w.between(time.Millisecond, min(50*time.Millisecond, k.m.w.slack)), x.vanish)
		}
	}
}

// say sends something to the agent, after what was sent before.
func (c *conn) say(f func(*agentSide)) {
	w := c.k.m.w
	c.toAgent = max(c.toAgent, w.now.add(w.between(20*time.Microsecond, 300*time.Microsecond)))
	c.a.p.later(time.Duration(c.toAgent-w.now), func() {
		if c.a.conn == c {
			f(c.a)
		}
	})
}

// ask sends something to the keeper.
func (c *conn) ask(f func(*keeperSide)) {
	w := c.k.m.w
	c.toKeeper = max(c.toKeeper, w.now.add(w.between(20*time.Microsecond, 300*time.Microsecond)))
	c.k.p.later(time.Duration(c.toKeeper-w.now), func() {
		if !c.closed {
			f(c.k)
		}
	})
}

// cut breaks the connection: each side hears of it.
func (c *conn) cut() {
	if c.closed {
		return
	}
	c.closed = true
	if c.k.conn == c {
		c.k.conn = nil
	}
	c.k.p.later(time.Millisecond, func() { c.k.step(keeper.AgentGone{Conn: c.number}) })
	c.say(func(s *agentSide) { s.disconnected(c) })
}
