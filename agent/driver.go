package agent

import (
	"cmp"
	"context"
	"errors"

	"github.com/rota-sched/rota"
)

// ErrLost says that an attempt cannot be followed any more: its driver cannot
// adopt, or what held it is gone. What became of it is not known.
var ErrLost = errors.New("the attempt is lost")

// ErrUnreaped says that an attempt has ended for its task but something of it is
// still alive (a process in uninterruptible sleep). Its room is not free.
var ErrUnreaped = errors.New("something of the attempt is still alive")

// ErrNoLease says that nothing was started because the node's lease does not
// cover it (the keeper refused). The agent tries again when it does.
var ErrNoLease = errors.New("the lease does not cover a start")

// ErrUnfit says that nothing was started because of something that is wrong with
// the node: a full disk, no more processes. The attempt is given back, and the
// node takes nothing until it is well again.
var ErrUnfit = errors.New("the node cannot start it")

// Task is one attempt as a driver sees it.
type Task struct {
	rota.Assignment
	Node     rota.NodeID
	NodeName string
	Addr     string // the node's HTTP door, for ROTA_ADDR: http://host:port
	// Dir is the attempt's own directory (see Layout). It does not exist until
	// the driver calls Prepare; a driver that writes nothing never makes it.
	Dir string
	// StartedAt is when the agent handed it to the driver; after an adoption the
	// moment its predecessor did.
	StartedAt BootTime
}

// Ref names one attempt on this node.
type Ref struct {
	Task  rota.TaskID
	Fence rota.Fence
}

// compare orders by task, then fence.
func (r Ref) compare(o Ref) int {
	if n := r.Task.Compare(o.Task); n != 0 {
		return n
	}
	return cmp.Compare(r.Fence, o.Fence)
}

// Ref names the attempt.
func (t *Task) Ref() Ref { return Ref{Task: t.Task, Fence: t.Fence} }

// Driver executes attempts of one kind. Its methods are called from several
// goroutines. A new one passes agenttest.Exercise.
type Driver interface {
	Name() rota.Driver

	// Start begins the attempt and returns at once; the attempt outlives ctx,
	// which bounds the call only. A refusal of the task itself (command or working
	// directory missing) is an error made with Refuse: it becomes the outcome, with
	// that cause. ErrNoLease gives it back to be started later, ErrUnfit to be started
	// elsewhere. Any other error is an outcome with CauseInternal. After an error nothing of the attempt is alive. An attempt that is over already returns
	// Finished.
	Start(ctx context.Context, t Task, sink Sink) (Handle, error)

	// Adopt takes over an attempt that the node's keeper still holds, running or
	// ended, from an agent before this one. ErrLost: it cannot be followed. A task
	// whose Spec has no command is adopted only to be stopped (its record was
	// unreadable).
	Adopt(ctx context.Context, t Task, sink Sink) (Handle, error)
}

// Forgetter is a Driver that wants to know of attempts whose end the cluster has
// taken in: nobody will adopt them, and of what they left only the logs are asked for.
type Forgetter interface{ Forget(refs []Ref) }

// Handle is an attempt that a driver started.
type Handle interface {
	// Wait returns how the attempt ended, after everything of it is dead. It may be
	// called again after an error: ctx's own, ErrLost (never again anything else),
	// or ErrUnreaped, beside which the outcome is valid; the call after that
	// returns when the rest is dead too.
	Wait(ctx context.Context) (rota.Outcome, error)

	// Stop asks the attempt to end, politely for how.Grace and then not, and
	// returns without waiting for it. Wait's outcome then carries cause, unless the
	// attempt had ended before. Stopping twice is allowed and may only make it
	// quicker; stopping what has ended does nothing.
	Stop(ctx context.Context, how rota.Stop, cause rota.Cause) error
}

// Finished is the handle of an attempt that ended while it was started: no
// goroutine waits on it.
type Finished struct{ Outcome rota.Outcome }

// Wait returns the outcome.
func (f Finished) Wait(context.Context) (rota.Outcome, error) { return f.Outcome, nil }

// Stop does nothing.
func (f Finished) Stop(context.Context, rota.Stop, rota.Cause) error { return nil }

// Sink takes what an attempt says while it runs. Its methods never block and may
// be called until Wait has returned.
type Sink interface {
	// Usage replaces what the attempt is known to have consumed so far.
	Usage(u rota.Usage)
	// Note is one line about the attempt for the node's log.
	Note(text string)
}

// refusal is an error of Start that is the task's own fault.
type refusal struct {
	cause rota.Cause
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// Refuse makes the error by which Start gives the attempt an outcome with this
// cause; err's text becomes its message.
func Refuse(cause rota.Cause, err error) error { return &refusal{cause: cause, err: err} }

// StartOutcome is the outcome that an error of Start stands for.
func StartOutcome(err error) rota.Outcome {
	out := rota.Outcome{Cause: rota.CauseInternal, Message: clip(err.Error(), MaxMessageBytes)}
	var r *refusal
	if errors.As(err, &r) {
		out.Cause = r.cause
	}
	return out
}

// MaxMessageBytes bounds an outcome's message.
const MaxMessageBytes = 1 << 10

// clip cuts s to at most n bytes, at the start of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
