package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is a moment on the node's boot-time clock, in nanoseconds: it goes on
// while the machine is suspended and nobody can set it. Zero means "none". Only
// moments of the same boot compare. (Source: RELIABILITY.md, section 2, rule 1:
// Go's own monotonic clock stops in suspend.)
type BootTime int64

// Now reads CLOCK_BOOTTIME.
func Now() BootTime {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("agent: CLOCK_BOOTTIME cannot be read: " + err.Error()) //nolint:forbidigo // every Linux since 2.6.39 has it
	}
	return BootTime(ts.Nano())
}

// Add moves the moment by d.
func (b BootTime) Add(d time.Duration) BootTime { return b + BootTime(d) }

// Sub is the time from o to b.
func (b BootTime) Sub(o BootTime) time.Duration { return time.Duration(b - o) }
