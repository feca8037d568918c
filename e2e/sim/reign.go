package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/leader"
)

// reign is one leadership: the leader's core with the modelled log under it.
type reign struct {
	r     *replica
	term  uint64
	over  bool
	began bool // its barrier was applied
	core  *leader.Core
	alarm alarm

	atStart   rota.Instant
	monoStart time.Duration
	lastFed   moment
	lag       time.Duration // how far the core is behind the log at most

	waiting  []proposal
	inFlight map[uint64][]proposal // by index
	barriers map[uint64][]func(uint64, error)
	asked    []func(uint64, error) // for the next barrier

	token    leader.Token
	renewals map[leader.Token]func(rota.Renewal, error)
	asker    map[leader.Token]rota.Session // of renewals
	streams  map[leader.Token]*stream
	hints    map[*machine]hint
}

type proposal struct {
	cmd  rota.Command
	done func(rota.Result, error)
}

// hint is what gossip thinks of a machine.
type hint struct {
	since   moment // of its silence; zero: it is heard
	suspect bool
}

var (
	errNoLeader = errors.Join(rota.ErrNoLeader)
	errUnknown  = errors.Join(rota.ErrUnknown)
)

func newReign(r *replica) *reign {
	return &reign{
		r: r, term: r.d.term, alarm: alarm{p: r.p}, inFlight: map[uint64][]proposal{}, barriers: map[uint64][]func(uint64, error){},
		renewals: map[leader.Token]func(rota.Renewal, error){}, asker: map[leader.Token]rota.Session{},
		streams: map[leader.Token]*stream{}, hints: map[*machine]hint{},
	}
}

// begin starts the leader's work, after the barrier.
func (g *reign) begin() {
	if g.over || g.began {
		return
	}
	g.began = true
	g.atStart, g.monoStart = max(g.r.state.Now(), g.r.w.epoch), g.r.m.bootClock()
	g.r.w.tell("%s leads in term %d from index %d", g.r.m.name, g.term, g.r.applied)
	start := leader.Start{ID: g.r.m.id, Term: g.term, Snapshot: g.r.state.Snapshot()}
	core, actions := leader.NewCore(g.r.w.leaderConfig, start, g.now())
	g.core = core
	g.carryOut(actions)
	g.hearFormats()
	g.gossip()
}

// end lets go of everybody who waits.
func (g *reign) end() {
	g.over = true
	g.alarm.arm(0, false, nil)
	for _, p := range g.waiting {
		p.done(rota.Result{}, errNoLeader)
	}
	for _, i := range slices.Sorted(maps.Keys(g.inFlight)) {
		for _, p := range g.inFlight[i] {
			p.done(rota.Result{}, errUnknown)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(g.barriers)) {
		g.asked = append(g.asked, g.barriers[i]...)
	}
	for _, done := range g.asked {
		done(0, errNoLeader)
	}
	for t := leader.Token(1); t <= g.token; t++ {
		if answer := g.renewals[t]; answer != nil {
			answer(rota.Renewal{}, errNoLeader)
		}
		if s := g.streams[t]; s != nil {
			s.close(errNoLeader)
		}
	}
}

func (g *reign) now() leader.Now {
	mono := g.r.m.bootClock()
	return leader.Now{Mono: mono, At: max(g.r.state.Now(), g.atStart.Add(mono-g.monoStart))}
}

func (g *reign) step(ev leader.Event) {
	if g.over || g.core == nil {
		return
	}
	g.carryOut(g.core.Step(ev, g.now()))
}

func (g *reign) rearm() {
	if g.over {
		return
	}
	at, ok := g.core.NextWake(g.now())
	if ok && at <= g.r.m.bootClock() {
		g.r.w.spins++
		if g.r.w.spins > 1000 {
			g.r.w.broken(rests, "the leader's core wants to be woken at once, again and again")
		}
	} else {
		g.r.w.spins = 0
	}
	g.alarm.arm(at, ok, func() { g.step(leader.Tick{}) })
}

func (g *reign) carryOut(actions []leader.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case leader.Propose:
			g.propose(rota.Command{Principal: "leader", Op: a.Op}, func(res rota.Result, err error) {
				g.r.p.later(g.r.w.between(0, 2*time.Millisecond), func() {
					g.step(leader.ProposalDone{Token: a.Token, Result: res, Failed: err != nil})
				})
			})
		case leader.AnswerRenewal:
			if answer := g.renewals[a.Token]; answer != nil {
				delete(g.renewals, a.Token)
				g.r.w.check.renewed(g.asker[a.Token], a.Renewal)
				delete(g.asker, a.Token)
				answer(a.Renewal, nil)
			}
		case leader.Push:
			if s := g.streams[a.Token]; s != nil {
				s.push(a.View)
			}
		case leader.CloseStream:
			if s := g.streams[a.Token]; s != nil {
				delete(g.streams, a.Token)
				s.close(&rota.Refusal{Kind: a.Kind})
			}
		case leader.Evaluate:
			g.evaluate(a.Task)
		}
	}
	if g.core != nil {
		g.rearm()
	}
}

