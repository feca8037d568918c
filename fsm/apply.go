package fsm

import (
	"github.com/rota-sched/rota"
)

// work is what one Apply keeps at hand; it is empty between two of them.
type work struct {
	entry   *rota.Entry
	epoch   uint64 // stamp of runs and nodes edited by this entry
	step    uint64 // stamp of tasks edited since the last settle: by this command
	changes []rota.Change
	likely  int     // changes of the last entry: a guess for the next
	buf     []byte  // for encoding what is hashed
	probe   request // for looking one up

	tasks   []editedTask // by this command
	touched []*run       // by this command
	runs    []*run       // by this entry
	nodes   []*node      // by this entry
	rooms   []*node      // whose held room this entry changed
	over    []*task      // ended, dependents not told yet
	failed  []*task      // dead letters that end their run's other tasks
}

type editedTask struct{ before, after *task }

// latest bounds the state's now, so that adding any duration the state admits
// cannot overflow.
const latest = rota.Instant(1 << 62)

// Apply applies an entry: one result per command, and the changes in the order in
// which they happened. It never panics on what is in the entry. An entry that
// CanApply refuses, or with an index that was applied before, changes nothing.
// An entry without an index gets the next one.
func (s *State) Apply(e rota.Entry) ([]rota.Result, []rota.Change) {
	results := make([]rota.Result, len(e.Commands))
	if e.Index == 0 {
		e.Index = s.meta.index + 1
	}
	if refusal := s.refuse(&e); refusal.Kind != rota.KindNone {
		for i := range results {
			results[i] = refusal
		}
		return results, nil
	}
	s.meta.index = e.Index
	s.meta.now = max(s.meta.now, min(e.At, latest))
	s.w.entry = &e
	s.w.changes = make([]rota.Change, 0, s.w.likely)
	s.w.epoch++
	for i := range e.Commands {
		results[i] = s.do(&e.Commands[i])
		results[i].Index = e.Index
		s.settle()
	}
	s.seal()
	changes := s.w.changes
	s.w.entry, s.w.changes, s.w.likely = nil, nil, min(len(changes), 256)
	return results, changes
}

func (s *State) refuse(e *rota.Entry) rota.Result {
	if err := s.CanApply(e); err != nil {
		return rota.Result{Index: e.Index, Kind: rota.KindFormat, Detail: err.Error()}
	}
	if e.Index <= s.meta.index {
		return rota.Result{Index: e.Index, Kind: rota.KindStale, Detail: "the entry was applied before"}
	}
	return rota.Result{}
}

func (s *State) do(c *rota.Command) rota.Result {
	if need := FormatOf(c.Op); need > int(s.meta.format) {
		return tooOld(need)
	}
	switch op := c.Op.(type) {
	case rota.RaiseFormat:
		s.meta.format = max(s.meta.format, op.Format)
		return rota.Result{}
	case rota.RegisterNode:
		return s.registerNode(&op)
	case rota.RenewLeases:
		return s.renewLeases(&op)
	case rota.ExpireSession:
		return s.expireSession(&op)
	case rota.MarkNode:
		return s.markNode(&op)
	case rota.MarkUnfit:
		return s.markUnfit(&op)
	case rota.SubmitRun:
		return s.submitRun(c, &op)
	case rota.AddTasks:
		return s.addTasks(&op)
	case rota.Resolve:
		return s.resolve(&op)
	case rota.Place:
		return s.place(&op)
	case rota.Report:
		return s.report(&op)
	case rota.Due:
		return s.due()
	case rota.CancelRun:
		return s.cancelRun(&op)
	case rota.CancelTask:
		return s.cancelTask(&op)
	case rota.Answer:
		return s.answer(&op)
	case rota.StoreJob:
		return s.storeJob(c, &op)
	case rota.MarkJob:
		return s.markJob(c, &op)
	}
	return refused(rota.KindInvalid, "no operation that this version knows")
}

func refused(k rota.Kind, detail string) rota.Result { return rota.Result{Kind: k, Detail: detail} }

// emit notes a change at the entry's moment.
func (s *State) emit(c rota.Change) {
	c.At = s.meta.now
	s.w.changes = append(s.w.changes, c)
}

// settle brings the trees in step with what a command edited, and ends the runs
// that have nothing open any more. What is edited afterwards is a new copy.
func (s *State) settle() {
	for i := range s.w.tasks {
		s.settleTask(s.w.tasks[i].before, s.w.tasks[i].after)
		s.w.tasks[i] = editedTask{}
	}
	s.w.tasks = s.w.tasks[:0]
	for i, r := range s.w.touched {
		s.settleRun(r)
		s.w.touched[i] = nil
	}
	s.w.touched = s.w.touched[:0]
	s.w.step++
}

