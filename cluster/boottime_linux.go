package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the clock that nobody can set and that goes on in suspend, which Go's
// own monotonic clock does not.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return wallTime()
	}
	return time.Duration(ts.Nano())
}
