package rota

import "fmt"

// Status is the point of its life cycle that a task has reached. The words on
// the wire are DESIGN.md's, section 2.
type Status uint8

// The life cycle of a task. The zero Status is no status.
const (
	StatusCreated      Status = iota + 1 // dependencies open, or late expressions not yet evaluated
	StatusQueued                         // ready, wants a node
	StatusAssigned                       // placement committed
	StatusRunning                        // the attempt has started
	StatusCompleted                      // the attempt ended well, gates not passed yet
	StatusValidated                      // gates passed
	StatusDelivered                      // outputs durable and visible: the only success that releases dependents
	StatusFailed                         // applied together with what follows it; never rests
	StatusRetrying                       // waits for its backoff
	StatusDeadLettered                   // failed for good, waits for a person
	StatusWaiting                        // approval, event, sleep, window, unknown outcome
	StatusPaused                         // budget or operator
	StatusSkipped                        // not needed, or what it depends on did not deliver
	StatusCancelled
)

// Statuses lists every status in life-cycle order.
var Statuses = []Status{
	StatusCreated, StatusQueued, StatusAssigned, StatusRunning, StatusCompleted, StatusValidated, StatusDelivered,
	StatusFailed, StatusRetrying, StatusDeadLettered, StatusWaiting, StatusPaused, StatusSkipped, StatusCancelled,
}

var statusNames = [...]string{
	"", "created", "queued", "assigned", "running", "completed", "validated", "delivered",
	"failed", "retrying", "dead_lettered", "waiting", "paused", "skipped", "cancelled",
}

// Terminal reports whether a task with this status never changes again by itself.
func (s Status) Terminal() bool {
	return s == StatusDelivered || s == StatusSkipped || s == StatusCancelled || s == StatusDeadLettered
}

func (s Status) String() string { return nameOf(statusNames[:], uint8(s)) }

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Status) UnmarshalText(b []byte) error { return parseName(statusNames[:], b, "status", s) }

// RunStatus is the state of a run as a whole.
type RunStatus uint8

// The states of a run. RunSubmitting is never shown to readers: the run's last
// chunk of tasks has not been applied yet.
const (
	RunSubmitting RunStatus = iota + 1
	RunRunning
	RunWaiting // only a person or an event can move it
	RunPaused
	RunSucceeded
	RunFailed
	RunCancelled
)

var runStatusNames = [...]string{"", "submitting", "running", "waiting", "paused", "succeeded", "failed", "cancelled"}

// Terminal reports whether the run has ended.
func (s RunStatus) Terminal() bool { return s >= RunSucceeded }

func (s RunStatus) String() string { return nameOf(runStatusNames[:], uint8(s)) }

// MarshalText implements encoding.TextMarshaler.
func (s RunStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *RunStatus) UnmarshalText(b []byte) error {
	return parseName(runStatusNames[:], b, "run status", s)
}

// Cause says why an attempt failed; the set is closed (DESIGN.md, section 7). The
// zero Cause means that it did not fail.
type Cause uint8

// The causes of failed attempts.
const (
	CauseNone Cause = iota
	CauseExitNonzero
	CauseTimeoutStart
	CauseTimeoutRun
	CauseTimeoutTotal
	CauseStalled
	CauseNodeLost
	CausePreempted
	CauseOOM
	CauseRateLimited
	CauseOverloaded
	CauseNetwork
	CauseAuth
	CauseInvalidOutput
	CauseLowQuality
	CauseBudget
	CauseRefused // the driver would not start it: command, image or workdir missing
	CauseArtifact
	CauseExpression
	CauseInternal
	CauseCancelled
)

// Causes lists every cause but CauseNone.
var Causes = []Cause{
	CauseExitNonzero, CauseTimeoutStart, CauseTimeoutRun, CauseTimeoutTotal, CauseStalled, CauseNodeLost, CausePreempted,
	CauseOOM, CauseRateLimited, CauseOverloaded, CauseNetwork, CauseAuth, CauseInvalidOutput, CauseLowQuality, CauseBudget,
	CauseRefused, CauseArtifact, CauseExpression, CauseInternal, CauseCancelled,
}

var causeNames = [...]string{
	"", "exit_nonzero", "timeout_start", "timeout_run", "timeout_total", "stalled", "node_lost", "preempted",
	"oom", "rate_limited", "overloaded", "network", "auth", "invalid_output", "low_quality", "budget",
	"refused", "artifact", "expression", "internal", "cancelled",
}

func (c Cause) String() string { return nameOf(causeNames[:], uint8(c)) }

// MarshalText implements encoding.TextMarshaler.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Cause) UnmarshalText(b []byte) error { return parseName(causeNames[:], b, "cause", c) }

// ParseCause finds a cause by its word.
func ParseCause(s string) (Cause, error) {
	var c Cause
	err := c.UnmarshalText([]byte(s))
	return c, err
}

// UsesAttempt reports whether a failure of this cause counts against
// max_attempts. What the world around a task did to it does not.
func (c Cause) UsesAttempt() bool {
	switch c { // every other cause is the task's own
	case CauseRateLimited, CauseOverloaded, CauseNodeLost, CausePreempted, CauseNetwork:
		return false
	default:
		return true
	}
}

// RetriedByDefault reports whether a task that names no causes retries this one.
func (c Cause) RetriedByDefault() bool {
	switch c { // the list of exceptions is the rule (JOBSPEC.md, section 2)
	case CauseNone, CauseAuth, CauseRefused, CauseBudget, CauseExpression, CauseCancelled:
		return false
	default:
		return true
	}
}

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func parseName[T ~uint8](names []string, b []byte, what string, to *T) error {
	for i, n := range names {
		if n == string(b) {
			*to = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a %s", b, what)
}
