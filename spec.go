package rota

import (
	"encoding/json"
	"time"
)

// Driver is how a node executes a task.
type Driver string

// The drivers. The others of the language are refused until they are built.
const (
	DriverExec Driver = "exec" // a process of the node
	DriverNoop Driver = "noop" // ends at once, well
)

// TaskSpec is what a task asks for: everything a job file says of it, with
// variables, locals and its instance's values already put in. It is immutable and
// shared by the tasks whose specs are equal.
type TaskSpec struct {
	Type         string // free label for routing, metrics, history; may be empty
	Driver       Driver
	Priority     int // 0..100, 100 first
	Command      []string
	Env          []Pair          // sorted by key
	Workdir      string          // absolute, or empty for a fresh directory per attempt
	Input        json.RawMessage // a JSON object, written to ROTA_INPUT; nil: none
	Output       OutputType      // empty: the task declares no output
	Resources    Resources
	Capabilities []string // sorted
	Constraints  []Constraint
	Affinities   []Affinity // in the order of the file
	Spreads      []Spread   // the same
	// DistinctHosts keeps the task off nodes where a task of the same run and label
	// holds room.
	DistinctHosts bool
	Retry         Retry
	Timeouts      Timeouts
	Stop          Stop
	Rerun         Rerun
	AllowFailure  bool // a failure neither fails the run nor skips dependents
	// Late names the attributes whose expressions mention other tasks. While it is
	// not empty the task cannot be queued: the leader evaluates them when the
	// dependencies are over and commits the finished spec (operation Resolve).
	Late []string
}

// OutputType is the declared type of a task's output.
type OutputType string

// The output types.
const (
	OutputText OutputType = "text"
	OutputJSON OutputType = "json"
)

// Rerun says what becomes of a task whose attempt was lost with its node.
type Rerun string

// The choices; the zero value means always.
const (
	RerunAlways Rerun = "always"
	RerunAsk    Rerun = "ask"   // waits for a person, reason outcome_unknown
	RerunNever  Rerun = "never" // dead letter, cause node_lost
)

// Stop is how a process is asked to end before it is killed.
type Stop struct {
	Signal string        // SIGTERM unless said otherwise
	Grace  time.Duration // then SIGKILL
}

// Timeouts bound an attempt; zero means no bound.
type Timeouts struct {
	ScheduleToStart time.Duration // queued to started
	StartToClose    time.Duration // one attempt
	ScheduleToClose time.Duration // first queued to the end of the last attempt
}

// Backoff is how the delay before a retry grows.
type Backoff string

// The kinds of backoff.
const (
	BackoffNone        Backoff = "none"
	BackoffFixed       Backoff = "fixed"
	BackoffExponential Backoff = "exponential"
)

// Retry is a task's retry policy.
type Retry struct {
	MaxAttempts     int // attempts that count (Cause.UsesAttempt), at least 1
	Backoff         Backoff
	Initial         time.Duration
	Max             time.Duration
	MultiplierMilli int64   // 2000 doubles the delay each time
	Jitter          bool    // the delay is drawn from its upper half
	On              []Cause // retried causes; nil: every cause with RetriedByDefault
}

// Retries reports whether the policy retries a failure of this cause at all.
func (r *Retry) Retries(c Cause) bool {
	if r.On == nil {
		return c.RetriedByDefault()
	}
	for _, on := range r.On {
		if on == c {
			return true
		}
	}
	return false
}

// Delay is the wait before the retry that follows the n-th counted failure (from
// 1). draw is a random number chosen outside the state machine.
func (r *Retry) Delay(n int, draw uint64) time.Duration {
	d := r.Initial
	switch r.Backoff {
	case BackoffNone:
		return 0
	case BackoffFixed:
	case BackoffExponential:
		for range n - 1 {
			if d >= r.Max {
				break
			}
			d = scaleMilli(d, r.MultiplierMilli)
		}
	}
	if r.Max > 0 && d > r.Max {
		d = r.Max
	}
	if r.Jitter && d > 1 {
		half := uint64(d / 2)
		d = time.Duration(half + draw%(uint64(d)-half+1))
	}
	return d
}

// scaleMilli multiplies by thousandths and stays at the largest duration instead
// of overflowing.
func scaleMilli(d time.Duration, milli int64) time.Duration {
	const largest = time.Duration(1<<63 - 1)
	if milli > 0 && d > largest/time.Duration(milli) {
		return largest
	}
	return d * time.Duration(milli) / 1000
}

// EdgeKind is what a dependency waits for.
type EdgeKind uint8

// The kinds of edges.
const (
	EdgeDelivered EdgeKind = iota // delivered; anything else terminal skips the dependent
	EdgeAny                       // any terminal state
	EdgeFailure                   // dead-lettered or cancelled; delivered skips the dependent
)

var edgeNames = [...]string{"delivered", "any", "failure"}

func (k EdgeKind) String() string { return nameOf(edgeNames[:], uint8(k)) }

// Edge is a dependency on another task of the same run.
type Edge struct {
	On   TaskKey
	Kind EdgeKind
}

// NewTask is a task of a submission: its key, the index of its spec in the
// submission's list, and what it depends on (sorted by key, no key twice).
type NewTask struct {
	Key       TaskKey
	Spec      int
	DependsOn []Edge
}

// OnTaskFailure says what a run does after a task failed for good.
type OnTaskFailure string

// The choices; the zero value means continue.
const (
	FailureContinue OnTaskFailure = "continue"
	FailureCancel   OnTaskFailure = "cancel"
)

// Job is one job of a file, checked and expanded with one set of variables: ready
// to be submitted as a run.
type Job struct {
	Name          string
	Namespace     string // empty: the submitter's
	Priority      int
	OnTaskFailure OnTaskFailure
	Specs         []*TaskSpec // no two equal
	Tasks         []NewTask   // in the order of the file, instances in axis order
}

// Limits of a submission (DESIGN.md, section 12).
const (
	MaxSourceBytes  = 1 << 20
	MaxTasksPerRun  = 10_000
	MaxInlineOutput = 64 << 10
	MaxArgumentByte = 128 << 10
	MaxSpecValues   = 256 << 10 // evaluated values of one task
)
