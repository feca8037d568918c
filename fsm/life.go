package fsm

import (
	"slices"
	"strconv"

	"github.com/rota-sched/rota"
)

// taskChanges are the change types by status, made once.
var taskChanges = func() (types [16]rota.ChangeType) { //nolint:gochecknoglobals // a table that never changes
	for _, s := range rota.Statuses {
		types[s] = rota.TaskChange(s)
	}
	return types
}()

// move brings an edited task to a status and tells so. It is the only place where
// a status changes.
func (s *State) move(t *task, to rota.Status) {
	r := s.editRun(t.run)
	from := t.Status
	r.Counts[from]--
	r.Counts[to]++
	s.counts[from]--
	s.counts[to]++
	t.Status = to
	s.emit(rota.Change{Type: taskChanges[to], Run: &r.Run, Task: &t.Task, From: from, Attempt: t.Attempt})
}

// ready takes a task whose dependencies are over one step on: to the queue, or to
// wait for its late expressions.
func (s *State) ready(t *task) {
	if len(t.Spec.Late) == 0 {
		s.enqueue(t)
		return
	}
	t.Why = rota.Reason{Code: rota.ReasonExpressions, Text: "its expressions wait to be evaluated"}
	s.emit(rota.Change{Type: rota.ChangeTaskUnresolved, Task: &t.Task, From: t.Status})
}

func (s *State) enqueue(t *task) {
	t.QueuedAt = s.meta.now
	if t.FirstQueued == 0 {
		t.FirstQueued = s.meta.now
		s.arrived(t.Spec)
	}
	t.Why, t.ReturnTo, t.retryAt = rota.Reason{}, 0, 0
	s.move(t, rota.StatusQueued)
}

// end brings a task to a terminal status. Its dependents hear of it in follow.
func (s *State) end(t *task, to rota.Status) {
	t.FinishedAt = s.meta.now
	t.Placement, t.ReturnTo, t.retryAt, t.OpenDeps = nil, 0, 0, 0
	s.move(t, to)
	if r := s.editRun(t.run); !t.Spec.AllowFailure {
		switch to { //nolint:exhaustive // the two ends that decide a run's
		case rota.StatusDeadLettered:
			r.Failed++
		case rota.StatusCancelled:
			r.Cancelled++
		}
	}
	s.w.over = append(s.w.over, t)
}

// deliver ends a task well. The steps in between are told, since people follow
// them; nothing rests there as long as a task has no gates and no artifacts.
func (s *State) deliver(t *task) {
	t.Placement, t.Why = nil, rota.Reason{}
	s.move(t, rota.StatusCompleted)
	s.move(t, rota.StatusValidated)
	s.end(t, rota.StatusDelivered)
}

// bury makes a dead letter of a task that just failed.
func (s *State) bury(t *task) {
	t.Why = rota.Reason{}
	s.end(t, rota.StatusDeadLettered)
	if !t.Spec.AllowFailure && s.runAt(t.run).OnTaskFailure == rota.FailureCancel {
		s.w.failed = append(s.w.failed, t)
	}
}

func (s *State) cancel(t *task, why rota.Reason) {
	if t.Placement != nil {
		s.closeAttempt(t, failure{cause: rota.CauseCancelled, message: why.Text})
	}
	t.Why = why
	s.end(t, rota.StatusCancelled)
}

func (s *State) skip(t *task, why rota.Reason) {
	t.Why = why
	s.end(t, rota.StatusSkipped)
}

// follow tells the dependents of what ended, and theirs, until nothing moves. It
// walks a list, not the stack: chains are as long as a run has tasks.
func (s *State) follow() {
	for len(s.w.over) > 0 || len(s.w.failed) > 0 {
		for i := 0; i < len(s.w.over); i++ {
			t := s.w.over[i]
			s.w.over[i] = nil
			for _, order := range s.runAt(t.run).graph.dependents(t.Order) {
				s.dependencyOver(s.taskAt(taskPos{run: t.run, order: int(order)}), t)
			}
		}
		s.w.over = s.w.over[:0]
		if n := len(s.w.failed); n > 0 {
			t := s.w.failed[n-1]
			s.w.failed[n-1] = nil
			s.w.failed = s.w.failed[:n-1]
			s.cancelBeside(t)
		}
	}
}

// dependencyOver counts an ended dependency down for a task that waits for it.
func (s *State) dependencyOver(t, on *task) {
	if t.Status != rota.StatusCreated {
		return
	}
	i, ok := slices.BinarySearchFunc(t.DependsOn, on.ID.Key, edgeByKey)
	if !ok {
		return
	}
	t = s.edit(t)
	if !satisfied(t.DependsOn[i].Kind, on) {
		s.skip(t, rota.Reason{Code: rota.ReasonDependency, Text: dependencyText(t.DependsOn[i].Kind, on)})
		return
	}
	t.OpenDeps--
	if t.OpenDeps == 0 {
		s.ready(t)
	}
}

