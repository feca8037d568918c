package main

import (
	"os"
	"runtime/debug"

	"github.com/rota-sched/rota/hostinfo"
)

// memoryShare: the bound of a node's memory is the machine's divided by it, unless one is given.
const memoryShare = 2

// boundMemory sets the bound of a process that is a node, in bytes; 0: a part of the
// machine's memory, or GOMEMLIMIT where it is set. Near the bound the collector runs
// as often as it must.
func boundMemory(bound int64) {
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

// steersGC reports whether nodes may set the collector's pace: GOGC wins.
func steersGC() bool { return os.Getenv("GOGC") == "" }
