package agent

import (
	"github.com/rota-sched/rota"
)

// leaveState is a planned stop.
type leaveState struct {
	wanted    bool
	kill      bool
	limit     BootTime // when it ends whatever is left
	releasing bool     // Release is under way, or was answered
	released  bool
	retryAt   BootTime
}

// leaving begins a planned stop. Attempts that the keeper holds go on, to be
// adopted by the next agent; the others end, and all of them with Kill.
func (c *Core) leaving(e Leaving, now BootTime) {
	l := &c.leave
	if !l.wanted {
		c.say("leaving", "attempts", c.live, "kill", e.Kill)
		c.do(AnnounceLeave{})
	}
	if !l.wanted || e.Kill && !l.kill {
		l.limit = now.Add(c.cfg.LeaveWithin)
	}
	l.wanted, l.kill = true, l.kill || e.Kill
	for _, ref := range c.sorted(func(a *attempt) bool { return a.live() && !c.staysBehind(a) }) {
		c.stopRef(ref, rota.CauseNodeLost)
	}
}

// staysBehind reports whether the attempt is left to the keeper.
func (c *Core) staysBehind(a *attempt) bool {
	return !c.leave.kill && c.outlives(a.driver) && (a.state == attemptRunning || a.state == attemptUnreaped)
}

// finishLeaving ends the agent once what must end has ended and is reported.
func (c *Core) finishLeaving(now BootTime) {
	l := &c.leave
	if !l.wanted || c.phase == phaseDone {
		return
	}
	late := now >= l.limit
	if !late && c.anyLive(func(a *attempt) bool { return !c.staysBehind(a) }) {
		return
	}
	switch {
	case late, l.released:
		c.finish()
	case c.phase == phaseNew, c.phase == phaseGreet, c.phase == phaseRegister:
		if len(c.out.items) == 0 {
			c.finish()
		}
	case c.phase == phaseClear: // goes on when it is clear
	case c.live > 0:
		if len(c.out.items) == 0 {
			c.finish()
		}
	case c.out.sent == 0 && !l.releasing && now >= l.retryAt:
		l.releasing, l.retryAt = true, 0
		c.do(Release{Session: c.lease.session, Left: true, Items: c.unsentItems()})
	}
}

// unsentItems is what a release reports along, bounded as a report is.
func (c *Core) unsentItems() []rota.ReportItem {
	var items []rota.ReportItem
	for _, it := range c.out.items[:min(len(c.out.items), c.cfg.ReportItems)] {
		if it.session == c.lease.session {
			items = append(items, it.item)
		}
	}
	return items
}

// released ends the agent after its session was given back.
func (c *Core) released(e Released, now BootTime) {
	l := &c.leave
	if !l.releasing {
		return
	}
	if k := rota.KindOf(e.Err); e.Err != nil && k != rota.KindStale && k != rota.KindEnded {
		l.releasing, l.retryAt = false, now.Add(backoffFirst)
		return
	}
	l.released = true
}

func (c *Core) finish() {
	if c.views.open != 0 {
		c.do(CloseStream{Stream: c.views.open})
		c.views.open = 0
	}
	c.phase = phaseDone
	c.do(Done{})
}