// satisfied reports whether an ended dependency lets its dependent go on.
func satisfied(k rota.EdgeKind, on *task) bool {
	switch k {
	case rota.EdgeAny:
		return true
	case rota.EdgeFailure:
		return on.Status == rota.StatusDeadLettered || on.Status == rota.StatusCancelled
	case rota.EdgeDelivered:
		return on.Status == rota.StatusDelivered || on.Spec.AllowFailure
	}
	return false
}

func dependencyText(k rota.EdgeKind, on *task) string {
	if k == rota.EdgeFailure {
		return "it comes after a failure of " + string(on.ID.Key) + ", which was " + on.Status.String()
	}
	words := on.Status.String()
	if on.Status == rota.StatusDeadLettered {
		words = "dead-lettered"
	}
	return "it depends on " + string(on.ID.Key) + ", which was " + words
}

// cancelBeside cancels what a failed task does not lead to: what depends on it
// keeps its own rules. (on_task_failure = cancel, JOBSPEC.md section 3.)
func (s *State) cancelBeside(failed *task) {
	r := s.runAt(failed.run)
	below := r.graph.below(failed.Order)
	why := rota.Reason{Code: rota.ReasonTaskFailed, Text: "task " + string(failed.ID.Key) + " failed and on_task_failure is cancel"}
	for order := range r.Total {
		if below[order] {
			continue
		}
		if t := s.taskAt(taskPos{run: failed.run, order: order}); !t.Status.Terminal() {
			s.cancel(s.edit(t), why)
		}
	}
}

// isUnresolved reports whether the task waits for the leader to evaluate its late
// expressions.
func (t *task) isUnresolved() bool {
	return t.Status == rota.StatusCreated && t.OpenDeps == 0 && len(t.Spec.Late) > 0
}

// due is when the state machine has to look at a task by itself.
func (t *task) due() rota.Instant {
	var at rota.Instant
	sooner := func(o rota.Instant) {
		if at == 0 || o < at {
			at = o
		}
	}
	limits := &t.Spec.Timeouts
	switch t.Status {
	case rota.StatusQueued, rota.StatusAssigned:
		if limits.ScheduleToStart > 0 {
			sooner(t.QueuedAt.Add(limits.ScheduleToStart))
		}
	case rota.StatusRetrying:
		if !t.held {
			sooner(t.retryAt)
		}
	case rota.StatusRunning:
	default:
		return 0
	}
	if limits.ScheduleToClose > 0 {
		sooner(t.FirstQueued.Add(limits.ScheduleToClose))
	}
	return at
}

// settleRun ends a touched run that has nothing open, and says whether only
// people or events can move it.
func (s *State) settleRun(r *run) {
	if r.Status.Terminal() || s.runAt(r.number) != r {
		return
	}
	if r.Open() > 0 {
		c := &r.Counts
		moving := c[rota.StatusQueued] + c[rota.StatusAssigned] + c[rota.StatusRunning] + c[rota.StatusRetrying] +
			c[rota.StatusCompleted] + c[rota.StatusValidated] + r.unresolved
		status := rota.RunRunning
		if moving == 0 && c[rota.StatusWaiting] > 0 {
			status = rota.RunWaiting
		}
		if r.Status != status {
			r.Status = status
			s.emit(rota.Change{Type: rota.ChangeRunStatus, Run: &r.Run})
		}
		return
	}
	switch {
	case r.Failed > 0:
		r.Status = rota.RunFailed
	case r.Cancelled > 0 || r.cancelled:
		r.Status = rota.RunCancelled
	default:
		r.Status = rota.RunSucceeded
	}
	r.FinishedAt = s.meta.now
	s.live -= r.Total
	s.emit(rota.Change{Type: rota.ChangeRunFinished, Run: &r.Run})
	s.retire(r)
}

// latestAttempt gives the entry of the newest attempt for writing, nil if there
// is none.
func (t *task) latestAttempt() *rota.Attempt {
	n := len(t.Attempts)
	if n == 0 || t.Attempts[n-1].Number != t.Attempt {
		return nil
	}
	t.Attempts = slices.Clone(t.Attempts)
	return &t.Attempts[n-1]
}

func edgeByKey(e rota.Edge, key rota.TaskKey) int { return compareKeys(e.On, key) }

func compareKeys(a, b rota.TaskKey) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
