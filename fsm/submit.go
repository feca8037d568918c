package fsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
)

// submitRun starts a submission, and creates the run if all of it is here.
func (s *State) submitRun(c *rota.Command, op *rota.SubmitRun) rota.Result {
	key := requestKey{namespace: namespaceOf(c), principal: c.Principal, id: c.RequestID}
	if res, known := s.repeated(key, op); known {
		return res
	}
	if res := s.checkJob(key.namespace, op.Job); res.Kind != rota.KindNone {
		return res
	}
	if res := s.checkSubmission(key, op); res.Kind != rota.KindNone {
		return res
	}
	p := &pending{request: key, Run: rota.Run{
		ID: op.Run, Namespace: key.namespace, Job: op.Job, Principal: c.Principal,
		Labels: sortedPairs(op.Labels), Variables: op.Variables, Priority: op.Priority, OnTaskFailure: op.OnTaskFailure,
		Status: rota.RunSubmitting, CreatedAt: s.meta.now, Total: op.Total,
	}}
	var g *graph
	tasks := op.Tasks
	if len(tasks) == op.Total {
		var detail string
		if g, tasks, detail = s.graphOf(op.Specs, tasks); detail != "" {
			return refused(rota.KindInvalid, detail)
		}
	}
	p.Version = s.storeVersion(key.namespace, op)
	s.storeRequest(key, op, p.Version)
	if g != nil {
		p.specs, p.tasks = g.specs, tasks
		s.create(p, g)
	} else {
		s.extend(p, op.Specs, tasks)
		s.storePending(p)
	}
	return rota.Result{Run: p.ID, Version: p.Version}
}

// repeated answers a submission whose idempotency key was seen before.
func (s *State) repeated(key requestKey, op *rota.SubmitRun) (rota.Result, bool) {
	if key.id == "" {
		return rota.Result{}, false
	}
	it, ok := s.request(key)
	switch {
	case !ok:
		return rota.Result{}, false
	case it.rec.digest != op.Digest:
		return refused(rota.KindConflict, fmt.Sprintf("the idempotency key %q was used for another request, run %s", key.id, it.rec.run)), true
	}
	return rota.Result{Run: it.rec.run, Existed: true, Version: it.rec.number}, true
}

// addTasks brings a further chunk. A chunk that is here already is taken as a
// repetition, since its proposer may not have learned the outcome.
func (s *State) addTasks(op *rota.AddTasks) rota.Result {
	it, ok := s.pending.Get(pendingItem{run: op.Run})
	if !ok {
		if r := s.runByID(op.Run); r != nil {
			return repeatedChunk(op, func(k rota.TaskKey) bool { _, ok := r.graph.find(k); return ok }, r.Version)
		}
		return refused(rota.KindNotFound, "no submission of run "+string(op.Run)+" is under way")
	}
	p := *it.rec
	if len(op.Tasks) == 0 {
		return refused(rota.KindInvalid, "a chunk without tasks")
	}
	first := op.Tasks[0].Key
	if slices.ContainsFunc(p.tasks, func(t rota.NewTask) bool { return t.Key == first }) {
		here := make(map[rota.TaskKey]bool, len(p.tasks))
		for i := range p.tasks {
			here[p.tasks[i].Key] = true
		}
		return repeatedChunk(op, func(k rota.TaskKey) bool { return here[k] }, p.Version)
	}
	if kind, detail := s.checkChunk(&p, op.Specs, op.Tasks); kind != rota.KindNone {
		return refused(kind, detail)
	}
	s.extend(&p, op.Specs, op.Tasks)
	if len(p.tasks) < p.Total {
		s.storePending(&p)
		return rota.Result{Run: p.ID, Version: p.Version}
	}
	g, tasks, detail := s.graphOf(p.specs, p.tasks)
	p.tasks = tasks
	s.dropPending(&p)
	if detail != "" {
		s.forgetSubmission(&p)
		return refused(rota.KindInvalid, detail)
	}
	p.CreatedAt = s.meta.now
	s.create(&p, g)
	return rota.Result{Run: p.ID, Version: p.Version}
}

func repeatedChunk(op *rota.AddTasks, known func(rota.TaskKey) bool, version int) rota.Result {
	for i := range op.Tasks {
		if !known(op.Tasks[i].Key) {
			return refused(rota.KindConflict, "the chunk is partly here: task "+string(op.Tasks[i].Key)+" is not")
		}
	}
	return rota.Result{Run: op.Run, Existed: true, Version: version}
}

