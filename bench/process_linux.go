package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond of the times in /proc: the kernel's interface has had this number
// on every machine Go runs on.
const ticksPerSecond = 100

// cpuTime is what a process has used of the cores, in itself and for its calls.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may hold anything
	if len(fields) < 13 {
		return 0, fmt.Errorf("look at process %d: %q", pid, b)
	}
	ticks := int64(0)
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("look at process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// resident is the memory of a process, in bytes, with what it has mapped of files.
func resident(pid int) (int64, error) { return memoryOf(pid, "VmRSS:") }

// anonymous is the memory of a process without files, such as the log's.
func anonymous(pid int) (int64, error) { return memoryOf(pid, "RssAnon:") }

func memoryOf(pid int, what string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == what {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("look at process %d: it has no %s", pid, what)
}
