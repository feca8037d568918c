package fsm

import (
	"time"

	"github.com/rota-sched/rota"
)

// Limits bound what the state keeps and admits. They are part of the rules: every
// replica of a cluster has the same ones, so they are constants of the binary and
// change only with a format version. Tests make them small.
type Limits struct {
	MaxFormat       uint16        // newest format version this binary can apply
	SubmitFor       time.Duration // a chunked submission that has not arrived whole by then is given up
	KeepRequests    time.Duration // idempotency keys
	KeepRuns        time.Duration // terminal runs
	KeepRunsCount   int           // terminal runs of one namespace
	KeepTasksCount  int           // their tasks; the run that ended last stays
	KeepNodes       time.Duration // nodes without a session
	MaxNodes        int
	MaxLiveTasks    int   // of runs that have not ended
	MaxRequests     int   // idempotency keys kept
	MaxPendingTasks int   // of submissions that have not arrived whole
	MaxRunOutput    int64 // bytes of inline outputs of one run
	MaxOutput       int64 // bytes of inline outputs of the cluster; above it nothing is admitted
	MaxNodeLost     int   // attempts a task may lose with their nodes
	MaxPreempted    int   // attempts a task may lose to others
	MaxThrottled    time.Duration
	PoisonWithin    time.Duration // a node lost that soon after a start may have died of it
	PoisonNodes     int
	FreeGiveBacks   int // give-backs in a row without a delay
}

// DefaultLimits are those of DESIGN.md section 12, JOBSPEC.md section 2
// ("Defaults") and DESIGN.md section 7.
func DefaultLimits() Limits {
	return Limits{
		MaxFormat:       rota.FormatPlacement,
		SubmitFor:       time.Minute,
		KeepRequests:    24 * time.Hour,
		KeepRuns:        7 * 24 * time.Hour,
		KeepRunsCount:   100_000,
		KeepTasksCount:  1_000_000,
		KeepNodes:       7 * 24 * time.Hour,
		MaxNodes:        10_000,
		MaxLiveTasks:    1_000_000,
		MaxRequests:     2_000_000,
		MaxPendingTasks: 200_000,
		MaxRunOutput:    16 << 20,
		MaxOutput:       1 << 30,
		MaxNodeLost:     20,
		MaxPreempted:    100,
		MaxThrottled:    24 * time.Hour,
		PoisonWithin:    time.Minute,
		PoisonNodes:     3,
		FreeGiveBacks:   3,
	}
}
