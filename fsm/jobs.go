package fsm

import (
	"fmt"

	"github.com/rota-sched/rota"
)

// job is what is known of a job beside its versions. It is there only while there
// is something to know. Immutable.
type job struct {
	namespace, name string
	paused          bool
	// deleted: it starts no runs by its name, and its versions leave with their runs.
	deleted bool
	sum     Digest
}

// jobAt is the job's record; a job without one is neither paused nor deleted.
func (t *tables) jobAt(namespace, name string) job {
	it, ok := t.jobs.Get(jobItem{jobKey: jobKey{namespace: namespace, name: name}})
	if !ok {
		return job{namespace: namespace, name: name}
	}
	return *it.rec
}

// setJob replaces the job's record; one that says nothing goes.
func (s *State) setJob(j job) {
	key := jobKey{namespace: j.namespace, name: j.name}
	if old, ok := s.jobs.Delete(jobItem{jobKey: key}); ok {
		s.sum = s.sum.sub(old.rec.sum)
	}
	if !j.paused && !j.deleted {
		return
	}
	j.sum = hash(kindJob, appendJob(nil, &j))
	s.sum = s.sum.add(j.sum)
	s.jobs.Set(jobItem{jobKey: key, rec: &j})
}

// keeps reports whether a version stays without a run that points to it.
func (s *State) keeps(v *version) bool {
	return v.last && !s.jobAt(v.Namespace, v.Job).deleted
}

// checkJob refuses runs of a paused job.
func (s *State) checkJob(namespace, name string) rota.Result {
	if s.jobAt(namespace, name).paused {
		return refused(rota.KindConflict, fmt.Sprintf("job %q is paused and starts no runs", name))
	}
	return rota.Result{}
}

// revive takes a deleted job back, since a version of it was stored again.
func (s *State) revive(namespace, name string) {
	if j := s.jobAt(namespace, name); j.deleted {
		j.deleted = false
		s.setJob(j)
	}
}

func (s *State) storeJob(c *rota.Command, op *rota.StoreJob) rota.Result {
	namespace := namespaceOf(c)
	switch {
	case !rota.IsIdentifier(op.Job) || len(op.Job) > maxNameBytes || len(namespace) > maxNameBytes:
		return refused(rota.KindInvalid, fmt.Sprintf("%q is not a job's name", clip(op.Job, 64)))
	case op.Hash == "" || len(op.Hash) > maxNameBytes:
		return refused(rota.KindInvalid, "the version does not name its source's hash")
	case len(op.Source) == 0:
		return refused(rota.KindInvalid, "the version has no source")
	}
	sub := &rota.SubmitRun{Job: op.Job, Hash: op.Hash, Filename: op.Filename, Source: op.Source, Files: op.Files}
	if res := s.checkSource(namespace, sub); res.Kind != rota.KindNone {
		return res
	}
	deleted := s.jobAt(namespace, op.Job).deleted
	if last := s.lastVersion(namespace, op.Job); last != nil && last.Hash == op.Hash {
		s.revive(namespace, op.Job)
		return rota.Result{Version: last.Version, Existed: !deleted}
	}
	return rota.Result{Version: s.makeVersion(namespace, sub, 0)}
}

func tooOld(format int) rota.Result {
	return refused(rota.KindFormat, fmt.Sprintf("it takes effect once every server of the cluster reads format %d: upgrade those that do not", format))
}

func (s *State) markJob(c *rota.Command, op *rota.MarkJob) rota.Result {
	namespace := namespaceOf(c)
	j := s.jobAt(namespace, op.Job)
	last := s.lastVersion(namespace, op.Job)
	if last == nil || j.deleted {
		return refused(rota.KindNotFound, fmt.Sprintf("namespace %q has no job %q", clip(namespace, 64), clip(op.Job, 64)))
	}
	if op.Paused != nil {
		j.paused = *op.Paused
	}
	j.deleted = op.Delete
	if op.Delete {
		j.paused = false
	}
	s.setJob(j)
	if op.Delete && last.runs == 0 {
		s.dropVersion(last)
	}
	return rota.Result{Version: last.Version}
}

// dropLast follows the newest version of a deleted job out: the one before it is
// the newest now, or nothing is left of the job.
func (s *State) dropLast(v *version) {
	before := s.lastVersion(v.Namespace, v.Job)
	if before == nil {
		s.setJob(job{namespace: v.Namespace, name: v.Job})
		return
	}
	last := *before
	last.last = true
	s.putVersion(&last)
}

func appendJob(b []byte, j *job) []byte {
	return appendBool(appendBool(appendText(appendText(b, j.namespace), j.name), j.paused), j.deleted)
}

func (r *reader) job() *job {
	j := &job{namespace: r.text(), name: r.text(), paused: r.bool(), deleted: r.bool()}
	if r.err == nil && !j.paused && !j.deleted {
		r.fail("a job without anything to say")
	}
	return j
}

func (s *State) rebuildJobs() error {
	var err error
	s.jobs.Scan(func(it jobItem) bool {
		if s.lastVersion(it.namespace, it.name) == nil {
			err = wrong("job %q is marked and has no version", it.name)
		}
		it.rec.sum = hash(kindJob, appendJob(nil, it.rec))
		s.sum = s.sum.add(it.rec.sum)
		return err == nil
	})
	return err
}

// NewestVersion finds the newest version of a job that was not deleted.
func (s *Snapshot) NewestVersion(namespace, job string) (*rota.JobVersion, bool) {
	if v := s.lastVersion(namespace, job); v != nil && !s.jobAt(namespace, job).deleted {
		return &v.JobVersion, true
	}
	return nil, false
}

// JobPaused reports whether the job starts no runs.
func (s *Snapshot) JobPaused(namespace, job string) bool { return s.jobAt(namespace, job).paused }

func appendStoreJob(b []byte, op *rota.StoreJob) []byte {
	b = appendText(appendText(appendText(b, op.Job), op.Hash), op.Filename)
	return appendFiles(appendBytes(b, op.Source), op.Files)
}

func (r *reader) storeJob() rota.Op {
	return rota.StoreJob{Job: r.text(), Hash: r.text(), Filename: r.text(), Source: r.bytes(), Files: r.files()}
}
