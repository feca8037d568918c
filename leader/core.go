package leader

import (
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/scheduler"
)

// Config are the settings of the leader's duties.
type Config struct {
	Times rota.LeaseTimes
	// RenewEvery is the least time between two entries with renewals. While leases
	// are out the core also proposes an empty one that often, so it must not exceed
	// a quarter of Times.Gap. (Source: RELIABILITY.md, section 2, rules 1 and 7.)
	RenewEvery time.Duration
	// MaxPlacements is how many placements one operation carries at most.
	MaxPlacements int
	// PlacesInFlight is how many such operations wait for their result at once.
	PlacesInFlight int
	// Evaluations is how many tasks' late expressions are evaluated at once.
	Evaluations int
	// Resolves is how many evaluated tasks wait for their operation's result at once.
	Resolves int
	// CoolDown is the pause after a proposal that came to nothing.
	CoolDown  time.Duration
	Scheduler scheduler.Config
}

// DefaultConfig are the settings for the given lease times: one entry with
// renewals per 250 ms, or per fifth of a gap where a quarter of it is less.
func DefaultConfig(times rota.LeaseTimes) Config {
	every := 250 * time.Millisecond
	if times.Gap/4 < every {
		every = times.Gap / 5
	}
	return Config{
		Times: times, RenewEvery: every,
		MaxPlacements: 256, PlacesInFlight: 2, Evaluations: 4, Resolves: 256, CoolDown: 100 * time.Millisecond,
	}
}

func (c *Config) check() error {
	invalid := func(detail string) error { return &rota.Refusal{Kind: rota.KindInvalid, Detail: detail} }
	switch {
	case c.RenewEvery <= 0 || c.RenewEvery > c.Times.Gap/4:
		return invalid("the leader renews every " + c.RenewEvery.String() + ": choose at most a quarter of the gap, " + (c.Times.Gap / 4).String())
	case c.MaxPlacements < 1 || c.PlacesInFlight < 1 || c.Evaluations < 1 || c.Resolves < 1:
		return invalid("the leader's bounds must be at least 1")
	}
	return c.Times.Check()
}

// Start is where a leadership begins: the state at its barrier.
type Start struct {
	ID       rota.NodeID // of the leading node
	Term     uint64
	Snapshot *fsm.Snapshot
}

// Core decides all that the leading node does in one leadership. It belongs to
// one goroutine.
type Core struct {
	cfg         Config
	id          rota.NodeID
	term        uint64
	incarnation uint16

	applied uint64 // index of the newest entry seen
	format  uint16
	over    bool // an entry of a later leader was seen: nothing is done any more

	nodes     map[rota.NodeID]*rota.Node
	scheduler *scheduler.Scheduler
	places    places
	leases    leases
	streams   streams
	due       due
	late      late
	marks     marks
	raise     raise

	pending   map[Token]func(ProposalDone, Now)
	lastToken Token
	coolUntil time.Duration

	registered []rota.NodeID // nodes that have another session since the entry being observed
	out        []Action
}

// NewCore begins a leadership and returns its first actions.
func NewCore(cfg Config, st Start, now Now) (*Core, []Action) {
	c := &Core{
		cfg: cfg, id: st.ID, term: st.Term, incarnation: st.Snapshot.Incarnation(),
		applied: st.Snapshot.Index(), format: st.Snapshot.Format(),
		nodes: map[rota.NodeID]*rota.Node{}, scheduler: scheduler.New(cfg.Scheduler),
		pending: map[Token]func(ProposalDone, Now){},
	}
	c.scheduler.Load(st.Snapshot)
	c.leases.init()
	for n := range st.Snapshot.Nodes() {
		c.nodes[n.ID] = n
		c.leases.observeNode(n, n.RenewedIndex, now.Mono)
	}
	c.streams.load(st.Snapshot)
	c.late.load(st.Snapshot)
	c.marks.init()
	c.due.next = st.Snapshot.NextDue()
	c.drive(now)
	return c, c.take()
}

