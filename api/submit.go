package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/jobspecs"
)

// submission is a run about to be proposed.
type submission struct {
	*expanded
	req       *request
	version   *version
	namespace string
	key       string
	digest    string
}

// postRuns starts a run, or each of an array.
func (s *Server) postRuns(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	release, err := s.admitBytes(r, maxSubmitBody)
	if err != nil {
		return err
	}
	defer release()
	b, err := s.readBody(w, r, maxSubmitBody)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return s.postMany(ctx, w, r, b, key)
	}
	req, sum, err := s.requestOf(b)
	if err != nil {
		return err
	}
	if req.Key != "" {
		return newProblem(TypeInvalid, `"idempotency_key" is for the items of an array; a single submission has the header `+headerIdempotency)
	}
	sub, err := s.prepare(ctx, req, sum, key)
	if err != nil {
		return err
	}
	res, err := s.start(ctx, sub)
	if err != nil {
		return err
	}
	return s.answerRun(ctx, w, sub, &res)
}

// answerRun tells of the run that a submission gave. A new one is told as it was
// submitted: this node may not have applied it yet, and looking would make every
// submission wait for what is being applied.
func (s *Server) answerRun(ctx context.Context, w http.ResponseWriter, sub *submission, res *rota.Result) error {
	h := w.Header()
	h.Set("Location", "/v1/runs/"+string(res.Run))
	v := RunView{
		ID: res.Run, Job: sub.job.Name, Version: res.Version, Namespace: sub.namespace, Labels: pairMap(sub.req.labels),
		Status: rota.RunRunning, Priority: sub.job.Priority, CreatedAt: res.At, TasksTotal: len(sub.job.Tasks), TaskCounts: map[string]int{},
	}
	if !res.Existed {
		h.Set(headerIndex, strconv.FormatUint(res.Index, 10))
		return answer(w, http.StatusCreated, &v)
	}
	s.settle(ctx, res.Index)
	snap := s.deps.State.Snapshot()
	s.stamp(w, snap)
	h.Set(headerIndex, strconv.FormatUint(max(res.Index, snap.Index()), 10))
	if run, ok := snap.Run(res.Run); ok {
		v = viewRun(run)
	}
	return answer(w, http.StatusOK, &v)
}

// prepare finds out what a request starts.
func (s *Server) prepare(ctx context.Context, req *request, sum digest, key string) (*submission, error) {
	sub := &submission{req: req, version: req.version, namespace: req.namespace, key: key, digest: hexDigest(sum)}
	if sub.version == nil {
		if err := s.resolveStored(ctx, sub); err != nil {
			return nil, err
		}
	}
	return sub, s.expand(ctx, sub)
}

// resolveStored finds the stored version that a request names.
func (s *Server) resolveStored(ctx context.Context, sub *submission) error {
	return s.find(ctx, func(snap *fsm.Snapshot) error {
		v, err := findVersion(snap, sub.namespace, sub.req.Job, sub.req.Version)
		if err == nil {
			sub.version = newVersion(jobspecs.Source{Filename: v.Filename, Text: v.Source, Files: v.Files}, v.Hash)
		}
		return err
	})
}

// expand checks the version with the request's inputs, or finds what that gave
// before.
func (s *Server) expand(ctx context.Context, sub *submission) error {
	in := jobspecs.Inputs{Job: sub.req.Job, Variables: sub.req.variables, Priority: sub.req.Priority}
	at := sub.version.with(sub.namespace, in)
	e, ok := s.jobs.jobs.get(at)
	if !ok {
		file, err := s.check(ctx, sub.version, in)
		if err != nil {
			return err
		}
		job, err := oneJob(file)
		if err != nil {
			return err
		}
		e = newExpanded(job, file.Variables(job.Name))
		s.jobs.jobs.put(at, e, e.size())
	}
	sub.expanded = e
	if e.job.Namespace != "" {
		sub.namespace = e.job.Namespace
	}
	return nil
}

