package leader

import (
	"time"

	"github.com/rota-sched/rota"
)

// due wakes the state machine's own timers.
type due struct {
	next  rota.Instant // of the state; zero: nothing is due
	out   bool         // an operation is on its way
	index uint64       // of the newest one: until it was seen, next is out of date
	was   rota.Instant // next as it was before the newest one
	again time.Duration
}

// driveDue proposes Due when something is due.
func (c *Core) driveDue(now Now) {
	d := &c.due
	if d.index != 0 && d.index <= c.applied {
		if d.next == d.was {
			d.again = now.Mono + c.cfg.CoolDown // nothing came of it: do not spin
		}
		d.index = 0
	}
	if d.waits() || d.next > now.At || now.Mono < d.again {
		return
	}
	d.out, d.was = true, d.next
	c.propose(rota.Due{}, func(done ProposalDone, _ Now) {
		d.out = false
		d.index = done.Result.Index
	})
}

// waits reports whether nothing is due ever, or nothing can be said of it yet.
func (d *due) waits() bool { return d.next == 0 || d.out || d.index != 0 }

func (c *Core) dueWake(now Now) (time.Duration, bool) {
	d := &c.due
	if d.waits() {
		return 0, false
	}
	at := now.Mono
	if d.next > now.At {
		at += d.next.Sub(now.At)
	}
	return max(at, d.again), true
}
