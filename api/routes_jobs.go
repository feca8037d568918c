package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/jobspecs"
)

func (s *Server) listJobs(rd *reading) error {
	limit, err := rd.limit()
	if err != nil {
		return err
	}
	after, namespace := rd.query.Get("cursor"), rd.query.Get("namespace")
	page := List[JobView]{Items: []JobView{}}
	last := ""
	for v := range rd.snap.Jobs() {
		at := v.Namespace + "/" + v.Job
		if after != "" && at <= after || namespace != "" && v.Namespace != namespace {
			continue
		}
		if len(page.Items) == limit {
			page.NextCursor = &last
			break
		}
		page.Items = append(page.Items, viewJob(rd.snap, v, false))
		last = at
	}
	return answer(rd.w, http.StatusOK, &page)
}

func (s *Server) getJob(rd *reading) error {
	namespace, err := namespaceOf(rd.query.Get("namespace"))
	if err != nil {
		return err
	}
	number := 0
	if text := rd.query.Get("version"); text != "" {
		if number, err = strconv.Atoi(text); err != nil || number < 1 {
			return badQuery("version", text, "a number from 1")
		}
	}
	v, err := findVersion(rd.snap, namespace, rd.PathValue("name"), number)
	if err != nil {
		return err
	}
	view := viewJob(rd.snap, v, true)
	return answer(rd.w, http.StatusOK, &view)
}

// findVersion finds a version of a stored job; number 0 is the newest.
func findVersion(snap *fsm.Snapshot, namespace, job string, number int) (*rota.JobVersion, error) {
	newest, ok := snap.NewestVersion(namespace, job)
	switch {
	case !ok:
		return nil, notFound("namespace %q has no job %q; `rota apply` stores one, and so does its first run", namespace, clip(job, 80))
	case number == 0:
		return newest, nil
	}
	if v, ok := snap.Version(namespace, job, number); ok {
		return v, nil
	}
	return nil, notFound("job %q has no version %d; the newest is %d", job, number, newest.Version)
}

func (s *Server) listVersions(rd *reading) error {
	namespace, err := namespaceOf(rd.query.Get("namespace"))
	if err != nil {
		return err
	}
	limit, err := rd.limit()
	if err != nil {
		return err
	}
	before := 0
	if text := rd.query.Get("cursor"); text != "" {
		if before, err = strconv.Atoi(text); err != nil || before < 1 {
			return badQuery("cursor", text, "the next_cursor of the page before")
		}
	}
	if _, err := findVersion(rd.snap, namespace, rd.PathValue("name"), 0); err != nil {
		return err
	}
	versions := slices.Collect(rd.snap.Versions(namespace, rd.PathValue("name")))
	page := List[JobView]{Items: []JobView{}}
	for _, v := range slices.Backward(versions) {
		if before > 0 && v.Version >= before {
			continue
		}
		if len(page.Items) == limit {
			next := strconv.Itoa(page.Items[limit-1].Version)
			page.NextCursor = &next
			break
		}
		page.Items = append(page.Items, viewJob(rd.snap, v, false))
	}
	return answer(rd.w, http.StatusOK, &page)
}

// readSpec reads a job file that is only looked at.
func (s *Server) readSpec(w http.ResponseWriter, r *http.Request) (*SpecRequest, error) {
	b, err := s.readBody(w, r, maxSubmitBody)
	if err != nil {
		return nil, err
	}
	req := new(SpecRequest)
	if err := decodeStrict(b, req); err != nil {
		return nil, err
	}
	if req.Source == nil {
		return nil, newProblem(TypeInvalid, `the body has no "source"`)
	}
	if req.Namespace, err = namespaceOf(req.Namespace); err != nil {
		return nil, err
	}
	if err := checkPriority(req.Priority); err != nil {
		return nil, err
	}
	return req, checkSource(*req.Source, req.Filename, req.Files)
}

func (req *SpecRequest) inputs() (jobspecs.Source, jobspecs.Inputs) {
	return sourceOf(*req.Source, req.Filename, req.Files), jobspecs.Inputs{Job: req.Job, Variables: req.Variables, Priority: req.Priority}
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) error {
	s.armed(w, s.cfg.WriteWait)
	req, err := s.readSpec(w, r)
	if err != nil {
		return err
	}
	src, in := req.inputs()
	in.AllowMissing = true
	file, ds, err := s.parse(r.Context(), src, in)
	if err != nil {
		return err
	}
	v := ValidateView{Valid: true, Diagnostics: list(ds), Jobs: []JobSummary{}}
	for _, j := range file.Jobs() {
		v.Jobs = append(v.Jobs, JobSummary{Name: j.Name, Tasks: len(j.Tasks)})
	}
	return answer(w, http.StatusOK, &v)
}

