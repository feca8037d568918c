package history

import "github.com/rota-sched/rota"

// EventOf turns a change into the event that the outside sees, without its ID.
// False: the change is the scheduler's and the streams' alone.
func EventOf(c *rota.Change) (rota.Event, bool) {
	if !isEvent(c) {
		return rota.Event{}, false
	}
	e := rota.Event{At: c.At, Type: c.Type, Attempt: c.Attempt}
	e.Run, e.Task = subject(c)
	facts := factsOf(nil, c)
	e.Data = make(map[string]any, len(facts))
	for _, f := range facts {
		e.Data[f.key] = f.value()
	}
	return e, true
}

func isEvent(c *rota.Change) bool {
	switch c.Type {
	case rota.ChangeRoom, rota.ChangeHold, rota.ChangeHoldReleased, rota.ChangeRenewed, rota.ChangeTaskResolved, rota.ChangeTaskUnresolved:
		return false
	case rota.ChangeRunCreated, rota.ChangeRunFinished, rota.ChangeRunPurged, rota.ChangeRunStatus:
		return c.Run != nil
	case rota.ChangeNode:
		return c.Node != nil
	default:
		return c.Task != nil
	}
}

// subject is the run and the task that an event is about.
func subject(c *rota.Change) (rota.RunID, rota.TaskKey) {
	switch c.Type {
	case rota.ChangeRunCreated, rota.ChangeRunFinished, rota.ChangeRunPurged, rota.ChangeRunStatus:
		return c.Run.ID, ""
	case rota.ChangeNode:
		return "", ""
	default:
		return c.Task.ID.Run, c.Task.ID.Key
	}
}

// fact is one entry of an event's data: a text, or a number without one.
type fact struct {
	key    string
	text   string
	number int64
	isText bool
}

func (f fact) value() any {
	if f.isText {
		return f.text
	}
	return f.number
}

func text[T ~string](key string, v T) fact { return fact{key: key, text: string(v), isText: true} }

// factsOf appends what an event says beside its type and subject.
func factsOf(out []fact, c *rota.Change) []fact {
	switch c.Type {
	case rota.ChangeRunCreated, rota.ChangeRunFinished, rota.ChangeRunPurged, rota.ChangeRunStatus:
		r := c.Run
		out = append(out, text("namespace", r.Namespace), text("job", r.Job), fact{key: "version", number: int64(r.Version)}, text("status", r.Status.String()))
		if r.Reason != "" {
			out = append(out, text("reason", r.Reason))
		}
		return out
	case rota.ChangeNode:
		return append(out, text("node", c.Node.ID), text("name", c.Node.Name), text("state", c.Node.State()))
	default:
		return taskFacts(out, c)
	}
}

// taskFacts says of a step what its record said then: where it ran, and for a step
// that did not go well, why.
func taskFacts(out []fact, c *rota.Change) []fact {
	t := c.Task
	out = append(out, text("from", c.From.String()))
	a := attemptOf(c)
	if a != nil {
		out = append(out, text("node", a.NodeName))
	}
	switch c.Type { // the steps that went well have no more to say
	case rota.ChangeTaskLate:
		if a != nil {
			out = endFacts(out, a.Cause, a.Message, a.ExitCode)
		}
	case taskFailed, taskDeadLettered:
		out = endFacts(out, t.Cause, t.Message, t.ExitCode)
	case taskRetrying, taskWaiting, taskPaused, taskSkipped, taskCancelled:
		if !t.Why.IsZero() {
			out = append(out, text("reason", t.Why.Code), text("message", t.Why.Text))
		}
	default:
	}
	return out
}

// Types of changes that have a reason to give: rota.TaskChange of the statuses.
const (
	taskFailed       rota.ChangeType = "task.failed"
	taskDeadLettered rota.ChangeType = "task.dead_lettered"
	taskRetrying     rota.ChangeType = "task.retrying"
	taskWaiting      rota.ChangeType = "task.waiting"
	taskPaused       rota.ChangeType = "task.paused"
	taskSkipped      rota.ChangeType = "task.skipped"
	taskCancelled    rota.ChangeType = "task.cancelled"
)

func endFacts(out []fact, cause rota.Cause, message string, exit int) []fact {
	if cause == rota.CauseNone {
		return out
	}
	out = append(out, text("cause", cause.String()), text("message", message))
	if exit != 0 {
		out = append(out, fact{key: "exit_code", number: int64(exit)})
	}
	return out
}

// attemptOf finds the attempt that the change is about: among the late results for
// one of those.
func attemptOf(c *rota.Change) *rota.Attempt {
	list := c.Task.Attempts
	if c.Type == rota.ChangeTaskLate {
		list = c.Task.Late
	}
	for i := len(list) - 1; i >= 0 && c.Attempt > 0; i-- {
		if list[i].Number == c.Attempt {
			return &list[i]
		}
	}
	return nil
}

// entry is an applied entry on its way to the file, and at hand for who follows.
type entry struct {
	incarnation uint16
	applied     rota.Applied
	events      int
}

func (e *entry) last() ID { return After(e.incarnation, e.applied.Index) }

// batch makes the events of an entry, as they are read back from the file.
func (e *entry) batch() batch {
	b := batch{incarnation: e.incarnation, index: e.applied.Index, at: e.applied.At, events: make([]rota.Event, 0, e.events)}
	for i := range e.applied.Changes {
		if ev, ok := EventOf(&e.applied.Changes[i]); ok {
			ev.ID, ev.Index, ev.At = b.id(), b.index, b.at
			b.events = append(b.events, ev)
		}
	}
	return b
}
