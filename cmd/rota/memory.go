package main

import (
	"os"
	"runtime/debug"

	"github.com/rota-sched/rota/hostinfo"
)

// Settings of the garbage collector for a node. Most of a loaded node's garbage
// lives for one log entry. 300 took CPU time off a task (docs/PERFORMANCE.md) and
// tripled what the heap keeps beside; 200, in between, was not measured by itself. Near the limit it collects as often as it
// must, so that a heap of many live tasks does not take the machine.
const (
	gcPercent   = 200
	memoryShare = 2 // the limit is the machine's memory divided by it
)

// tuneMemory sets the collector for a process that is a node, with its bound in bytes;
// 0: a part of the machine's memory. GOGC wins, and GOMEMLIMIT where no bound is given.
func tuneMemory(bound int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if bound > 0 {
		debug.SetMemoryLimit(bound)
		return
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if facts, err := hostinfo.Detect("/"); err == nil && facts.MemoryBytes > 0 {
		debug.SetMemoryLimit(facts.MemoryBytes / memoryShare)
	}
}
