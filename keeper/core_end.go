package keeper

import (
	"syscall"
	"time"

	"github.com/rota-sched/rota"
)

const (
	sigTerm = syscall.SIGTERM
	// The wait before a failed release is tried again doubles from the first to
	// the longest.
	firstRetry   = 50 * time.Millisecond
	longestRetry = time.Second
)

// due does what the moment asks for.
func (s *step) due() {
	if s.phase == PhaseServing && s.deadline != 0 && s.now >= s.deadline.Add(-s.cfg.Times.Kill) {
		s.end(WhyDeadline)
	}
	if s.timed > 0 {
		for e := range s.entries() {
			s.dueEntry(e)
		}
	}
	if s.phase == PhaseReleasing && s.now >= s.deadline {
		s.released()
	}
}

func (s *step) dueEntry(e *entry) {
	if e.killAt != 0 && e.checkAt == 0 && s.now >= e.killAt && e.State != StateStarting && e.State != StateExited {
		s.kill(e)
	}
	if e.checkAt != 0 && s.now >= e.checkAt && e.Running() && !e.Unreaped {
		e.Unreaped = true
		s.unreaped++
		s.do(Push{Ref: e.Ref})
	}
}

func (s *step) kill(e *entry) {
	if e.killAt == 0 {
		s.timed++
	}
	e.killAt, e.checkAt = s.now, s.now.Add(s.cfg.Unreaped)
	e.Killed = e.Killed || e.State == StateRunning
	s.do(Kill{Ref: e.Ref})
}

func (s *step) untime(e *entry) {
	if e.killAt != 0 {
		s.timed--
		e.killAt, e.checkAt = 0, 0
	}
}

// askToEnd sends the polite signal and sets the time of the other one. A second
// asking can only bring that time forward.
func (s *step) askToEnd(e *entry, sig syscall.Signal, grace time.Duration, why Why) {
	if !e.Running() {
		return
	}
	at := s.now.Add(max(grace, 0))
	if e.killAt == 0 {
		s.timed++
		e.killAt = at
	} else {
		e.killAt = min(e.killAt, at)
	}
	if e.Why == "" && e.State != StateClearing {
		e.Why = why
	}
	if e.State == StateStarting || e.checkAt != 0 {
		return
	}
	if grace <= 0 {
		s.kill(e)
		return
	}
	s.do(Signal{Ref: e.Ref, Signal: sig})
}

func (s *step) stopAsked(ev StopAsked) {
	e := s.table[ev.Ref]
	if e == nil {
		s.reply(ev.Token, rota.KindNotFound, "%s is not here", ev.Ref)
		return
	}
	if e.Why == "" && e.Reason == "" {
		e.Reason = ev.Reason
	}
	s.askToEnd(e, ev.Signal, ev.Grace, WhyAsked)
	s.done(ev.Token)
}

// end ends the session: no extension, no start from here on, everything alive is
// asked to end and killed after the lease's polite time.
func (s *step) end(why Why) {
	s.phase, s.why = PhaseEnding, why
	s.do(SessionOver{Session: s.session, Why: why})
	for e := range s.entries() {
		s.askToEnd(e, sigTerm, s.cfg.Times.Term, why)
	}
}

func (s *step) exited(ev Exited) {
	e := s.table[ev.Ref]
	if e == nil || e.State != StateRunning {
		return
	}
	e.State, e.EndedAt, e.Exit = StateClearing, s.now, ev.Exit
	s.do(Watch{Ref: e.Ref})
}

// lingers: the main process is gone, something it started is not. What was asked
// to end has its grace; what was left behind by a task that ended has none.
func (s *step) lingers(ev Lingers) {
	e := s.table[ev.Ref]
	if e == nil || e.State != StateClearing || e.checkAt != 0 {
		return
	}
	if e.killAt == 0 || s.now >= e.killAt {
		s.kill(e)
	}
}

func (s *step) emptied(ev Emptied) {
	e := s.table[ev.Ref]
	if e == nil || e.State != StateClearing {
		return
	}
	s.dead(e)
	e.Output = ev.Output
	s.untime(e)
	s.do(Push{Ref: e.Ref})
}

// settle looks at the whole after an event: whether the session is to end, can be
// released, and whether the keeper itself is over.
func (s *step) settle() {
	gone := s.conn == 0
	if s.phase == PhaseServing && gone && s.giveUp() {
		s.end(WhyGone)
	}
	if s.phase == PhaseEnding && s.live == 0 {
		s.phase, s.retryAt = PhaseReleasing, s.now
		if s.now >= s.deadline {
			s.released()
		}
	}
	if s.phase == PhaseReleasing && !s.releasing && s.now >= s.retryAt {
		s.release()
	}
	if s.phase == PhaseIdle && gone && s.live == 0 && s.idleOver() && !s.over {
		s.over = true
		s.do(End{Why: s.why})
	}
}

// giveUp: without an agent, a keeper that has nothing to keep gives up at once;
// after a planned stop when the last process has ended; else after the time in
// which an agent may come back.
func (s *step) giveUp() bool {
	switch {
	case len(s.table) == 0:
		return true
	case s.planned:
		return s.live == 0
	default:
		return s.now >= s.goneAt.Add(s.cfg.Times.Adopt)
	}
}

func (s *step) idleOver() bool {
	switch {
	case !s.ever:
		return s.now >= s.goneAt.Add(s.cfg.Patience)
	case len(s.table) == 0:
		return true
	default:
		return s.now >= s.goneAt.Add(s.cfg.Times.Adopt)
	}
}

func (s *step) release() {
	s.releasing = true
	s.releases++
	r := Release{Session: s.session, Left: s.planned}
	for e := range s.entries() {
		if e.Session == s.session {
			r.Attempts = append(r.Attempts, e.Attempt)
		}
	}
	s.do(r)
}

func (s *step) releaseDone(ev ReleaseDone) {
	if s.phase != PhaseReleasing || ev.Session != s.session || !s.releasing {
		return
	}
	s.releasing = false
	if !ev.OK {
		s.retryAt = s.now.Add(min(firstRetry<<min(s.releases-1, 10), longestRetry))
		return
	}
	for e := range s.entries() { // the cluster knows them now
		if e.Session == s.session && e.State == StateExited {
			s.drop(e)
		}
	}
	s.released()
}

// released: the session is over for good, told or not.
func (s *step) released() {
	if s.releasing {
		s.releasing = false
		s.do(CancelRelease{})
	}
	s.phase, s.retryAt = PhaseIdle, 0
}

// NextDue is when the core wants its next Tick; zero: not before another event.
func (c *Core) NextDue() BootTime {
	var due BootTime
	at := func(t BootTime) {
		if due == 0 || t < due {
			due = t
		}
	}
	if c.phase == PhaseServing && c.deadline != 0 {
		at(c.deadline.Add(-c.cfg.Times.Kill))
	}
	if c.phase == PhaseReleasing {
		at(c.deadline)
		if !c.releasing {
			at(c.retryAt)
		}
	}
	if c.conn == 0 && !c.over {
		switch {
		case !c.ever:
			at(c.goneAt.Add(c.cfg.Patience))
		case c.phase == PhaseServing && !c.planned, c.phase == PhaseIdle:
			at(c.goneAt.Add(c.cfg.Times.Adopt))
		}
	}
	if c.timed > 0 {
		for e := range c.entries() {
			switch {
			case e.checkAt != 0 && !e.Unreaped:
				at(e.checkAt)
			case e.checkAt == 0 && e.killAt != 0 && e.State != StateStarting:
				at(e.killAt)
			}
		}
	}
	return due
}
