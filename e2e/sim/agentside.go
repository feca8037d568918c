package sim

import (
	"errors"
	"slices"
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
	if a.p.gone() {
		return
	}
	had := a.core.Session()
	acts := slices.Clone(a.core.Step(ev, a.now()))
	a.w.check.gaveUp(a, had, ev)
	for _, act := range acts {
		a.carry(act)
	}
	wake := a.core.Wake()
	if a.spins++; wake == 0 || wake > a.now() {
		a.spins = 0
	}
	if a.spins > 1000 {
		a.w.broken(rests, "%s: the agent's core wants to be woken at once, again and again", a.m.name)
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
			a.w.check.reported(&act.Report, res.Items)
			a.step(agent.Reported{Batch: act.Batch, Answers: res.Items, Err: err})
		})
	case agent.TellFitness:
		a.w.command(a.p, rota.Command{Op: rota.MarkUnfit{Session: act.Session, Why: act.Why}}, callTimeout, func(_ rota.Result, err error) {
			a.step(agent.FitnessTold{Session: act.Session, Why: act.Why, Err: err})
		})
	case agent.Probe:
		a.p.later(a.w.between(time.Millisecond, 20*time.Millisecond), func() { a.step(agent.Probed{}) })
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
	if trap := a.w.trap; trap != nil {
		trap(a.m)
	}
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