// parse parses a job file, when there is a turn for it. Errors of the file are an
// invalid-spec problem.
func (s *Server) parse(ctx context.Context, src jobspecs.Source, in jobspecs.Inputs) (*jobspecs.File, rota.Diagnostics, error) {
	release, err := s.parses.take(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	file, ds := jobspecs.Parse(src, in)
	if ds.HasErrors() || file == nil {
		return nil, nil, specProblem(ds)
	}
	return file, ds, nil
}

func (s *Server) plan(w http.ResponseWriter, r *http.Request) error {
	if !s.leads() {
		return s.passOn(w, r)
	}
	s.armed(w, s.cfg.WriteWait)
	req, err := s.readSpec(w, r)
	if err != nil {
		return err
	}
	src, in := req.inputs()
	file, ds, err := s.parse(r.Context(), src, in)
	if err != nil {
		return err
	}
	job, err := oneJob(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadWait)
	defer cancel()
	placing, err := s.deps.Duties.Plan(ctx, job)
	if err != nil {
		return fmt.Errorf("plan job %q: %w", job.Name, err)
	}
	snap := s.deps.State.Snapshot()
	v := PlanView{Job: job.Name, Namespace: req.Namespace, Diagnostics: list(ds), Changes: []PlanChange{}, Tasks: planTasks(job, placing)}
	if job.Namespace != "" {
		v.Namespace = job.Namespace
	}
	s.compare(ctx, snap, &v, job, src, in)
	s.stamp(w, snap)
	return answer(w, http.StatusOK, &v)
}

func planTasks(job *rota.Job, placing *Placing) []PlanTask {
	tasks := make([]PlanTask, len(job.Tasks))
	for i, t := range job.Tasks {
		spec := job.Specs[t.Spec]
		tasks[i] = PlanTask{
			Key: t.Key, DependsOn: make([]rota.TaskKey, len(t.DependsOn)), Driver: spec.Driver, Priority: spec.Priority,
			Resources: spec.Resources, Node: placing.Nodes[t.Key],
		}
		for k, e := range t.DependsOn {
			tasks[i].DependsOn[k] = e.On
		}
		if why, ok := placing.Reasons[t.Key]; ok {
			tasks[i].Reason = &why
		}
	}
	return tasks
}

// compare says how the file differs from the newest stored version of its job,
// expanded with the same variables. A stored version that does not parse any more
// differs in everything.
func (s *Server) compare(ctx context.Context, snap *fsm.Snapshot, v *PlanView, job *rota.Job, src jobspecs.Source, in jobspecs.Inputs) {
	v.Changed = true
	old := new(rota.Job)
	stored, err := findVersion(snap, v.Namespace, job.Name, 0)
	if err == nil {
		v.Version = stored.Version
		if stored.Hash == jobspecs.Hash(src) {
			v.Changed = false
			return
		}
		in.Job = job.Name
		if file, _, err := s.parse(ctx, sourceOf(string(stored.Source), stored.Filename, stored.Files), in); err == nil {
			if j, err := oneJob(file); err == nil {
				old = j
			}
		}
	}
	before := make(map[rota.TaskKey]*rota.NewTask, len(old.Tasks))
	for i := range old.Tasks {
		before[old.Tasks[i].Key] = &old.Tasks[i]
	}
	for i := range job.Tasks {
		t := &job.Tasks[i]
		was, ok := before[t.Key]
		delete(before, t.Key)
		if !ok {
			v.Changes = append(v.Changes, PlanChange{Key: t.Key, Action: "add", Fields: []string{}})
			continue
		}
		if fields := differences(job, t, old, was); len(fields) > 0 {
			v.Changes = append(v.Changes, PlanChange{Key: t.Key, Action: "change", Fields: fields})
		}
	}
	for i := range old.Tasks {
		if _, gone := before[old.Tasks[i].Key]; gone {
			v.Changes = append(v.Changes, PlanChange{Key: old.Tasks[i].Key, Action: "remove", Fields: []string{}})
		}
	}
}

// specFields are the parts of a spec by the names of the job language.
var specFields = []struct {
	name string
	of   func(*rota.TaskSpec) any
}{
	{"type", func(t *rota.TaskSpec) any { return t.Type }},
	{"driver", func(t *rota.TaskSpec) any { return t.Driver }},
	{"priority", func(t *rota.TaskSpec) any { return t.Priority }},
	{"command", func(t *rota.TaskSpec) any { return t.Command }},
	{"env", func(t *rota.TaskSpec) any { return t.Env }},
	{"workdir", func(t *rota.TaskSpec) any { return t.Workdir }},
	{"input", func(t *rota.TaskSpec) any { return string(t.Input) }},
	{"output", func(t *rota.TaskSpec) any { return t.Output }},
	{"resources", func(t *rota.TaskSpec) any { return t.Resources }},
	{"routing", func(t *rota.TaskSpec) any { return t.Capabilities }},
	{"constraint", func(t *rota.TaskSpec) any { return t.Constraints }},
	{"affinity", func(t *rota.TaskSpec) any { return t.Affinities }},
	{"spread", func(t *rota.TaskSpec) any { return t.Spreads }},
	{"distinct_hosts", func(t *rota.TaskSpec) any { return t.DistinctHosts }},
	{"retry", func(t *rota.TaskSpec) any { return t.Retry }},
	{"timeouts", func(t *rota.TaskSpec) any { return t.Timeouts }},
	{"stop", func(t *rota.TaskSpec) any { return t.Stop }},
	{"rerun", func(t *rota.TaskSpec) any { return t.Rerun }},
	{"allow_failure", func(t *rota.TaskSpec) any { return t.AllowFailure }},
}

func differences(job *rota.Job, t *rota.NewTask, old *rota.Job, was *rota.NewTask) []string {
	var fields []string
	a, b := job.Specs[t.Spec], old.Specs[was.Spec]
	for _, f := range specFields {
		if !reflect.DeepEqual(f.of(a), f.of(b)) {
			fields = append(fields, f.name)
		}
	}
	if !slices.Equal(t.DependsOn, was.DependsOn) {
		fields = append(fields, "depends_on")
	}
	if !slices.Equal(a.Late, b.Late) && len(fields) == 0 {
		fields = append(fields, a.Late...)
	}
	return fields
}
