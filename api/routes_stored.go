package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/jobspecs"
)

// What an applied job turned out to be.
const (
	JobCreated   = "created"
	JobUnchanged = "unchanged"
	JobUpdated   = "updated" // another version is the newest now
)

// putJob stores a job of a file as its newest version, without running it.
func (s *Server) putJob(w http.ResponseWriter, r *http.Request) error {
	release, err := s.admitBytes(r, maxSubmitBody)
	if err != nil {
		return err
	}
	defer release()
	b, err := s.readBody(w, r, maxSubmitBody)
	if err != nil {
		return err
	}
	req := new(ApplyRequest)
	if err := decodeStrict(b, req); err != nil {
		return err
	}
	if req.Source == nil {
		return newProblem(TypeInvalid, `the body has no "source"`)
	}
	namespace, err := namespaceOf(req.Namespace)
	if err != nil {
		return err
	}
	if err := checkSource(*req.Source, req.Filename, req.Files); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	job, ds, err := s.jobOf(ctx, sourceOf(*req.Source, req.Filename, req.Files), r.PathValue("name"))
	if err != nil {
		return err
	}
	if job.Namespace != "" {
		namespace = job.Namespace
	}
	return s.storeJob(ctx, w, r, namespace, req, job.Name, ds)
}

// jobOf checks a file for a job that is to be kept: variables may come with its runs.
func (s *Server) jobOf(ctx context.Context, src jobspecs.Source, name string) (*rota.Job, rota.Diagnostics, error) {
	file, ds, err := s.parse(ctx, src, jobspecs.Inputs{Job: name, AllowMissing: true})
	if err != nil {
		return nil, nil, err
	}
	job, err := oneJob(file)
	return job, ds, err
}

func (s *Server) storeJob(ctx context.Context, w http.ResponseWriter, r *http.Request, namespace string, req *ApplyRequest, name string, ds rota.Diagnostics) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	src := sourceOf(*req.Source, req.Filename, req.Files)
	op := rota.StoreJob{Job: name, Hash: jobspecs.Hash(src), Filename: src.Filename, Source: src.Text, Files: src.Files}
	_, known := s.deps.State.Snapshot().NewestVersion(namespace, name)
	res, err := s.submit(ctx, rota.Command{RequestID: key, Namespace: namespace, Principal: principal, Op: op})
	if err != nil {
		return fmt.Errorf("store job %q: %w", name, err)
	}
	s.settle(ctx, res.Index)
	v := ApplyView{Result: JobUpdated, Diagnostics: list(ds)}
	status := http.StatusOK
	switch {
	case res.Existed:
		v.Result = JobUnchanged
	case res.Version == 1 || !known:
		v.Result, status = JobCreated, http.StatusCreated
	}
	snap := s.deps.State.Snapshot()
	s.stamp(w, snap)
	v.JobView = JobView{Name: name, Namespace: namespace, Version: res.Version, Hash: op.Hash, Filename: op.Filename, Paused: snap.JobPaused(namespace, name)}
	if stored, ok := snap.Version(namespace, name, res.Version); ok {
		v.CreatedAt = stored.CreatedAt
	}
	return answer(w, status, &v)
}

// markJob changes a stored job.
func (s *Server) markJob(op rota.MarkJob) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query, err := parseQuery(r)
		if err != nil {
			return err
		}
		namespace, err := namespaceOf(query.Get("namespace"))
		if err != nil {
			return err
		}
		var v *rota.JobVersion
		err = s.find(r.Context(), func(snap *fsm.Snapshot) (err error) {
			v, err = findVersion(snap, namespace, r.PathValue("name"), 0)
			return err
		})
		if err != nil {
			return err
		}
		mark := op
		mark.Job = v.Job
		if err := s.propose(r.Context(), r, namespace, mark); err != nil {
			return fmt.Errorf("change job %q: %w", v.Job, err)
		}
		snap := s.deps.State.Snapshot()
		s.stamp(w, snap)
		view := viewJob(snap, v, false)
		return answer(w, http.StatusOK, &view)
	}
}

func (s *Server) pauseJob(paused bool) handler { return s.markJob(rota.MarkJob{Paused: &paused}) }

func (s *Server) deleteJob() handler { return s.markJob(rota.MarkJob{Delete: true}) }

// viewJob is a stored version with what is known of its job.
func viewJob(snap *fsm.Snapshot, v *rota.JobVersion, whole bool) JobView {
	view := viewVersion(v, whole)
	view.Paused = snap.JobPaused(v.Namespace, v.Job)
	return view
}
