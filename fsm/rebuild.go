package fsm

import (
	"slices"

	"github.com/rota-sched/rota"
)

// rebuild makes everything that is derived from the records, hashes them, and
// checks that they agree with each other: a state that comes back is one that
// Apply can have made.
func (s *State) rebuild() error {
	for _, step := range []func() error{
		s.rebuildArrivals, s.rebuildNodes, s.rebuildVersions, s.rebuildJobs, s.rebuildRequests, s.rebuildPending, s.rebuildRuns, s.rebuildHolds, s.rebuildTasks,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) rebuildNodes() error {
	var err error
	s.nodes.Scan(func(it nodeItem) bool {
		n := it.rec
		l := s.leaseOf(n.ID)
		if n.Session.IsZero() != (l == nil) || l != nil && l.session != n.Session || n.Session.Counter > n.LastCounter {
			err = wrong("node %q and its lease disagree", n.ID)
			return false
		}
		if n.due = s.forgetAt(n); n.due != 0 {
			s.timers.Set(timer{at: n.due, kind: timerNode, id: string(n.ID)})
		}
		s.names.Set(nameItem{name: n.Name, id: n.ID})
		n.fixed = hash(kindNode, appendNodeInfo(nil, &n.NodeInfo))
		n.sum = n.fixed.join(hash(kindNode, appendNodeMoving(nil, n)))
		s.sum = s.sum.add(n.sum)
		return true
	})
	s.leases.Scan(func(it leaseItem) bool {
		if s.nodeByID(it.node) == nil {
			err = wrong("a lease of node %q, which is not there", it.node)
		}
		it.rec.sum = hash(kindLease, appendUint(appendSession(nil, it.rec.session), it.rec.index))
		s.sum = s.sum.add(it.rec.sum)
		return err == nil
	})
	return err
}

func (s *State) rebuildVersions() error {
	var previous *version
	s.versions.Scan(func(it versionItem) bool {
		v := it.rec
		v.last = true
		if previous != nil && previous.Namespace == v.Namespace && previous.Job == v.Job {
			previous.last = false
		}
		previous = v
		s.hashes.Set(hashItem{namespace: v.Namespace, job: v.Job, hash: v.Hash, number: v.Version})
		v.sum = hash(kindVersion, appendVersion(nil, &v.JobVersion))
		s.sum = s.sum.add(v.sum)
		return true
	})
	return nil
}

func (s *State) rebuildRequests() error {
	var err error
	s.requests.Scan(func(it requestItem) bool {
		it.rec.sum = hash(kindRequest, appendRequest(nil, it.rec))
		s.sum = s.sum.add(it.rec.sum)
		_, twice := s.ages.Load(ageItem{it.rec.serial, it.rec})
		if twice || it.rec.serial > s.meta.serial {
			err = wrong("the idempotency key %q has serial %d of %d, or shares it", it.rec.key.id, it.rec.serial, s.meta.serial)
		}
		return err == nil
	})
	return err
}

func (s *State) rebuildPending() error {
	var err error
	s.pending.Scan(func(it pendingItem) bool {
		p := it.rec
		specs, tasks := p.specs, p.tasks
		p.specs, p.tasks = nil, nil
		if len(tasks) >= p.Total || p.Total > rota.MaxTasksPerRun || !s.addRef(&p.Run) {
			err = wrong("a submission of %d tasks that has %d, or its job version is missing", p.Total, len(tasks))
			return false
		}
		for i := range tasks {
			if at := tasks[i].Spec; at < 0 || at >= len(specs) || !isKey(tasks[i].Key) {
				err = wrong("task %q of a submission has spec %d of %d", tasks[i].Key, at, len(specs))
				return false
			}
		}
		s.extend(p, specs, tasks)
		p.sum = s.pendingSum(p)
		s.sum = s.sum.add(p.sum)
		s.queue += len(p.tasks)
		s.timers.Set(s.pendingTimer(p))
		return true
	})
	return err
}

// addRef counts a run for the version it points to.
func (s *State) addRef(r *rota.Run) bool {
	it, ok := s.versions.Get(versionItem{versionKey: versionKey{namespace: r.Namespace, job: r.Job, number: r.Version}})
	if ok {
		it.rec.runs++
	}
	return ok
}

func (s *State) rebuildRuns() error {
	var err error
	s.runs.Scan(func(it runItem) bool {
		err = s.rebuildRun(it.rec)
		return err == nil
	})
	if err == nil && s.runIDs.Len() != s.runs.Len() {
		err = wrong("two runs have one ID")
	}
	return err
}

func (s *State) rebuildRun(r *run) error {
	if !s.addRef(&r.Run) || r.number > s.meta.serial || r.number == 0 {
		return wrong("run %s has no version or an odd number", r.ID)
	}
	tasks := make([]rota.NewTask, 0, r.Total)
	var check run
	s.tasks.Ascend(taskItem{taskPos: taskPos{run: r.number}}, func(it taskItem) bool {
		if it.run != r.number {
			return false
		}
		t := it.rec
		tasks = append(tasks, rota.NewTask{Key: t.ID.Key, DependsOn: t.DependsOn})
		check.count(t)
		return true
	})
	if check.Counts != r.Counts || check.Failed != r.Failed || check.Cancelled != r.Cancelled || check.output != r.output || len(tasks) != r.Total {
		return wrong("the counts of run %s are not those of its tasks", r.ID)
	}
	if r.Status.Terminal() != (r.Open() == 0) || r.Status == rota.RunSubmitting || r.Status == 0 {
		return wrong("run %s is %s with %d tasks open", r.ID, r.Status, r.Open())
	}
	specs := r.graph.specs
	for i, spec := range specs {
		if _, detail := s.checkSpec(spec); detail != "" {
			return wrong("run %s, spec %d: %s", r.ID, i, detail)
		}
	}
	g, tasks, detail := s.graphOf(specs, tasks)
	if detail != "" {
		return wrong("run %s: %s", r.ID, detail)
	}
	for i := range tasks {
		t := s.taskAt(taskPos{run: r.number, order: i})
		t.ID.Key, t.DependsOn = tasks[i].Key, tasks[i].DependsOn
	}
	r.graph = g
	r.fixed = s.runFixed(r)
	r.sum = r.fixed.join(hash(kindRun, appendRunMoving(nil, r)))
	s.sum = s.sum.add(r.sum)
	s.runIDs.Load(runIDItem{id: r.ID, number: r.number})
	s.output += r.output
	for i, n := range r.Counts {
		s.counts[i] += n
	}
	if r.Status.Terminal() {
		s.ended.Set(endedItem{namespace: r.Namespace, at: r.FinishedAt, number: r.number})
		s.timers.Set(s.runTimer(r))
		s.keep(r, 1)
	} else {
		s.live += r.Total
	}
	return nil
}

// count adds a task to what a run's record says of its tasks.
func (r *run) count(t *task) {
	r.Counts[t.Status]++
	r.output += int64(len(t.Output))
	if t.Spec.AllowFailure {
		return
	}
	switch t.Status { //nolint:exhaustive // the two ends that decide a run's
	case rota.StatusDeadLettered:
		r.Failed++
	case rota.StatusCancelled:
		r.Cancelled++
	}
}

func (s *State) rebuildHolds() error {
	var err error
	held := make(map[rota.NodeID]rota.Held)
	s.holds.Scan(func(it holdItem) bool {
		h := it.rec
		n := s.nodeByID(it.node)
		if n == nil || n.Session != h.Session || h.Session.IsZero() {
			err = wrong("a hold on node %q, which has not the session", it.node)
			return false
		}
		held[n.ID] = held[n.ID].Add(&n.Capacity, h.Hold)
		h.sum = hash(kindHold, appendHold(nil, &h.Hold))
		s.sum = s.sum.add(h.sum)
		if t := s.taskByID(h.Task); t != nil && t.Fence(s.meta.incarnation) == h.Fence {
			t.held = true
		}
		return true
	})
	s.nodes.Scan(func(it nodeItem) bool {
		if err == nil && !sameHeld(held[it.id], it.rec.Held) {
			err = wrong("what is held on node %q does not add up", it.id)
		}
		return err == nil
	})
	return err
}

func sameHeld(a, b rota.Held) bool {
	return a.CPUMilli == b.CPUMilli && a.MemoryBytes == b.MemoryBytes && a.DiskBytes == b.DiskBytes && a.Slots == b.Slots &&
		slices.Equal(trimZeros(a.GPUMilli), trimZeros(b.GPUMilli))
}

func trimZeros(l []int64) []int64 {
	for len(l) > 0 && l[len(l)-1] == 0 {
		l = l[:len(l)-1]
	}
	return l
}

func (s *State) rebuildTasks() error {
	var err error
	s.tasks.Scan(func(it taskItem) bool {
		err = s.rebuildTask(it)
		return err == nil
	})
	return err
}

func (s *State) rebuildTask(it taskItem) error {
	t, r := it.rec, s.runAt(it.run)
	if r == nil {
		return wrong("task %s has no run", t.ID)
	}
	if detail := s.inconsistent(t, r); detail != "" {
		return wrong("task %s: %s", t.ID, detail)
	}
	if t.DueAt != 0 {
		s.timers.Set(timer{at: t.DueAt, kind: timerTask, pos: it.taskPos})
	}
	if t.Status == rota.StatusQueued {
		s.queued.Load(it)
	}
	if t.isUnresolved() {
		s.unresolved.Load(it)
		r.unresolved++
	}
	if t.specAt == ownSpec {
		if _, detail := s.checkSpec(t.Spec); detail != "" {
			return wrong("task %s: %s", t.ID, detail)
		}
	}
	t.fixed = hash(kindTask, appendTaskFixed(nil, t))
	t.sum = t.fixed.join(hash(kindTask, appendTaskMoving(nil, t)))
	s.sum = s.sum.add(t.sum)
	return nil
}

// inconsistent says what of a task's record cannot be; empty if it can.
func (s *State) inconsistent(t *task, r *run) string {
	placed := t.Status == rota.StatusAssigned || t.Status == rota.StatusRunning
	n := len(t.Attempts)
	open := 0
	for _, e := range t.DependsOn {
		on, _ := r.graph.find(e.On)
		if !s.taskAt(taskPos{run: t.run, order: on}).Status.Terminal() {
			open++
		}
	}
	switch m := t.mishaps; {
	case !counterOK(t.AttemptsUsed, t.Losses) || m != nil && !counterOK(m.nodeLost, m.preempted, m.throttled, m.givenBack):
		return "a counter is negative or far too large"
	case t.Status == 0 || t.Status == rota.StatusFailed || t.Status == rota.StatusCompleted || t.Status == rota.StatusValidated:
		return "it rests in status " + t.Status.String()
	case placed != (t.Placement != nil) || placed && !t.held:
		return "it is " + t.Status.String() + " and its placement disagrees"
	case t.Attempt > rota.MaxAttempt || t.Attempt > 0 && (n == 0 || t.Attempts[n-1].Number != t.Attempt):
		return "its attempts are not those it counts"
	case t.Status == rota.StatusCreated && (t.OpenDeps != open || open == 0 && len(t.Spec.Late) == 0):
		return "its open dependencies are miscounted"
	case t.Status != rota.StatusCreated && t.OpenDeps != 0:
		return "it has open dependencies and is " + t.Status.String()
	case t.DueAt != t.due():
		return "its timer is not when it is due"
	}
	return ""
}

func counterOK(ns ...int) bool {
	return !slices.ContainsFunc(ns, func(n int) bool { return n < 0 || n > 1<<24 })
}
