package keeper

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is an instant of CLOCK_BOOTTIME in nanoseconds: the clock that goes on
// while the machine is suspended, and that the agent and the keeper of one kernel
// share. Zero means none.
type BootTime int64

// Now reads the clock.
func Now() BootTime {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // cannot happen on Linux 2.6.39 or later; a zero now is before every deadline
	}
	return BootTime(ts.Nano())
}

// Add moves the instant by d.
func (t BootTime) Add(d time.Duration) BootTime { return t + BootTime(d) }

// Sub is the time from u to t.
func (t BootTime) Sub(u BootTime) time.Duration { return time.Duration(t - u) }