// Step takes an event in and returns what is to be done, in order.
func (c *Core) Step(ev Event, now Now) []Action {
	if c.over {
		return nil
	}
	switch ev := ev.(type) {
	case Applied:
		c.observe(&ev.Applied, now)
	case Tick:
	case RenewalAsked:
		c.leases.ask(ev)
	case RenewalGone:
		c.leases.forget(ev.Token)
	case ProposalDone:
		c.done(ev, now)
	case Gossip:
		c.marks.hint(ev)
	case StreamAttached:
		c.attach(ev)
	case StreamDetached:
		c.streams.detach(ev.Token)
	case Evaluated:
		c.evaluated(ev, now)
	case Replicas:
		c.raise.replicas, c.raise.readable = ev.IDs, ev.Format
	}
	if !c.over {
		c.drive(now)
	}
	return c.take()
}

// take hands the collected actions over.
func (c *Core) take() []Action {
	out := c.out
	c.out = nil
	return out
}

func (c *Core) act(a Action) { c.out = append(c.out, a) }

// propose proposes an operation; done hears what became of it.
func (c *Core) propose(op rota.Op, done func(ProposalDone, Now)) {
	c.lastToken++
	c.pending[c.lastToken] = done
	c.act(Propose{Token: c.lastToken, Op: op})
}

func (c *Core) done(ev ProposalDone, now Now) {
	done, ok := c.pending[ev.Token]
	if !ok {
		return
	}
	delete(c.pending, ev.Token)
	if ev.Failed {
		c.coolUntil = now.Mono + c.cfg.CoolDown
	}
	done(ev, now)
}

// observe takes in one applied entry.
func (c *Core) observe(a *rota.Applied, now Now) {
	if a.Term > c.term {
		// Somebody else leads. Whatever this core would still say might contradict
		// them; the shell will hear of it soon.
		c.over = true
		c.out = nil
		return
	}
	c.applied, c.format, c.due.next = a.Index, a.Format, a.NextDue
	if a.Configuration {
		c.leases.gap(now.Mono)
	}
	for i := range a.Changes {
		ch := &a.Changes[i]
		c.scheduler.Observe(ch)
		if n := ch.Node; n != nil {
			c.observeNode(n, a.Index, now)
		}
		for _, s := range ch.Renewed {
			c.leases.renewed(s, a.Index, now.Mono)
		}
		c.streams.observe(ch)
		if ch.Task != nil {
			c.late.observe(ch.Task)
		}
	}
	c.pushDeltas(a.Index)
	for _, id := range c.registered {
		c.attachWaiting(id)
	}
	c.registered = c.registered[:0]
}

func (c *Core) observeNode(n *rota.Node, index uint64, now Now) {
	before := c.nodes[n.ID]
	c.nodes[n.ID] = n
	c.marks.dirty(n.ID)
	if before != nil && before.Session == n.Session {
		return
	}
	c.leases.observeNode(n, index, now.Mono)
	if before != nil {
		c.endSession(before.Session)
	}
	c.registered = append(c.registered, n.ID)
}

// drive does what is due, in an order that does not matter to anyone but the
// reader of a trace.
func (c *Core) drive(now Now) {
	c.driveLeases(now)
	if now.Mono < c.coolUntil {
		return
	}
	c.driveDue(now)
	c.drivePlaces(now)
	c.driveLate(now)
	c.driveMarks()
	c.driveFormat()
}

// NextWake is when the core wants a Tick if nothing else happens before; false:
// never.
func (c *Core) NextWake(now Now) (time.Duration, bool) {
	if c.over {
		return 0, false
	}
	wake, ok := c.leases.wake(&c.cfg)
	sooner := func(at time.Duration) {
		if !ok || at < wake {
			wake, ok = at, true
		}
	}
	if now.Mono < c.coolUntil {
		sooner(c.coolUntil)
		return wake, ok
	}
	if at, due := c.dueWake(now); due {
		sooner(at)
	}
	if at, waits := c.late.wake(); waits {
		sooner(at)
	}
	return wake, ok
}

// Over reports whether the core has seen that somebody else leads.
func (c *Core) Over() bool { return c.over }

// Explain says why a queued task waits; false for any other task.
func (c *Core) Explain(id rota.TaskID, now rota.Instant) (scheduler.Explanation, bool) {
	return c.scheduler.Explain(id, now)
}

// ExplainNode says what a node could take of what is queued.
func (c *Core) ExplainNode(id rota.NodeID) (scheduler.NodeExplanation, bool) {
	return c.scheduler.ExplainNode(id)
}

// Trial copies what is known of the nodes, to try a job on.
func (c *Core) Trial() *scheduler.Trial { return c.scheduler.Trial() }