// evaluate stands for jobspecs: the late parts of a task are known, or now and
// then could not be tried.
func (g *reign) evaluate(t *rota.Task) {
	ev := leader.Evaluated{Task: t.ID, Failed: g.r.w.chance(10)}
	spec := *t.Spec
	spec.Late = nil
	ev.Resolve.Spec = &spec
	switch g.r.w.rng.IntN(12) {
	case 0:
		ev.Resolve = rota.Resolve{Skip: true}
	case 1:
		ev.Resolve = rota.Resolve{Failure: "sim.hcl:1:1: it cannot be evaluated"}
	}
	g.r.p.later(g.r.w.between(time.Millisecond, 20*time.Millisecond), func() { g.step(ev) })
}

// maxInFlight is how many entries the leader has on their way.
const maxInFlight = 2

// propose puts a command into the queue of this leadership.
func (g *reign) propose(cmd rota.Command, done func(rota.Result, error)) {
	if g.over || !g.began {
		done(rota.Result{}, errNoLeader)
		return
	}
	g.waiting = append(g.waiting, proposal{cmd, done})
	g.flush()
}

// flush makes an entry of what waits, when a place is free.
func (g *reign) flush() {
	if g.over || len(g.waiting) == 0 || len(g.inFlight) >= maxInFlight {
		return
	}
	n := min(len(g.waiting), 256)
	batch := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	e := rota.Entry{Format: g.r.state.Format(), Term: g.term, At: g.now().At, Seed: g.r.w.rng.Uint64()}
	for _, p := range batch {
		e.Commands = append(e.Commands, p.cmd)
	}
	index := g.r.d.end() + 1
	g.inFlight[index] = batch
	g.r.store(logEntry{term: g.term, data: fsm.AppendEntry(nil, &e), sent: g.r.m.bootClock()})
}

// barrier finds the index at which everything proposed before was applied; while
// one is on its way the next waits. (cluster.Barrier is the same.)
func (g *reign) barrier(done func(uint64, error)) {
	if g.over || !g.began {
		done(0, errNoLeader)
		return
	}
	g.asked = append(g.asked, done)
	if len(g.barriers) == 0 {
		g.nextBarrier()
	}
}

func (g *reign) nextBarrier() {
	if len(g.asked) == 0 || g.over {
		return
	}
	g.barriers[g.r.d.end()+1], g.asked = g.asked, nil
	g.r.store(logEntry{term: g.term, sent: g.r.m.bootClock()})
}

// passed hears that a barrier of this leadership was applied.
func (g *reign) passed(index uint64) {
	if g.over {
		return
	}
	for _, done := range g.barriers[index] {
		done(index, nil)
	}
	delete(g.barriers, index)
	if len(g.barriers) == 0 {
		g.nextBarrier()
	}
}

// applied hears of an entry that was applied here. The core hears of it in order,
// a moment later; who proposed it hears of the result at another moment.
func (g *reign) applied(a rota.Applied, results []rota.Result) {
	if g.over || !g.began {
		return
	}
	if batch, ok := g.inFlight[a.Index]; ok && a.Term == g.term {
		delete(g.inFlight, a.Index)
		for i, p := range batch {
			p.done(results[i], nil)
		}
	}
	g.lastFed = max(g.lastFed, g.r.w.now.add(g.r.w.between(0, time.Millisecond+g.lag)))
	g.r.p.later(time.Duration(g.lastFed-g.r.w.now), func() { g.step(leader.Applied{Applied: a}) })
	g.flush()
}

// gossip tells the core whom the leading node has not heard for a while.
func (g *reign) gossip() {
	if g.over {
		return
	}
	g.hearFormats()
	for _, m := range g.r.w.machines {
		h := g.hints[m]
		heard := m.up() && g.r.w.net.open(m, g.r.m) && g.r.w.net.open(g.r.m, m)
		switch {
		case heard:
			h.since = 0
		case h.since == 0:
			h.since = g.r.w.now
		}
		suspect := h.since != 0 && g.r.w.now-h.since > moment(3*time.Second)
		if suspect != h.suspect || heard && g.r.w.chance(2) {
			h.suspect = suspect
			g.step(leader.Gossip{Node: m.id, Suspect: suspect})
		}
		g.hints[m] = h
	}
	g.r.p.later(500*time.Millisecond, g.gossip)
}
