package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
)

// Status asks for the cluster in one look.
func (c *Client) Status(ctx context.Context) (*StatusView, error) {
	return get[StatusView](ctx, c, "/v1/status", nil)
}

// Nodes lists every node, sorted by name.
func (c *Client) Nodes(ctx context.Context) ([]NodeView, error) {
	return all(ctx, c, "/v1/nodes", nil, decodeList[NodeView])
}

// Node finds a node by name, ID or unique prefix of its ID.
func (c *Client) Node(ctx context.Context, node string) (*NodeView, error) {
	return get[NodeView](ctx, c, "/v1/nodes/"+url.PathEscape(node), nil)
}

// Drain stops new placements on a node; what runs there goes on.
func (c *Client) Drain(ctx context.Context, node string) (*NodeView, error) {
	return postOnce[NodeView](ctx, c, "/v1/nodes/"+url.PathEscape(node)+"/drain")
}

// Undrain lets a node take placements again.
func (c *Client) Undrain(ctx context.Context, node string) (*NodeView, error) {
	return postOnce[NodeView](ctx, c, "/v1/nodes/"+url.PathEscape(node)+"/undrain")
}

// ExplainNode says what a node is given and what it is not.
func (c *Client) ExplainNode(ctx context.Context, node string) (*ExplainNodeView, error) {
	return get[ExplainNodeView](ctx, c, "/v1/nodes/"+url.PathEscape(node)+"/explain", nil)
}

// Validate checks a job file on the server. A file with errors is an *Error of
// type invalid-spec whose problem carries the diagnostics.
func (c *Client) Validate(ctx context.Context, r *SpecRequest) (*ValidateView, error) {
	return post[ValidateView](ctx, c, "/v1/jobs:validate", r, "")
}

// Plan says what a run of the file would do now, without doing it.
func (c *Client) Plan(ctx context.Context, r *SpecRequest) (*PlanView, error) {
	return post[PlanView](ctx, c, "/v1/jobs:plan", r, "")
}

// Jobs lists the stored jobs.
func (c *Client) Jobs(ctx context.Context) ([]JobView, error) {
	return all(ctx, c, "/v1/jobs", c.inNamespace(), decodeList[JobView])
}

// Job gives a stored job with the source of its newest version.
func (c *Client) Job(ctx context.Context, name string) (*JobView, error) {
	return c.JobVersion(ctx, name, 0)
}

// JobVersion gives one stored version of a job with its source; 0 is the newest.
func (c *Client) JobVersion(ctx context.Context, name string, version int) (*JobView, error) {
	q := c.inNamespace()
	if version != 0 {
		q.Set("version", strconv.Itoa(version))
	}
	return get[JobView](ctx, c, "/v1/jobs/"+url.PathEscape(name), q)
}

// inNamespace is a query that names the client's namespace.
func (c *Client) inNamespace() url.Values {
	q := url.Values{}
	if c.opts.Namespace != "" {
		q.Set("namespace", c.opts.Namespace)
	}
	return q
}

// ApplyJob stores a job of a file as its newest version.
func (c *Client) ApplyJob(ctx context.Context, name string, r *ApplyRequest) (*ApplyView, error) {
	view := new(ApplyView)
	_, err := c.call(ctx, &call{method: http.MethodPut, path: "/v1/jobs/" + url.PathEscape(name), in: r, out: view, once: true})
	return view, err
}

// PauseJob lets a job start no runs, or again.
func (c *Client) PauseJob(ctx context.Context, name string, paused bool) (*JobView, error) {
	word := "/resume"
	if paused {
		word = "/pause"
	}
	view := new(JobView)
	_, err := c.call(ctx, &call{method: http.MethodPost, path: "/v1/jobs/" + url.PathEscape(name) + word, query: c.inNamespace(), in: struct{}{}, out: view, once: true})
	return view, err
}

// DeleteJob forgets a job; its runs go on and keep their versions.
func (c *Client) DeleteJob(ctx context.Context, name string) (*JobView, error) {
	view := new(JobView)
	_, err := c.call(ctx, &call{method: http.MethodDelete, path: "/v1/jobs/" + url.PathEscape(name), query: c.inNamespace(), in: struct{}{}, out: view, once: true})
	return view, err
}

// JobVersions lists the versions of a job, newest first.
func (c *Client) JobVersions(ctx context.Context, name string) ([]JobView, error) {
	return all(ctx, c, "/v1/jobs/"+url.PathEscape(name)+"/versions", c.inNamespace(), decodeList[JobView])
}

