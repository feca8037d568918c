package rota

import (
	"encoding/json"
	"time"
)

// Task is one node of a run's graph as the state machine knows it. Records are
// immutable: a change makes a new one.
type Task struct {
	ID        TaskID
	Namespace string
	Order     int // position in the run, from 0
	Spec      *TaskSpec
	DependsOn []Edge
	Status    Status
	// OpenDeps is how many of DependsOn have not ended yet.
	OpenDeps int
	// ReturnTo is where a waiting or paused task goes on.
	ReturnTo Status
	// Why is a code for a task that waits, was skipped or cancelled, with its
	// words: dependency names, limits. Empty otherwise.
	Why Reason

	Attempt      uint64 // number of the newest placement; 0: never placed
	AttemptsUsed int    // attempts that count against max_attempts
	Losses       int    // attempts that ended without counting
	Placement    *Placement
	Attempts     []Attempt // newest last, the last MaxAttemptsKept
	Late         []Attempt // results of superseded attempts, kept beside

	Cause    Cause
	Message  string
	ExitCode int
	Output   json.RawMessage // JSON text; a text output is a JSON string; nil: none

	CreatedAt   Instant
	QueuedAt    Instant // last time it became ready
	FirstQueued Instant // where schedule_to_close starts
	StartedAt   Instant // of the latest attempt
	FinishedAt  Instant
	DueAt       Instant // when the state machine acts by itself: a retry or a timeout; 0: never
	Usage       Usage   // of all attempts
}

// MaxAttemptsKept bounds the attempts a task's record remembers.
const MaxAttemptsKept = 20

// Fence is the task's current fence: a report counts if it names this one and
// the task has not ended. It stays current until the next placement commits.
func (t *Task) Fence(incarnation uint16) Fence { return NewFence(incarnation, t.Attempt) }

// Placement is where the present attempt of a task is.
type Placement struct {
	Task    TaskID
	Fence   Fence
	Node    NodeID
	Session Session
	GPUs    []GPUGrant
	At      Instant
}

// Attempt is one placement of a task and how it went.
type Attempt struct {
	Number     uint64
	Fence      Fence
	Node       NodeID
	NodeName   string
	Cause      Cause
	Message    string
	ExitCode   int
	PlacedAt   Instant
	StartedAt  Instant
	FinishedAt Instant
	Usage      Usage
}

// Outcome is how an attempt ended, as its node reports it.
type Outcome struct {
	Cause        Cause // CauseNone: it ended well
	ExitCode     int
	Message      string // one line for people; at most 1 KiB
	Output       json.RawMessage
	Ran          time.Duration // start to end on the node's monotonic clock
	Usage        Usage
	DroppedBytes int64 // of stdout and stderr, beyond the log's bound
	// Final: the failure is not retried, whatever the policy says, since it would
	// come out the same (an output over its limit).
	Final bool
}

// Reason says why something waits or did not happen: a code for programs, words
// with numbers for people.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// IsZero reports whether there is no reason.
func (r Reason) IsZero() bool { return r == Reason{} }

// Codes of reasons.
const (
	ReasonDependencies   = "dependencies"    // waits for other tasks
	ReasonExpressions    = "expressions"     // waits for the leader to evaluate late expressions
	ReasonNoRoom         = "no_room"         // nodes fit, none has the room now
	ReasonNoNode         = "no_node"         // no node of the cluster could ever take it
	ReasonOrder          = "order"           // others come first
	ReasonBackoff        = "backoff"         // retries later
	ReasonOutcomeUnknown = "outcome_unknown" // a lost attempt, rerun = ask
	ReasonDependency     = "dependency"      // skipped: a dependency did not deliver
	ReasonWhen           = "when"            // skipped: the condition was false
	ReasonCancelled      = "cancelled"       // by a person
	ReasonTaskFailed     = "task_failed"     // cancelled: another task failed and on_task_failure = cancel
)
