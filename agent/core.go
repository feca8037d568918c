package agent

import (
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// CoreConfig is what a Core goes by.
type CoreConfig struct {
	// Node is what the agent registers as; the containment is the keeper's word.
	Node  rota.RegisterNode
	Times rota.LeaseTimes
	// Outlive are the drivers whose attempts the keeper holds, so that they outlive
	// the agent.
	Outlive []rota.Driver
	// Together is how long the report of a start waits for the end of the attempt.
	// (Source: DESIGN.md, section 4: a short task costs two log operations.)
	Together time.Duration
	// ReportItems and ReportBytes bound one report.
	ReportItems int
	ReportBytes int
	// LeaveWithin bounds a planned stop.
	LeaveWithin time.Duration
}

// DefaultCoreConfig has everything but the node.
func DefaultCoreConfig() CoreConfig {
	return CoreConfig{
		Times: rota.DefaultLeaseTimes(), Outlive: []rota.Driver{rota.DriverExec}, Together: 20 * time.Millisecond,
		ReportItems: 512, ReportBytes: 96 << 10, LeaveWithin: 5 * time.Second,
	}
}

// phase is where the agent stands with its keeper and the cluster.
type phase uint8

const (
	phaseNew      phase = iota // nothing happened yet
	phaseGreet                 // asks the keeper what it holds
	phaseClear                 // has no session, ends what is left of the last one
	phaseRegister              // asks for a session
	phaseHeld                  // has a session
	phaseDone
)

var phaseNames = [...]string{"new", "greet", "clear", "register", "held", "done"}

func (p phase) String() string { return phaseNames[p] }

// Core decides everything the agent does: an event and the moment go in, actions
// come out. It belongs to one goroutine.
type Core struct {
	cfg   CoreConfig
	phase phase
	why   string   // last refusal on the way to a session
	acts  []Action // of the present Step

	lease    leaseState
	views    viewState
	attempts map[Ref]*attempt // all of this session, until they can never be placed again
	pending  []Ref            // not yet handed to a driver, in order
	startAt  BootTime         // before it nothing is handed out: the keeper has just refused
	live     int              // attempts with a driver
	started  []due            // whose start is to be reported by itself, in order of time
	timeouts dueHeap
	memory   memory
	out      outbox
	leave    leaveState
	fit      fitness

	keeper      string // id of the one that was greeted last
	containment string
	greetAgain  bool     // the keeper is gone: greet before registering
	notBefore   BootTime // earliest registration
	clearLimit  BootTime // when what does not end is the keeper's fault
	retryAt     BootTime // next greeting or registration; zero while one is asked
	backoff     time.Duration
	registering BootTime // when the registration in flight was sent
	counter     uint64   // of the node's newest session, as far as is known
}

// NewCore makes a core that has not begun: the first Step begins it.
func NewCore(cfg CoreConfig) *Core {
	return &Core{cfg: cfg, attempts: map[Ref]*attempt{}, out: outbox{limit: cfg.ReportItems}, fit: fitness{need: probesFirst}}
}

// Step takes one event in and returns what is to be done, in this order. The
// slice is valid until the next Step. now never goes back.
func (c *Core) Step(ev Event, now BootTime) []Action {
	c.acts = c.acts[:0]
	if c.phase == phaseNew {
		c.greet()
	}
	if c.phase != phaseDone {
		c.take(ev, now)
		c.onTime(now)
	}
	return c.acts
}

func (c *Core) take(ev Event, now BootTime) {
	switch e := ev.(type) {
	case Tick:
	case Greeted:
		c.greeted(e, now)
	case Registered:
		c.registered(e, now)
	case Renewed:
		c.renewed(e, now)
	case Extended:
		c.extended(e, now)
	case Polled:
		c.polled(e, now)
	case Viewed:
		c.viewed(e, now)
	case StreamEnded:
		c.streamEnded(e, now)
	case Started:
		c.startedRef(e.Ref, now)
	case NotStarted:
		c.notStarted(e, now)
	case Probed:
		c.probed(e, now)
	case FitnessTold:
		c.fitnessTold(e, now)
	case Ended:
		c.ended(e)
	case Reaped:
		c.reapedRef(e.Ref)
	case Lost:
		c.lostRef(e.Ref, now)
	case Reported:
		c.reported(e, now)
	case Released:
		c.released(e, now)
	case KeeperSaid:
		c.keeperSaid(e.Event, now)
	case Leaving:
		c.leaving(e, now)
	}
}

// onTime does whatever is due, after every event.
func (c *Core) onTime(now BootTime) {
	switch c.phase {
	case phaseNew, phaseDone:
	case phaseGreet, phaseRegister:
		c.ask(now)
	case phaseClear:
		c.clear(now)
	case phaseHeld:
		c.holdLease(now)
	}
	if c.phase == phaseHeld {
		c.keepStream(now)
		c.keepFit(now)
		c.startPending(now)
		c.enforceTimeouts(now)
	}
	c.reportStarts(now)
	c.report(now)
	c.finishLeaving(now)
}

// Wake is when the next Tick is due at the latest; zero: only events matter.
func (c *Core) Wake() BootTime {
	var w BootTime
	soonest := func(t BootTime) {
		if t != 0 && (w == 0 || t < w) {
			w = t
		}
	}
	switch c.phase {
	case phaseNew, phaseDone:
		return 0
	case phaseGreet, phaseRegister:
		if !c.leave.wanted {
			soonest(c.retryAt)
		}
	case phaseClear:
		soonest(c.clearLimit)
	case phaseHeld:
		soonest(c.lease.nextRenew)
		soonest(c.lease.extendAt)
		if c.lease.polling == 0 {
			soonest(c.lease.nextPoll)
		}
		soonest(c.lease.end().Add(-c.cfg.Times.Kill))
		soonest(c.views.retryAt)
		soonest(c.timeouts.next())
		soonest(c.startAt)
		soonest(c.fit.wake())
	}
	if len(c.started) > 0 {
		soonest(c.started[0].at)
	}
	soonest(c.leave.limit)
	if c.out.sent == 0 && !c.leave.releasing {
		soonest(c.out.retryAt)
		if c.phase == phaseHeld {
			soonest(c.leave.retryAt)
		}
	}
	return w
}

// Session is the session that the agent holds; zero without one.
func (c *Core) Session() rota.Session { return c.lease.session }

// Deadline is until when the keeper lets attempts live; zero without a session.
func (c *Core) Deadline() BootTime { return c.lease.held }

// Why is what last stood in the way of a session; empty while there is one.
func (c *Core) Why() string { return c.why }

// Live is how many attempts are with a driver.
func (c *Core) Live() int { return c.live }

// RenewTimeout is how long a renewal waits for its answer.
func (c *Core) RenewTimeout() time.Duration { return c.cfg.Times.TTL / 4 }

func (c *Core) do(a Action) { c.acts = append(c.acts, a) }

func (c *Core) say(text string, pairs ...any) { c.do(Say{Text: text, Pairs: pairs}) }

func (c *Core) warn(text string, pairs ...any) { c.do(Say{Warn: true, Text: text, Pairs: pairs}) }

// outlives reports whether attempts of the driver outlive the agent.
func (c *Core) outlives(d rota.Driver) bool { return slices.Contains(c.cfg.Outlive, d) }

// longer doubles a backoff within its bounds.
func longer(b time.Duration) time.Duration { return min(max(2*b, backoffFirst), backoffMost) }