// extend appends a chunk to a submission. The lists of the older record are a
// prefix of the newer one's, so both may share an array.
func (s *State) extend(p *pending, specs []*rota.TaskSpec, tasks []rota.NewTask) {
	base := len(p.specs)
	for _, spec := range specs {
		s.w.buf = appendSpec(s.w.buf[:0], spec)
		p.specSum = p.specSum.join(hash(kindPendingSpec, s.w.buf))
		p.specs = append(p.specs, spec)
	}
	for i := range tasks {
		t := tasks[i]
		t.Spec += base
		s.w.buf = appendNewTask(s.w.buf[:0], &t)
		p.taskSum = p.taskSum.join(hash(kindPendingTask, s.w.buf))
		p.tasks = append(p.tasks, t)
		p.edges += len(t.DependsOn)
	}
}

// storePending keeps a submission that is not whole, in place of its older record.
func (s *State) storePending(p *pending) {
	s.dropPending(p)
	p.sum = s.pendingSum(p)
	s.sum = s.sum.add(p.sum)
	s.queue += len(p.tasks)
	s.pending.Set(pendingItem{run: p.ID, rec: p})
	s.timers.Set(s.pendingTimer(p))
}

func (s *State) pendingSum(p *pending) Digest {
	s.w.buf = appendRequestKey(appendRunFixed(s.w.buf[:0], &p.Run), p.request)
	return hash(kindPending, s.w.buf).join(p.specSum).join(p.taskSum)
}

func (s *State) pendingTimer(p *pending) timer {
	return timer{at: p.CreatedAt.Add(s.limits.SubmitFor), kind: timerPending, id: string(p.ID)}
}

func (s *State) dropPending(p *pending) {
	old, ok := s.pending.Delete(pendingItem{run: p.ID})
	if !ok {
		return
	}
	s.sum = s.sum.sub(old.rec.sum)
	s.queue -= len(old.rec.tasks)
	s.timers.Delete(s.pendingTimer(old.rec))
}

// forgetSubmission undoes what a submission left behind that came to nothing: the
// same request may be sent again and starts anew.
func (s *State) forgetSubmission(p *pending) {
	s.unrefVersion(p.Namespace, p.Job, p.Version)
	if it, ok := s.request(p.request); ok && it.rec.run == p.ID {
		s.dropRequest(it)
	}
}

// create makes the run and its tasks of a whole submission.
func (s *State) create(p *pending, g *graph) {
	s.meta.serial++
	r := &run{Run: p.Run, number: s.meta.serial, graph: g, stamp: s.w.epoch}
	r.Status = rota.RunRunning
	r.Counts[rota.StatusCreated] = r.Total
	r.fixed = s.runFixed(r)
	s.runs.Set(runItem{number: r.number, rec: r})
	s.runIDs.Set(runIDItem{id: r.ID, number: r.number})
	s.w.runs = append(s.w.runs, r)
	s.counts[rota.StatusCreated] += r.Total
	s.live += r.Total
	s.editRun(r.number) // to be settled even without tasks
	s.emit(rota.Change{Type: rota.ChangeRunCreated, Run: &r.Run})
	for i := range p.tasks {
		s.createTask(r, i, &p.tasks[i])
	}
}

// runFixed hashes what never changes of a run, its specs included.
func (s *State) runFixed(r *run) Digest {
	s.w.buf = appendUint(appendRunFixed(s.w.buf[:0], &r.Run), r.number)
	d := hash(kindRun, s.w.buf)
	for _, spec := range r.graph.specs {
		d = d.join(s.specDigest(spec))
	}
	return d
}

func (s *State) createTask(r *run, order int, n *rota.NewTask) {
	t := &task{run: r.number, specAt: n.Spec, stamp: s.w.step, Task: rota.Task{
		ID: rota.TaskID{Run: r.ID, Key: n.Key}, Namespace: r.Namespace, Order: order,
		Spec: r.graph.specs[n.Spec], DependsOn: n.DependsOn, OpenDeps: len(n.DependsOn),
		Status: rota.StatusCreated, CreatedAt: s.meta.now,
	}}
	s.w.buf = appendTaskFixed(s.w.buf[:0], t)
	t.fixed = hash(kindTask, s.w.buf)
	s.tasks.Set(taskItem{taskPos: t.pos(), rec: t})
	s.w.tasks = append(s.w.tasks, editedTask{after: t})
	s.emit(rota.Change{Type: taskChanges[rota.StatusCreated], Run: &r.Run, Task: &t.Task})
	if t.OpenDeps == 0 {
		s.ready(t)
	}
}

// storeVersion finds or makes the version of the job's source, and counts the
// submission as pointing to it.
func (s *State) storeVersion(namespace string, op *rota.SubmitRun) int {
	key := hashItem{namespace: namespace, job: op.Job, hash: op.Hash}
	if it, ok := s.hashes.Get(key); ok {
		s.revive(namespace, op.Job)
		s.refVersion(versionKey{namespace: namespace, job: op.Job, number: it.number}, 1)
		return it.number
	}
	return s.makeVersion(namespace, op, 1)
}

