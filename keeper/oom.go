package keeper

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// oomCounter watches the kernel's count of out-of-memory kills. It counts for the
// whole machine: a task killed by SIGKILL that nobody here sent, while the count
// rose, is taken for one of them.
type oomCounter struct {
	last int64
	at   time.Time // when a rise was last seen
}

// oomMemory is how long a rise is remembered: longer than from the kill to the
// reaping.
const oomMemory = 3 * time.Second

func newOOMCounter() oomCounter { return oomCounter{last: oomKills()} }

func (c *oomCounter) look(now time.Time) {
	if n := oomKills(); n > c.last {
		c.last, c.at = n, now
	}
}

func (c *oomCounter) recent(now time.Time) bool {
	c.look(now)
	return !c.at.IsZero() && now.Sub(c.at) < oomMemory
}

func oomKills() int64 {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if v, ok := strings.CutPrefix(string(line), "oom_kill "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64) // zero then: never taken for a rise
			return n
		}
	}
	return 0
}
