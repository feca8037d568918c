package keeper

import (
	"encoding/json"
	"fmt"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
)

// Ref names one attempt: what is started once and never twice.
type Ref struct {
	Task  rota.TaskID `json:"task"`
	Fence rota.Fence  `json:"fence"`
}

// String is for logs: RUN/KEY@fence.
func (r Ref) String() string { return r.Task.String() + "@" + r.Fence.String() }

// ViewMark is the place of a view in the order of all views.
type ViewMark struct {
	Incarnation uint16 `json:"incarnation"`
	Index       uint64 `json:"index"`
}

// Less reports whether v is older than o.
func (v ViewMark) Less(o ViewMark) bool {
	if v.Incarnation != o.Incarnation {
		return v.Incarnation < o.Incarnation
	}
	return v.Index < o.Index
}

// State is the point an attempt has reached in the keeper.
type State string

// The states of an attempt, in order.
const (
	StateStarting State = "starting" // noted, not yet started
	StateRunning  State = "running"
	StateClearing State = "clearing" // its main process ended, what it left behind is being ended
	StateExited   State = "exited"   // nothing of it is alive; kept until acknowledged
)

// Why says what made the keeper end an attempt.
type Why string

// The reasons. Empty: it ended by itself.
const (
	WhyAsked    Why = "asked"      // by the agent
	WhyDeadline Why = "deadline"   // the lease ran out
	WhyGone     Why = "agent_gone" // the agent went and did not come back
	WhyEnded    Why = "session"    // the agent ended the session, or began another
)

// Exit is how a main process ended.
type Exit struct {
	Code   int            `json:"code"`             // exit code; 128+signal if killed, as shells say it
	Signal syscall.Signal `json:"signal,omitempty"` // that killed it; 0: none
	OOM    bool           `json:"oom,omitempty"`    // killed by the kernel for memory, as far as its counters tell
}

// String says it in words.
func (e Exit) String() string {
	switch {
	case e.OOM:
		return "killed by the kernel: out of memory"
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), SignalName(e.Signal))
	default:
		return fmt.Sprintf("exit code %d", e.Code)
	}
}

// Output counts what an attempt wrote.
type Output struct {
	StdoutBytes  int64 `json:"stdout_bytes"`
	StderrBytes  int64 `json:"stderr_bytes"`
	DroppedBytes int64 `json:"dropped_bytes"` // of both, beyond the log's bound or for want of disk
}

// Attempt is what the keeper knows of one attempt. It is a plain value: a copy of
// the table's entry at one moment.
type Attempt struct {
	Ref
	Session   rota.Session    `json:"session"`
	State     State           `json:"state"`
	PID       int             `json:"pid"` // in the keeper's PID namespace
	StartedAt BootTime        `json:"started_at"`
	EndedAt   BootTime        `json:"ended_at"` // when its main process was reaped; 0: not yet
	Exit      Exit            `json:"exit"`
	Why       Why             `json:"why,omitempty"`
	Reason    string          `json:"reason,omitempty"` // of whoever asked for the end
	Killed    bool            `json:"killed,omitempty"` // SIGKILL was sent, the polite signal was not enough
	Unreaped  bool            `json:"unreaped,omitempty"`
	Output    Output          `json:"output"`
	Meta      json.RawMessage `json:"meta,omitempty"` // the starter's own words, handed back as they were
}

// Running reports whether something of the attempt may be alive.
func (a *Attempt) Running() bool { return a.State != StateExited }

// Ran is how long the main process lived; so far, for one that lives.
func (a *Attempt) Ran(now BootTime) time.Duration {
	if a.EndedAt != 0 {
		now = a.EndedAt
	}
	if a.StartedAt == 0 {
		return 0
	}
	return now.Sub(a.StartedAt)
}
