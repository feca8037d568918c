package agent

import (
	"slices"

	"github.com/rota-sched/rota"
)

type attemptState uint8

const (
	attemptPending  attemptState = iota // placed here, not yet handed to a driver
	attemptStarting                     // handed to a driver that has not answered
	attemptRunning
	attemptUnreaped // ended, but something of it lives
	attemptEnded    // nothing of it lives; its report waits, is under way or answered
)

// attempt is one attempt of the present session, or of the last one while that is
// cleared away.
type attempt struct {
	ref     Ref
	session rota.Session
	driver  rota.Driver
	task    rota.Assignment // zero once it has ended
	exited  bool            // adopted after its exit
	began   BootTime        // when its driver said so; of the record if adopted
	state   attemptState
	told    bool // its start is reported, or stands in the outbox
	stop    rota.Cause
	over    bool     // its session is
	unsent  *outItem // its item in the outbox that is not under way
}

func (a *attempt) live() bool {
	return a.state == attemptStarting || a.state == attemptRunning || a.state == attemptUnreaped
}

// place takes a placement in. A fence that is known is never started again.
func (c *Core) place(t rota.Assignment) {
	ref := Ref{Task: t.Task, Fence: t.Fence}
	if c.attempts[ref] != nil {
		return
	}
	if t.Spec == nil {
		t.Spec = &rota.TaskSpec{} // no driver takes it
	}
	c.attempts[ref] = &attempt{ref: ref, session: c.lease.session, driver: t.Spec.Driver, task: t}
	c.pending = append(c.pending, ref)
}

// adopt takes over an attempt that the keeper holds. One whose record is gone is
// adopted to be stopped.
func (c *Core) adopt(k KeptAttempt, t Task, s rota.Session) {
	stop := rota.CauseNone
	if t.Spec == nil {
		stop = rota.CauseInternal
		t.Assignment = rota.Assignment{Task: k.Task, Fence: k.Fence, Spec: &rota.TaskSpec{Driver: rota.DriverExec}}
		c.warn("the record of a kept attempt is unreadable", "task", k.Task.String(), "fence", uint64(k.Fence))
	}
	c.attempts[k.Ref] = &attempt{
		ref: k.Ref, session: s, driver: t.Spec.Driver, task: t.Assignment, exited: !k.Running,
		began: t.StartedAt, state: attemptStarting, stop: stop,
	}
	c.live++
	c.do(AdoptTask{Task: t})
}

// startPending hands what waits to the drivers, if the lease covers it.
func (c *Core) startPending(now BootTime) {
	if c.fit.why() != "" {
		c.startAt = 0
		if c.fit.known() {
			c.giveBackPending()
		}
		return
	}
	if now < c.startAt {
		return
	}
	c.startAt = 0
	if len(c.pending) == 0 || c.leave.wanted || !c.covered(now) {
		return
	}
	limit := c.startLimit()
	for _, ref := range c.pending {
		a := c.attempts[ref]
		if a == nil || a.state != attemptPending {
			continue // stopped meanwhile
		}
		a.state = attemptStarting
		c.live++
		c.do(StartTask{Assignment: a.task, Before: limit})
	}
	c.pending = c.pending[:0]
}

// startedRef notes that an attempt runs; its start is reported soon.
func (c *Core) startedRef(ref Ref, now BootTime) {
	a := c.attempts[ref]
	if a == nil || a.state != attemptStarting {
		return
	}
	a.state = attemptRunning
	if a.began == 0 {
		a.began = now
	}
	c.started = append(c.started, due{at: now.Add(c.cfg.Together), ref: ref})
	if d := a.task.Spec.Timeouts.StartToClose; d > 0 {
		c.timeouts.push(due{at: a.began.Add(d), ref: ref})
	}
	if a.stop != rota.CauseNone {
		c.do(StopTask{Ref: ref, How: c.howToStop(a), Cause: a.stop})
	}
}

// giveBackPending gives back what was never handed to a driver. The cluster knows
// by then that the node takes nothing: else it would be given the same again.
func (c *Core) giveBackPending() {
	for _, ref := range c.pending {
		if a := c.attempts[ref]; a != nil && a.state == attemptPending {
			c.giveBack(a)
		}
	}
	c.pending = c.pending[:0]
}

// notStarted puts an attempt back that the lease did not cover, or that the node
// was not able to start.
func (c *Core) notStarted(e NotStarted, now BootTime) {
	if e.Unfit != "" {
		c.startFailed(e.Unfit, now)
	}
	a := c.attempts[e.Ref]
	if a == nil || a.state != attemptStarting {
		return
	}
	c.live--
	if a.stop == rota.CauseNone && c.phase == phaseHeld {
		a.state = attemptPending
		c.pending = append(c.pending, e.Ref)
		if e.Unfit == "" {
			c.startAt = now.Add(backoffFirst)
		}
		return
	}
	c.giveBack(a)
}

// giveBack reports that nothing of an attempt was started.
func (c *Core) giveBack(a *attempt) {
	a.state = attemptEnded
	a.task = rota.Assignment{}
	if c.phase == phaseHeld { // else the end of the session says it
		c.put(a, func(i *rota.ReportItem) { i.Released = true })
	}
}

