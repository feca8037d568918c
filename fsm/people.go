package fsm

import "github.com/rota-sched/rota"

// What people and the leader ask of runs and tasks beside the ordinary way.

func (s *State) cancelRun(op *rota.CancelRun) rota.Result {
	r := s.runByID(op.Run)
	switch {
	case r == nil:
		return refused(rota.KindNotFound, "no run "+string(op.Run))
	case r.Status.Terminal():
		return refused(rota.KindEnded, "run "+string(op.Run)+" has ended: "+r.Status.String())
	}
	r = s.editRun(r.number)
	r.cancelled = true
	r.Reason = orWords(cleanText(op.Reason), "cancelled")
	why := rota.Reason{Code: rota.ReasonCancelled, Text: r.Reason}
	for order := range r.Total {
		if t := s.taskAt(taskPos{run: r.number, order: order}); !t.Status.Terminal() {
			s.cancel(s.edit(t), why)
		}
	}
	s.follow()
	return rota.Result{}
}

func (s *State) cancelTask(op *rota.CancelTask) rota.Result {
	t := s.taskByID(op.Task)
	switch {
	case t == nil:
		return refused(rota.KindNotFound, "no task "+op.Task.String())
	case t.Status.Terminal():
		return refused(rota.KindEnded, "task "+op.Task.String()+" has ended: "+t.Status.String())
	}
	s.cancel(s.edit(t), rota.Reason{Code: rota.ReasonCancelled, Text: orWords(cleanText(op.Reason), "cancelled")})
	s.follow()
	return rota.Result{}
}

// answer settles a task whose last attempt was lost with an unknown outcome.
func (s *State) answer(op *rota.Answer) rota.Result {
	t := s.taskByID(op.Task)
	switch {
	case t == nil:
		return refused(rota.KindNotFound, "no task "+op.Task.String())
	case t.Status.Terminal():
		return refused(rota.KindEnded, "task "+op.Task.String()+" has ended: "+t.Status.String())
	case t.Status != rota.StatusWaiting || t.Why.Code != rota.ReasonOutcomeUnknown:
		return refused(rota.KindConflict, "task "+op.Task.String()+" does not wait for an answer: it is "+t.Status.String())
	}
	t = s.edit(t)
	if op.Rerun {
		s.enqueue(t)
	} else {
		s.bury(t)
		s.follow()
	}
	return rota.Result{}
}

// resolve takes the evaluated late expressions of a task.
func (s *State) resolve(op *rota.Resolve) rota.Result {
	t := s.taskByID(op.Task)
	switch {
	case t == nil:
		return refused(rota.KindNotFound, "no task "+op.Task.String())
	case t.Status.Terminal():
		return refused(rota.KindEnded, "task "+op.Task.String()+" has ended: "+t.Status.String())
	case !t.isUnresolved():
		return refused(rota.KindStale, "task "+op.Task.String()+" does not wait for expressions: it is "+t.Status.String())
	}
	switch {
	case op.Failure != "":
		t = s.edit(t)
		s.fail(t, failure{cause: rota.CauseExpression, message: cleanText(op.Failure), final: true})
	case op.Skip:
		s.skip(s.edit(t), rota.Reason{Code: rota.ReasonWhen, Text: "its condition was false"})
	default:
		if kind, detail := s.checkSpec(op.Spec); kind != rota.KindNone {
			return refused(kind, "the evaluated spec of task "+op.Task.String()+": "+detail)
		}
		if len(op.Spec.Late) > 0 {
			return refused(rota.KindInvalid, "the evaluated spec of task "+op.Task.String()+" still has late expressions")
		}
		t = s.edit(t)
		t.Spec, t.specAt = op.Spec, ownSpec
		s.w.buf = appendTaskFixed(s.w.buf[:0], t)
		t.fixed = hash(kindTask, s.w.buf)
		s.emit(rota.Change{Type: rota.ChangeTaskResolved, Task: &t.Task, From: t.Status})
		s.enqueue(t)
	}
	s.follow()
	return rota.Result{}
}

func orWords(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
