package cluster

import (
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

// slewDivisor bounds how fast the cluster's own time moves towards wall time: a
// tenth of the time that passes.
const slewDivisor = 10

// clock is the cluster's own time on the leading node: it goes on from where the
// log stopped, by the node's boot-time clock, and leans towards the wall clock by
// at most 10 %. A wall clock that jumps therefore makes nothing due.
// (Source: DESIGN.md, section 4, "Determinism".)
type clock struct {
	wall func() time.Time
	boot func() time.Duration

	mu   sync.Mutex // guards what follows
	at   rota.Instant
	last time.Duration
}

// newClock starts at the instant, now.
func newClock(at rota.Instant, wall func() time.Time, boot func() time.Duration) *clock {
	return &clock{wall: wall, boot: boot, at: at, last: boot()}
}

// now is never earlier than a now before it.
func (c *clock) now() rota.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.boot()
	passed := t - c.last
	if passed <= 0 {
		return c.at
	}
	c.last = t
	c.at = c.at.Add(passed)
	lean := passed / slewDivisor
	c.at = c.at.Add(min(max(rota.InstantOf(c.wall()).Sub(c.at), -lean), lean))
	return c.at
}