// stopRef ends an attempt whose result is not wanted. One that was never seen is
// given back, and never started afterwards.
func (c *Core) stopRef(ref Ref, cause rota.Cause) {
	a := c.attempts[ref]
	switch {
	case a == nil:
		a = &attempt{ref: ref, session: c.lease.session}
		c.attempts[ref] = a
		c.giveBack(a)
	case a.state == attemptPending:
		c.giveBack(a)
	case a.stop != rota.CauseNone || a.state == attemptUnreaped || a.state == attemptEnded:
	case a.state == attemptStarting:
		a.stop = cause
	default:
		a.stop = cause
		c.do(StopTask{Ref: ref, How: c.howToStop(a), Cause: cause})
	}
}

// stopAll ends everything because the session is over. What was not started is
// given back by that end.
func (c *Core) stopAll() {
	for _, ref := range c.sorted(func(a *attempt) bool { return a.state != attemptEnded }) {
		a := c.attempts[ref]
		a.over = true
		if a.state == attemptPending {
			a.state = attemptEnded
			continue
		}
		if a.state == attemptRunning && (a.stop == rota.CauseNone || a.task.Spec.Stop.Grace > c.cfg.Times.Term) {
			c.do(StopTask{Ref: ref, How: rota.Stop{Signal: a.task.Spec.Stop.Signal, Grace: c.cfg.Times.Term}, Cause: rota.CauseNodeLost})
		}
		a.stop = rota.CauseNodeLost
	}
	c.pending = nil
}

// howToStop is the attempt's own way, which the end of the session or of the agent
// cuts short.
func (c *Core) howToStop(a *attempt) rota.Stop {
	how := a.task.Spec.Stop
	if a.over || c.leave.wanted {
		how.Grace = min(how.Grace, c.cfg.Times.Term)
	}
	return how
}

// ended takes an attempt's end in. Of a session that is over only what ended well
// is still news: everything else counts as lost with it.
func (c *Core) ended(e Ended) {
	a := c.attempts[e.Ref]
	if a == nil || a.state != attemptStarting && a.state != attemptRunning {
		return
	}
	a.task, a.state = rota.Assignment{}, attemptEnded
	if e.Unreaped {
		a.state = attemptUnreaped
		c.fit.unreaped = append(c.fit.unreaped, e.Ref)
		c.warn("something of an attempt cannot be killed, the node takes nothing new until it is gone", "task", e.Ref.Task.String(), "attempt", e.Ref.Fence.Attempt())
	} else {
		c.live--
	}
	if a.over && e.Outcome.Cause != rota.CauseNone {
		if c.outlives(a.driver) && !e.Unreaped {
			c.do(Ack{Refs: []Ref{e.Ref}})
		}
		return
	}
	out := e.Outcome
	c.put(a, func(i *rota.ReportItem) {
		i.Started = i.Started || e.Began && !a.told
		i.Outcome, i.Released = &out, !e.Unreaped
	})
	a.told = true
}

// reapedRef notes that the rest of an attempt is gone.
func (c *Core) reapedRef(ref Ref) {
	a := c.attempts[ref]
	if a == nil || a.state != attemptUnreaped {
		return
	}
	a.state = attemptEnded
	c.live--
	if !a.over {
		c.put(a, func(i *rota.ReportItem) { i.Released = true })
	}
}

// lostRef ends an attempt that nobody can follow. If a process of it may live, the
// keeper is not what it was, and the session's end gives the attempt back.
func (c *Core) lostRef(ref Ref, now BootTime) {
	a := c.attempts[ref]
	if a == nil || !a.live() {
		return
	}
	if a.exited || !c.outlives(a.driver) {
		c.ended(Ended{Ref: ref, Began: true, Outcome: rota.Outcome{Cause: rota.CauseNodeLost, Message: "its driver could not follow it"}})
		return
	}
	a.state = attemptEnded
	c.live--
	if c.greetAgain || c.phase != phaseHeld && c.phase != phaseClear {
		return // that keeper has gone already
	}
	c.warn("lost an attempt", "task", ref.Task.String(), "attempt", ref.Fence.Attempt())
	if c.phase == phaseClear {
		c.do(KillKeeper{})
	}
	c.keeperGone(now)
}

// enforceTimeouts stops what runs longer than it may.
func (c *Core) enforceTimeouts(now BootTime) {
	for {
		d, ok := c.timeouts.pop(now)
		if !ok {
			return
		}
		if a := c.attempts[d.ref]; a != nil && a.state == attemptRunning && a.stop == rota.CauseNone {
			c.stopRef(d.ref, rota.CauseTimeoutRun)
		}
	}
}

// reportStarts reports the starts whose attempts did not end at once.
func (c *Core) reportStarts(now BootTime) {
	n := 0
	for ; n < len(c.started) && c.started[n].at <= now; n++ {
		a := c.attempts[c.started[n].ref]
		if a != nil && a.state == attemptRunning && !a.told {
			a.told = true
			c.put(a, func(i *rota.ReportItem) { i.Started = true })
		}
	}
	c.started = slices.Delete(c.started, 0, n)
}

func (c *Core) anyLive(is func(*attempt) bool) bool {
	for _, a := range c.attempts {
		if a.live() && is(a) {
			return true
		}
	}
	return false
}

// sorted lists attempts in an order that is the same in every replay.
func (c *Core) sorted(is func(*attempt) bool) []Ref {
	var refs []Ref
	for ref, a := range c.attempts {
		if is(a) {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, Ref.compare)
	return refs
}