// check reads and checks a version, or only checks it where it was read before.
func (s *Server) check(ctx context.Context, v *version, in jobspecs.Inputs) (*jobspecs.File, error) {
	release, err := s.parses.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer release()
	syntax, ok := s.jobs.syntaxes.get(v.id)
	if !ok {
		var ds rota.Diagnostics
		if syntax, ds = jobspecs.Read(v.src); syntax == nil {
			return nil, specProblem(ds)
		}
		s.jobs.syntaxes.put(v.id, syntax, cachedOverhead+len(v.src.Text)+filesSize(v.src.Files))
	}
	file, ds := syntax.Check(in)
	if ds.HasErrors() || file == nil {
		return nil, specProblem(ds)
	}
	return file, nil
}

// oneJob is the job of a file that holds one, or of which one was asked for.
func oneJob(file *jobspecs.File) (*rota.Job, error) {
	jobs := file.Jobs()
	switch len(jobs) {
	case 0:
		return nil, newProblem(TypeInvalidSpec, "the file holds no job")
	case 1:
		return jobs[0], nil
	}
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = strconv.Quote(j.Name)
	}
	return nil, newProblem(TypeInvalidSpec, fmt.Sprintf("the file holds several jobs: say which one to run (%s)", joinWords(names)))
}

// command is the first operation of a submission, and the pieces that follow it.
// The source goes along unless the version is known to be stored.
func (sub *submission) command(id rota.RunID, withSource bool) (rota.Command, []piece) {
	op := rota.SubmitRun{
		Run: id, Job: sub.job.Name, Hash: sub.version.hash, Filename: sub.version.src.Filename,
		Labels: sub.req.labels, Variables: sub.variables, Priority: sub.job.Priority, OnTaskFailure: sub.job.OnTaskFailure,
		Digest: sub.digest, Total: len(sub.job.Tasks),
	}
	pieces := sub.pieces
	if withSource {
		op.Source, op.Files = sub.version.src.Text, sub.version.src.Files
		pieces = split(sub.job, len(op.Source)+filesSize(op.Files))
	}
	op.Specs, op.Tasks = pieces[0].specs, pieces[0].tasks
	return rota.Command{RequestID: sub.key, Namespace: sub.namespace, Principal: principal, Op: op}, pieces[1:]
}

// start proposes the submission, in pieces where it is large. The run shows when
// the last piece has arrived.
func (s *Server) start(ctx context.Context, sub *submission) (rota.Result, error) {
	id := s.ids.next(time.Now())
	stored := sub.req.version == nil || sub.stored.Load()
	cmd, rest := sub.command(id, !stored)
	res, err := s.submit(ctx, cmd)
	if stored && rota.KindOf(err) == rota.KindNotFound { // it was stored, but has just gone
		if err := s.anew(ctx, sub, res.Index); err != nil {
			return res, err
		}
		cmd, rest = sub.command(id, sub.req.version != nil)
		res, err = s.submit(ctx, cmd)
	}
	if err != nil {
		return res, fmt.Errorf("submit job %q: %w", sub.job.Name, err)
	}
	sub.stored.Store(true)
	return s.startRest(ctx, cmd, res, rest)
}

// anew makes a submission again whose version has gone: that of a job file sends
// its source, that of a stored job takes the version that is now the newest.
func (s *Server) anew(ctx context.Context, sub *submission, index uint64) error {
	sub.stored.Store(false)
	if sub.req.version != nil {
		return nil
	}
	s.settle(ctx, index)
	if err := s.resolveStored(ctx, sub); err != nil {
		return err
	}
	return s.expand(ctx, sub)
}

// startRest proposes the other pieces. Where the key was used before, they may be
// missing, or there already, which the state machine sees.
func (s *Server) startRest(ctx context.Context, cmd rota.Command, res rota.Result, rest []piece) (rota.Result, error) {
	if len(rest) == 0 {
		return res, nil
	}
	if _, whole := s.deps.State.Snapshot().Run(res.Run); whole {
		return res, nil
	}
	for _, p := range rest {
		cmd.RequestID, cmd.Op = "", rota.AddTasks{Run: res.Run, Specs: p.specs, Tasks: p.tasks}
		added, err := s.submit(ctx, cmd)
		if err != nil {
			return added, fmt.Errorf("submit run %s: add tasks: %w", res.Run, err)
		}
		res.Index, res.At = added.Index, added.At
	}
	return res, nil
}
