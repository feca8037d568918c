package agent

import (
	"time"

	"github.com/rota-sched/rota"
)

// Backoff between greetings, registrations and reports that failed.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = time.Second
)

// containmentPIDNS is the level on which a keeper's death is its tasks' death.
const containmentPIDNS = "pidns"

func (c *Core) greet() {
	c.phase, c.retryAt, c.greetAgain = phaseGreet, 0, false
	c.do(Greet{})
}

// greeted begins the agent's life: with the session its keeper still holds, or
// by ending what is left of it.
func (c *Core) greeted(e Greeted, now BootTime) {
	if c.phase != phaseGreet {
		return
	}
	if e.Err != nil {
		c.backoff = longer(c.backoff)
		c.retryAt, c.why = now.Add(c.backoff), "the keeper does not answer: "+e.Err.Error()
		c.warn("keeper does not answer", "error", e.Err, "again_in", c.backoff)
		return
	}
	c.backoff = 0
	c.containment, c.keeper = e.Kept.Containment, e.Kept.ID
	if e.Kept.Remains {
		c.notBefore = max(c.notBefore, now.Add(c.cfg.Times.LeaderTTL))
		c.warn("an earlier keeper may have left processes alive", "nothing_given_back_for", c.cfg.Times.LeaderTTL)
	}
	l := e.Kept.Lease
	c.views.see(l.Incarnation, l.Index)
	keep := l.Session.Node == c.cfg.Node.Info.ID && l.Session.Boot == c.cfg.Node.Boot &&
		!e.Kept.Over && now < l.Deadline.Add(-c.cfg.Times.Kill)
	for i := range e.Kept.Attempts {
		c.adopt(e.Kept.Attempts[i], e.Tasks[i], l.Session)
	}
	if keep {
		c.say("adopted the session", "session", l.Session.String(), "attempts", len(e.Kept.Attempts))
		c.hold(l.Session, l.Deadline, now)
		return
	}
	c.phase, c.clearLimit = phaseClear, now.Add(c.cfg.Times.Kill+c.cfg.Times.Renew)
	c.stopAll()
	c.clear(now)
}

// ask repeats the greeting or registration when it is due.
func (c *Core) ask(now BootTime) {
	switch {
	case c.retryAt == 0 || now < c.retryAt || c.leave.wanted:
	case c.phase == phaseGreet:
		c.greet()
	default:
		c.retryAt, c.registering = 0, now
		n := c.cfg.Node
		n.Info.Containment = c.containment
		n.Counter = c.counter + 1
		c.do(Register{Sent: now, Node: n})
	}
}

// registered begins a session. Its first deadline counts from when the
// registration was sent, as with a renewal.
func (c *Core) registered(e Registered, now BootTime) {
	if c.phase != phaseRegister || e.Sent != c.registering {
		return
	}
	if rota.KindOf(e.Err) == rota.KindStale && e.Session.Counter != c.counter {
		// One that was given up arrived all the same, or an agent before this one
		// had sessions: the counter is learned.
		c.counter = e.Session.Counter
		c.retryAt = now
		c.ask(now)
		return
	}
	if e.Err != nil {
		c.backoff = longer(c.backoff)
		if rota.KindOf(e.Err) == rota.KindConflict {
			c.backoff = 2 * backoffMost // a person must act, or a session must run out
		}
		c.retryAt, c.why = now.Add(c.backoff), e.Err.Error()
		c.warn("registration failed", "error", e.Err, "again_in", c.backoff)
		return
	}
	c.backoff = 0
	c.say("registered", "session", e.Session.String())
	c.hold(e.Session, 0, now)
	c.grant(e.Sent.Add(c.cfg.Times.TTL))
}

// hold makes the session the present one.
func (c *Core) hold(s rota.Session, deadline, now BootTime) {
	c.phase, c.why = phaseHeld, ""
	c.counter = s.Counter
	c.lease = leaseState{session: s, held: deadline, granted: deadline, nextRenew: now, seq: c.lease.seq}
	if deadline == 0 { // registered just now
		c.lease.nextRenew = now.Add(c.cfg.Times.Renew)
	} else { // adopted: one renewal before the voters are asked
		c.lease.nextPoll = now.Add(c.cfg.Times.Renew)
	}
	c.views.full, c.views.retryAt, c.views.backoff = false, now, 0
	c.fit.begin(deadline != 0, now)
}

// endSession gives the session up: everything it runs is to end, and when that is
// done a new one is asked for. It is never kept alive from here.
func (c *Core) endSession(why string, now BootTime) {
	c.warn("session ended", "session", c.lease.session.String(), "why", why, "attempts", c.live)
	if c.views.open != 0 {
		c.do(CloseStream{Stream: c.views.open})
	}
	c.views.open, c.views.full = 0, false
	c.phase, c.clearLimit = phaseClear, now.Add(c.cfg.Times.Kill+c.cfg.Times.Renew)
	c.lease = leaseState{seq: c.lease.seq}
	c.stopAll()
	c.clear(now)
}

// clear goes on to the next session once nothing of the last one is with a
// driver. (A registration gives everything back: RELIABILITY.md, section 2, rule 6.)
func (c *Core) clear(now BootTime) {
	if c.live > 0 {
		if c.clearLimit != 0 && now >= c.clearLimit {
			c.clearLimit = 0
			c.warn("attempts outlived the kill time", "attempts", c.live)
			if c.anyLive(func(a *attempt) bool { return c.outlives(a.driver) && a.state != attemptUnreaped }) {
				c.do(KillKeeper{})
			}
		}
		return
	}
	clear(c.attempts)
	c.pending, c.started, c.timeouts, c.memory = nil, nil, nil, memory{}
	c.clearLimit, c.backoff = 0, 0
	if c.greetAgain {
		c.greet()
		return
	}
	c.phase, c.retryAt = phaseRegister, max(now, c.notBefore)
	c.ask(now)
}

// keeperSaid takes in what the keeper did by itself.
func (c *Core) keeperSaid(ev KeeperEvent, now BootTime) {
	if ev.Keeper != c.keeper {
		return // of an earlier keeper
	}
	switch ev.Kind {
	case KeeperOver:
		if c.phase == phaseHeld && (ev.Session.IsZero() || ev.Session == c.lease.session) {
			c.endSession("the keeper began to kill at the deadline", now)
		}
	case KeeperGone:
		c.keeperGone(now)
	}
}

// keeperGone ends the session. Where the keeper's death is not its tasks', nothing
// is given back before the leader's TTL has run out (rule 3).
func (c *Core) keeperGone(now BootTime) {
	if c.phase == phaseGreet || c.leave.wanted && c.live == 0 {
		return
	}
	wait := c.cfg.Times.Slack // a dying namespace is dead in milliseconds, not at once
	if c.containment != containmentPIDNS && c.phase != phaseRegister {
		wait = c.cfg.Times.LeaderTTL
	}
	c.notBefore = max(c.notBefore, now.Add(wait))
	c.greetAgain = true
	switch c.phase {
	case phaseHeld:
		c.do(KillKeeper{})
		c.endSession("the keeper is gone", now)
	case phaseRegister:
		c.greet()
	case phaseNew, phaseGreet, phaseClear, phaseDone:
	}
}
