package history

import "github.com/rota-sched/rota"

// EventOf turns a change into the event that the outside sees, without its ID.
// False: the change is the scheduler's and the streams' alone.
func EventOf(c *rota.Change) (rota.Event, bool) {
	e := rota.Event{At: c.At, Type: c.Type, Attempt: c.Attempt}
	switch c.Type { //nolint:exhaustive // the rest are statuses of tasks
	case rota.ChangeRoom, rota.ChangeHold, rota.ChangeHoldReleased, rota.ChangeRenewed, rota.ChangeTaskResolved, rota.ChangeTaskUnresolved:
		return rota.Event{}, false
	case rota.ChangeRunCreated, rota.ChangeRunFinished, rota.ChangeRunPurged, rota.ChangeRunStatus:
		if c.Run == nil {
			return rota.Event{}, false
		}
		e.Run, e.Data = c.Run.ID, runData(c.Run)
	case rota.ChangeNode:
		if c.Node == nil {
			return rota.Event{}, false
		}
		e.Data = map[string]any{"node": string(c.Node.ID), "name": c.Node.Name, "state": string(c.Node.State())}
	default:
		if c.Task == nil {
			return rota.Event{}, false
		}
		e.Run, e.Task, e.Data = c.Task.ID.Run, c.Task.ID.Key, taskData(c)
	}
	return e, true
}

func runData(r *rota.Run) map[string]any {
	d := map[string]any{"namespace": r.Namespace, "job": r.Job, "version": int64(r.Version), "status": r.Status.String()}
	if r.Reason != "" {
		d["reason"] = r.Reason
	}
	return d
}

// taskData says of a step what its record said then: where it ran, and for a step
// that did not go well, why.
func taskData(c *rota.Change) map[string]any {
	t := c.Task
	d := map[string]any{"from": c.From.String()}
	a := attemptOf(c)
	if a != nil {
		d["node"] = a.NodeName
	}
	switch c.Type { //nolint:exhaustive // the steps that went well have no more to say
	case rota.ChangeTaskLate:
		if a != nil {
			addEnd(d, a.Cause, a.Message, a.ExitCode)
		}
	case rota.TaskChange(rota.StatusFailed), rota.TaskChange(rota.StatusDeadLettered):
		addEnd(d, t.Cause, t.Message, t.ExitCode)
	case rota.TaskChange(rota.StatusRetrying), rota.TaskChange(rota.StatusWaiting), rota.TaskChange(rota.StatusPaused),
		rota.TaskChange(rota.StatusSkipped), rota.TaskChange(rota.StatusCancelled):
		if !t.Why.IsZero() {
			d["reason"], d["message"] = t.Why.Code, t.Why.Text
		}
	}
	return d
}

func addEnd(d map[string]any, cause rota.Cause, message string, exit int) {
	if cause == rota.CauseNone {
		return
	}
	d["cause"], d["message"] = cause.String(), message
	if exit != 0 {
		d["exit_code"] = int64(exit)
	}
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
