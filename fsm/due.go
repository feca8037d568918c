package fsm

import "github.com/rota-sched/rota"

// maxPurgedPerDue bounds the tasks that one Due lets leave with their runs; the
// rest stays due.
const maxPurgedPerDue = 20_000

// due does what timers are due for, the earliest first.
func (s *State) due() rota.Result {
	purged := 0
	for range rota.MaxDuePerEntry {
		t, ok := s.nextTimer()
		if !ok || t.at > s.meta.now || purged >= maxPurgedPerDue {
			break
		}
		if t.kind == timerRequest {
			s.dropOldestRequest()
			continue
		}
		s.timers.Delete(t)
		switch t.kind {
		case timerRequest: // above
		case timerTask:
			s.taskDue(t)
			s.settle() // moves the task's timer on
		case timerPending:
			if it, ok := s.pending.Get(pendingItem{run: rota.RunID(t.id)}); ok {
				s.dropPending(it.rec)
				s.forgetSubmission(it.rec)
			}
		case timerRun:
			if r := s.runAt(t.pos.run); r != nil {
				purged += max(1, r.Total)
				s.purge(r)
			}
		case timerNode:
			s.forgetNode(rota.NodeID(t.id))
		}
	}
	return rota.Result{}
}

// nextTimer is what is due first.
func (t *tables) nextTimer() (timer, bool) {
	first, ok := t.timers.Min()
	if oldest, some := t.ages.Min(); some {
		age := timer{at: oldest.rec.at.Add(t.keepRequests), kind: timerRequest}
		if !ok || age.compare(first) < 0 {
			return age, true
		}
	}
	return first, ok
}

// taskDue: a retry's delay is over, or a timeout has passed.
func (s *State) taskDue(due timer) {
	t := s.taskAt(due.pos)
	if t == nil || t.DueAt != due.at {
		return
	}
	t = s.edit(t)
	now, limits := s.meta.now, &t.Spec.Timeouts
	switch {
	case limits.ScheduleToClose > 0 && t.FirstQueued.Add(limits.ScheduleToClose) <= now:
		s.fail(t, failure{
			cause: rota.CauseTimeoutTotal, final: true, gaveUp: true,
			message: "not done " + limits.ScheduleToClose.String() + " after it was first queued (schedule_to_close)",
		})
	case t.Status == rota.StatusRetrying:
		s.retryNow(t)
	default:
		s.fail(t, failure{
			cause: rota.CauseTimeoutStart, gaveUp: true,
			message: "not started " + limits.ScheduleToStart.String() + " after it was queued (schedule_to_start)",
		})
	}
	s.follow()
}

// retire lets the clock of retention run for an ended run, and the oldest of its
// namespace leave when there are too many.
func (s *State) retire(r *run) {
	s.ended.Set(endedItem{namespace: r.Namespace, at: r.FinishedAt, number: r.number})
	s.timers.Set(s.runTimer(r))
	s.keep(r, 1)
	for s.kept[r.Namespace].over(&s.limits) {
		var oldest *run
		s.ended.Ascend(endedItem{namespace: r.Namespace}, func(it endedItem) bool {
			oldest = s.runAt(it.number)
			return false
		})
		s.timers.Delete(s.runTimer(oldest))
		s.purge(oldest)
	}
}

// kept counts the ended runs of a namespace.
type kept struct{ runs, tasks int }

// over reports whether the oldest must leave.
func (k kept) over(l *Limits) bool {
	return k.runs > l.KeepRunsCount || k.tasks > l.KeepTasksCount && k.runs > 1
}

// keep counts an ended run in, or out with a sign of -1.
func (s *State) keep(r *run, sign int) {
	k := s.kept[r.Namespace]
	k.runs += sign
	k.tasks += sign * r.Total
	if k.runs == 0 {
		delete(s.kept, r.Namespace)
		return
	}
	s.kept[r.Namespace] = k
}

func (s *State) runTimer(r *run) timer {
	return timer{at: r.FinishedAt.Add(s.limits.KeepRuns), kind: timerRun, pos: taskPos{run: r.number}}
}

// purge lets an ended run leave with its tasks. What attempts of it still hold on
// a node stays held until that node or its session gives it back.
func (s *State) purge(r *run) {
	for order := range r.Total {
		it, _ := s.tasks.Delete(taskItem{taskPos: taskPos{run: r.number, order: order}})
		s.sum = s.sum.sub(it.rec.sum)
		s.counts[it.rec.Status]--
	}
	s.runs.Delete(runItem{number: r.number})
	s.runIDs.Delete(runIDItem{id: r.ID})
	s.ended.Delete(endedItem{namespace: r.Namespace, at: r.FinishedAt, number: r.number})
	s.keep(r, -1)
	s.sum = s.sum.sub(r.sum)
	s.output -= r.output
	s.unrefVersion(r.Namespace, r.Job, r.Version)
	s.emit(rota.Change{Type: rota.ChangeRunPurged, Run: &r.Run})
}