// settleTask keeps timers, queue and digest in step with a task's record. before
// is nil for a new task.
func (s *State) settleTask(before, t *task) {
	item := taskItem{taskPos: t.pos(), rec: t}
	t.DueAt = t.due()
	var due rota.Instant
	var queued, unresolved bool
	if before != nil {
		due, queued, unresolved = before.DueAt, before.Status == rota.StatusQueued, before.isUnresolved()
		s.sum = s.sum.sub(before.sum)
	}
	if due != t.DueAt {
		s.moveTimer(timer{kind: timerTask, pos: item.taskPos}, due, t.DueAt)
	}
	switch {
	case t.Status == rota.StatusQueued:
		s.queued.Set(item)
	case queued:
		s.queued.Delete(item)
	}
	switch now := t.isUnresolved(); {
	case now:
		s.unresolved.Set(item)
		if !unresolved {
			s.editRun(t.run).unresolved++
		}
	case unresolved:
		s.unresolved.Delete(item)
		s.editRun(t.run).unresolved--
	}
	s.w.buf = appendTaskMoving(s.w.buf[:0], t)
	t.sum = t.fixed.join(hash(kindTask, s.w.buf))
	s.sum = s.sum.add(t.sum)
}

// moveTimer replaces a timer due at from by one due at to; zero: none.
func (s *State) moveTimer(t timer, from, to rota.Instant) {
	if from != 0 {
		t.at = from
		s.timers.Delete(t)
	}
	if to != 0 {
		t.at = to
		s.timers.Set(t)
	}
}

// seal hashes the runs and nodes that the entry edited and tells the changes of
// room.
func (s *State) seal() {
	for i, r := range s.w.runs {
		s.w.runs[i] = nil
		if s.runAt(r.number) == r { // else purged
			s.sum = s.sum.sub(r.sum)
			s.w.buf = appendRunMoving(s.w.buf[:0], r)
			r.sum = r.fixed.join(hash(kindRun, s.w.buf))
			s.sum = s.sum.add(r.sum)
		}
	}
	for i, n := range s.w.nodes {
		s.w.nodes[i] = nil
		if s.nodeByID(n.ID) == n { // else forgotten
			s.sealNode(n)
		}
	}
	for i, n := range s.w.rooms {
		s.w.rooms[i] = nil
		s.emit(rota.Change{Type: rota.ChangeRoom, Node: &n.Node})
	}
	s.w.runs, s.w.nodes, s.w.rooms = s.w.runs[:0], s.w.nodes[:0], s.w.rooms[:0]
}

func (s *State) sealNode(n *node) {
	due := s.forgetAt(n)
	s.moveTimer(timer{kind: timerNode, id: string(n.ID)}, n.due, due)
	n.due = due
	s.sum = s.sum.sub(n.sum)
	s.w.buf = appendNodeMoving(s.w.buf[:0], n)
	n.sum = n.fixed.join(hash(kindNode, s.w.buf))
	s.sum = s.sum.add(n.sum)
}

// edit gives the copy of a task's record that this command may change.
func (s *State) edit(t *task) *task {
	if t.stamp == s.w.step {
		return t
	}
	c := *t
	c.stamp = s.w.step
	s.tasks.Set(taskItem{taskPos: c.pos(), rec: &c})
	s.w.tasks = append(s.w.tasks, editedTask{before: t, after: &c})
	return &c
}

// editRun gives the copy of a run's record that this entry may change.
func (s *State) editRun(number uint64) *run {
	r := s.runAt(number)
	if r.stamp != s.w.epoch {
		c := *r
		r = &c
		r.stamp = s.w.epoch
		s.runs.Set(runItem{number: number, rec: r})
		s.w.runs = append(s.w.runs, r)
	}
	if r.step != s.w.step {
		r.step = s.w.step
		s.w.touched = append(s.w.touched, r)
	}
	return r
}

// editNode gives the copy of a node's record that this entry may change.
func (s *State) editNode(id rota.NodeID) *node {
	n := s.nodeByID(id)
	if n.stamp == s.w.epoch {
		return n
	}
	c := *n
	c.stamp = s.w.epoch
	c.roomChanged = false
	s.nodes.Set(nodeItem{id: id, rec: &c})
	s.w.nodes = append(s.w.nodes, &c)
	return &c
}