// Submit starts a run. The same key with the same request gives the same run;
// existed says that it did. An empty key gets a random one, which covers what this
// call sends again by itself.
func (c *Client) Submit(ctx context.Context, r *SubmitRequest, key string) (run *RunView, existed bool, err error) {
	run = new(RunView)
	res, err := c.call(ctx, &call{method: http.MethodPost, path: "/v1/runs", in: r, out: run, key: key})
	if err != nil {
		return nil, false, err
	}
	return run, res.status == http.StatusOK, nil
}

// SubmitMany starts up to 1,000 runs of stored jobs; item i has the key KEY/i.
func (c *Client) SubmitMany(ctx context.Context, rs []SubmitRequest, key string) ([]SubmitAnswer, error) {
	var answers []SubmitAnswer
	_, err := c.call(ctx, &call{method: http.MethodPost, path: "/v1/runs", in: rs, out: &answers, key: key})
	return answers, err
}

// RunFilter chooses runs; zero fields choose all.
type RunFilter struct {
	Namespace string
	Status    []rota.RunStatus
	Job       string
	Labels    map[string]string
	Since     time.Time // created at or after
	Limit     int       // per page; 0: the server's default of 100
	Cursor    string
}

func (f *RunFilter) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("namespace", f.Namespace)
	set("job", f.Job)
	set("cursor", f.Cursor)
	for _, s := range f.Status {
		q.Add("status", s.String())
	}
	for _, p := range rota.PairsOf(f.Labels) {
		q.Add("label", p.Key+"="+p.Value)
	}
	if !f.Since.IsZero() {
		set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// Runs lists a page of runs, newest first.
func (c *Client) Runs(ctx context.Context, f RunFilter) (*List[RunView], error) {
	return get[List[RunView]](ctx, c, "/v1/runs", f.query())
}

// RunOptions say how much of a run is wanted.
type RunOptions struct {
	Tasks   bool // with its tasks: the first 1,000
	Outputs bool // with outputs of any size
	// Consistent asks for all that was acknowledged before, not for what the node
	// that answers has seen so far.
	Consistent bool
}

// RunNow is Run with all that was acknowledged before, or, while there is no leader
// to say what that is, with what the node that answers has seen.
func (c *Client) RunNow(ctx context.Context, run string, o RunOptions) (*RunView, error) {
	return now[RunView](ctx, c, "/v1/runs/"+url.PathEscape(run), o.query())
}

// now is get with ?consistent first, once.
func now[T any](ctx context.Context, c *Client, path string, q url.Values) (*T, error) {
	q.Set("consistent", "true")
	view := new(T)
	_, err := c.round(ctx, &call{method: http.MethodGet, path: path, query: q, out: view}, nil)
	if _, passing := passes(err); err == nil || !passing || ctx.Err() != nil {
		return view, err
	}
	q.Del("consistent")
	return get[T](ctx, c, path, q)
}

// Run finds a run by ID, unique prefix, or @last.
func (c *Client) Run(ctx context.Context, run string, o RunOptions) (*RunView, error) {
	return get[RunView](ctx, c, "/v1/runs/"+url.PathEscape(run), o.query())
}

func (o RunOptions) query() url.Values {
	q := url.Values{}
	if o.Tasks {
		q.Set("tasks", "true")
	}
	if o.Outputs {
		q.Set("outputs", "true")
	}
	if o.Consistent {
		q.Set("consistent", "true")
	}
	return q
}

// TaskFilter chooses tasks of a run; zero fields choose all.
type TaskFilter struct {
	Status []rota.Status
	Limit  int // per page; 0: the server's default of 100
	Cursor string
}

// Tasks lists a page of a run's tasks in the order of its file.
func (c *Client) Tasks(ctx context.Context, run string, f TaskFilter) (*List[TaskView], error) {
	q := url.Values{}
	for _, s := range f.Status {
		q.Add("status", s.String())
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Cursor != "" {
		q.Set("cursor", f.Cursor)
	}
	return get[List[TaskView]](ctx, c, "/v1/runs/"+url.PathEscape(run)+"/tasks", q)
}

// RunTasks lists all tasks of a run in the order of its file.
func (c *Client) RunTasks(ctx context.Context, run string) ([]TaskView, error) {
	q := url.Values{"limit": {"1000"}}
	return all(ctx, c, "/v1/runs/"+url.PathEscape(run)+"/tasks", q, decodeList[TaskView])
}

// RunTasksPage lists a page of the tasks of a run; an empty cursor is the first.
func (c *Client) RunTasksPage(ctx context.Context, run string, limit int, cursor string) (*List[TaskView], error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return get[List[TaskView]](ctx, c, "/v1/runs/"+url.PathEscape(run)+"/tasks", q)
}

// RunGraph gives the graph of a run.
func (c *Client) RunGraph(ctx context.Context, run string) (*GraphView, error) {
	return get[GraphView](ctx, c, "/v1/runs/"+url.PathEscape(run)+"/graph", nil)
}

// WaitRun blocks until the run has ended or is paused, and returns it as it is
// then. watch, unless nil, is called with each change seen on the way (not with
// every one that happened). It goes on over the death of nodes for as long as one
// of its addresses answers within its patience.
func (c *Client) WaitRun(ctx context.Context, run string, watch func(*RunView)) (*RunView, error) {
	index := uint64(0)
	heard := time.Now()
	rest := false // nothing but the end is of interest until the next look
	for {
		q := url.Values{}
		if index > 0 {
			q.Set("index", strconv.FormatUint(index, 10))
			q.Set("wait", "20s")
			if rest = watch != nil && !rest; rest {
				q.Set("wait", watchRest.String())
			}
			if watch == nil || rest {
				q.Set("until", untilEnded)
			}
		}
		view := new(RunView)
		res, err := c.call(ctx, &call{method: http.MethodGet, path: "/v1/runs/" + url.PathEscape(run), query: q, out: view})
		if err != nil {
			if index > 0 && c.mayReturn(err, heard) && wait(ctx, 200*time.Millisecond) == nil {
				continue
			}
			return nil, err
		}
		heard = time.Now()
		if watch != nil && !rest && (!res.unchanged || index == 0) {
			watch(view)
		}
		if view.Status.Terminal() || view.Status == rota.RunPaused {
			if rest {
				watch(view)
			}
			return view, nil
		}
		run = string(view.ID)
		if !rest { // else what changed meanwhile is still to be shown
			index = max(res.index, 1)
		}
	}
}

// watchRest is the least time between two changes that a watcher is shown: a run
// of many tasks changes thousands of times a second.
const watchRest = 100 * time.Millisecond

// mayReturn reports whether what answered at an instant may do so again, and there
// is patience left to see.
func (c *Client) mayReturn(err error, heard time.Time) bool {
	var unreachable *UnreachableError
	_, passing := passes(err)
	return (passing || errors.As(err, &unreachable)) && time.Since(heard) < c.opts.Patience
}

// CancelRun cancels whatever of a run has not ended.
func (c *Client) CancelRun(ctx context.Context, run, reason string) (*RunView, error) {
	return post[RunView](ctx, c, "/v1/runs/"+url.PathEscape(run)+"/cancel", &CancelRequest{Reason: reason}, "")
}

func taskPath(run, key string) string {
	return "/v1/tasks/" + url.PathEscape(run) + "/" + url.PathEscape(key)
}

// Task gives one task with its attempts and its output of any size.
func (c *Client) Task(ctx context.Context, run, key string) (*TaskDetail, error) {
	return get[TaskDetail](ctx, c, taskPath(run, key), nil)
}

// TaskNow is Task as RunNow is Run.
func (c *Client) TaskNow(ctx context.Context, run, key string) (*TaskDetail, error) {
	return now[TaskDetail](ctx, c, taskPath(run, key), url.Values{})
}

// ExplainTask says why a task waits, or why it is where it is.
func (c *Client) ExplainTask(ctx context.Context, run, key string) (*ExplainView, error) {
	return get[ExplainView](ctx, c, taskPath(run, key)+"/explain", nil)
}

// CancelTask cancels one task; what depends on it is skipped.
func (c *Client) CancelTask(ctx context.Context, run, key, reason string) (*TaskDetail, error) {
	return post[TaskDetail](ctx, c, taskPath(run, key)+"/cancel", &CancelRequest{Reason: reason}, "")
}

// AnswerTask settles a task that waits with outcome_unknown: run it again, or give
// it up as a dead letter.
func (c *Client) AnswerTask(ctx context.Context, run, key string, rerun bool) (*TaskDetail, error) {
	return post[TaskDetail](ctx, c, taskPath(run, key)+"/answer", &AnswerRequest{Rerun: rerun}, "")
}

// Version asks the node that answers for its version.
func (c *Client) Version(ctx context.Context) (*VersionView, error) {
	return get[VersionView](ctx, c, "/v1/version", nil)
}

// Ready asks the node that answers whether it is ready. Not being ready is no
// error.
func (c *Client) Ready(ctx context.Context) (*ReadyView, error) {
	view := new(ReadyView)
	_, err := c.call(ctx, &call{method: http.MethodGet, path: "/readyz", out: view, accept: http.StatusServiceUnavailable})
	return view, err
}

// Doctor asks the node that answers what it found out about itself.
func (c *Client) Doctor(ctx context.Context) (*DoctorView, error) {
	return get[DoctorView](ctx, c, "/v1/doctor", nil)
}