// makeVersion makes the newest version of a job, with so many submissions that
// point to it.
func (s *State) makeVersion(namespace string, op *rota.SubmitRun, runs int) int {
	s.revive(namespace, op.Job)
	key := hashItem{namespace: namespace, job: op.Job, hash: op.Hash}
	number := 1
	if last := s.lastVersion(namespace, op.Job); last != nil {
		number = last.Version + 1
		older := *last
		older.last = false
		s.putVersion(&older)
		if older.runs == 0 {
			s.dropVersion(&older)
		}
	}
	v := &version{last: true, runs: runs, JobVersion: rota.JobVersion{
		Namespace: namespace, Job: op.Job, Version: number, Hash: op.Hash, Filename: op.Filename,
		Source: op.Source, Files: op.Files, CreatedAt: s.meta.now,
	}}
	s.w.buf = appendVersion(s.w.buf[:0], &v.JobVersion)
	v.sum = hash(kindVersion, s.w.buf)
	s.sum = s.sum.add(v.sum)
	s.putVersion(v)
	key.number = number
	s.hashes.Set(key)
	return number
}

func (v *version) key() versionKey {
	return versionKey{namespace: v.Namespace, job: v.Job, number: v.Version}
}

func (s *State) putVersion(v *version) { s.versions.Set(versionItem{versionKey: v.key(), rec: v}) }

func (t *tables) lastVersion(namespace, job string) *version {
	var last *version
	t.versions.Descend(versionItem{versionKey: versionKey{namespace: namespace, job: job, number: maxInt}}, func(it versionItem) bool {
		if it.namespace == namespace && it.job == job {
			last = it.rec
		}
		return false
	})
	return last
}

func (s *State) refVersion(k versionKey, n int) {
	it, ok := s.versions.Get(versionItem{versionKey: k})
	if !ok {
		return
	}
	v := *it.rec
	v.runs += n
	s.putVersion(&v)
	if v.runs == 0 && !s.keeps(&v) {
		s.dropVersion(&v)
	}
}

// unrefVersion forgets a version that no run points to any more, unless it is the
// newest of its job: otherwise every ad-hoc command would stay for ever.
func (s *State) unrefVersion(namespace, job string, number int) {
	s.refVersion(versionKey{namespace: namespace, job: job, number: number}, -1)
}

func (s *State) dropVersion(v *version) {
	s.versions.Delete(versionItem{versionKey: v.key()})
	key := hashItem{namespace: v.Namespace, job: v.Job, hash: v.Hash}
	if it, ok := s.hashes.Get(key); ok && it.number == v.Version { // else a newer version has the same source
		s.hashes.Delete(key)
	}
	s.sum = s.sum.sub(v.sum)
	if v.last {
		s.dropLast(v)
	}
}

func (s *State) storeRequest(k requestKey, op *rota.SubmitRun, version int) {
	if k.id == "" {
		return
	}
	for s.requests.Len() >= s.limits.MaxRequests && s.requests.Len() > 0 {
		s.dropOldestRequest()
	}
	s.meta.serial++
	r := &request{key: k, serial: s.meta.serial, digest: op.Digest, run: op.Run, number: version, at: s.meta.now}
	s.w.buf = appendRequest(s.w.buf[:0], r)
	r.sum = hash(kindRequest, s.w.buf)
	s.sum = s.sum.add(r.sum)
	s.requests.Set(requestItem{r})
	s.ages.Set(ageItem{r.serial, r})
}

// request finds what a key led to.
func (s *State) request(k requestKey) (requestItem, bool) {
	s.w.probe.key = k
	return s.requests.Get(requestItem{&s.w.probe})
}

func (s *State) dropRequest(it requestItem) {
	s.requests.Delete(it)
	s.ages.Delete(ageItem{serial: it.rec.serial})
	s.sum = s.sum.sub(it.rec.sum)
}

func (s *State) dropOldestRequest() {
	if oldest, ok := s.ages.Min(); ok {
		s.dropRequest(requestItem{oldest.rec})
	}
}

const maxInt = int(^uint(0) >> 1)

func namespaceOf(c *rota.Command) string {
	if c.Namespace == "" {
		return defaultNamespace
	}
	return c.Namespace
}

// defaultNamespace is where commands without a namespace go.
const defaultNamespace = "default"

func sortedPairs(pairs []rota.Pair) []rota.Pair {
	byKey := func(a, b rota.Pair) int { return strings.Compare(a.Key, b.Key) }
	if slices.IsSortedFunc(pairs, byKey) {
		return pairs
	}
	pairs = slices.Clone(pairs)
	slices.SortStableFunc(pairs, byKey)
	return pairs
}

func over(limit string, have, most int64) string {
	return "over the limit \"" + limit + "\": " + strconv.FormatInt(have, 10) + ", at most " + strconv.FormatInt(most, 10)
}
