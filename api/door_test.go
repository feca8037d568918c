package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// TestEveryRouteAnswers: each route of the description answers a request that is
// fine, through a follower.
func TestEveryRouteAnswers(t *testing.T) {
	w := newWorld(t, 2, 2)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	task := rota.TaskID{Run: run.ID, Key: "a"}
	w.place(t, task, session)
	w.nodes[0].write(task, "hello", false)
	w.do(t, rota.RaiseFormat{Format: rota.FormatJobs})
	spec := `{"source":"job \"x\" {\n task \"a\" {\n driver = \"noop\"\n }\n}\n"}`
	bodies := map[string]string{
		"POST /v1/jobs:validate": spec, "POST /v1/jobs:plan": spec, "POST /v1/runs": spec,
		"PUT /v1/jobs/{name}":               strings.ReplaceAll(spec, `job \"x\"`, `job \"two\"`),
		"POST /v1/tasks/{run}/{key}/answer": `{"rerun":true}`,
	}
	want := map[string]int{"POST /v1/runs": 201, "POST /v1/tasks/{run}/{key}/answer": 409, "POST /v1/tasks/{run}/{key}/cancel": 200}
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	base := w.nodes[1].http.URL
	_, h, b := raw(t, "GET", base+"/v1/openapi.json", "", nil)
	if err := json.Unmarshal(b, &doc); err != nil || doc.OpenAPI != "3.1.0" || h.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("description: %v %.200s", err, b)
	}
	if len(doc.Paths) < 22 {
		t.Errorf("only %d paths", len(doc.Paths))
	}
	fill := strings.NewReplacer("{run}", string(run.ID), "{key}", "a", "{name}", "two")
	for path, methods := range doc.Paths {
		id := string(run.ID)
		if strings.HasPrefix(path, "/v1/nodes") {
			id = "n1"
		}
		for method := range methods {
			method = strings.ToUpper(method)
			if strings.HasSuffix(path, "/cancel") && strings.HasPrefix(path, "/v1/runs") || method == http.MethodDelete {
				continue // it ends what the others look at
			}
			url := base + strings.ReplaceAll(fill.Replace(path), "{id}", id)
			if strings.HasSuffix(path, "/events") {
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, method, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
					t.Errorf("%s %s: %v %v", method, path, resp, err)
				}
				cancel()
				_ = resp.Body.Close()
				continue
			}
			status, _, b := raw(t, method, url, bodies[method+" "+path], nil)
			expect := want[method+" "+path]
			if expect == 0 {
				expect = 200
			}
			if status != expect {
				t.Errorf("%s %s: %d %.300s", method, path, status, b)
			}
		}
	}
	if status, _, b := raw(t, "POST", base+"/v1/runs/"+string(run.ID)+"/cancel", "", nil); status != 409 {
		t.Errorf("cancel of what has ended: %d %s", status, b)
	}
}

// TestOperatorsDoor: health, readiness, doctor, version and metrics.
func TestOperatorsDoor(t *testing.T) {
	w := newWorld(t, 2, 1)
	w.register(t, 0)
	w.submit(t, 0, twoTasks)
	c := w.client(t, 0)
	if r, err := c.Ready(t.Context()); err != nil || !r.Ready {
		t.Errorf("ready: %+v %v", r, err)
	}
	if r, err := w.client(t, 1).Ready(t.Context()); err != nil || r.Ready || len(r.Checks) != 1 {
		t.Errorf("not ready: %+v %v", r, err)
	}
	if status, _, _ := raw(t, "GET", w.nodes[1].http.URL+"/readyz", "", nil); status != 503 {
		t.Errorf("not ready: %d", status)
	}
	if d, err := c.Doctor(t.Context()); err != nil || d.Node != "n1" || len(d.Checks) != 1 {
		t.Errorf("doctor: %+v %v", d, err)
	}
	if v, err := c.Version(t.Context()); err != nil || v.Version != "v-test" {
		t.Errorf("version: %+v %v", v, err)
	}
	for i := range w.nodes {
		status, h, b := raw(t, "GET", w.nodes[i].http.URL+"/metrics", "", nil)
		if status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Fatalf("metrics: %d %s", status, b)
		}
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, "# ") && len(strings.Fields(line)) < 2 {
				t.Errorf("line %q", line)
			}
		}
		for _, want := range []string{"rota_log_index 2\n", "rota_leader_known 1\n", "rota_info{version=\"v-test\""} {
			if !strings.Contains(string(b), want) {
				t.Errorf("node %d: no %q in\n%s", i, want, b)
			}
		}
		if has := strings.Contains(string(b), `rota_tasks{status="queued"} 1`) && strings.Contains(string(b), `rota_http_requests_total{route="submitRun",class="2xx"} 1`); has != (i == 0) {
			t.Errorf("node %d: tasks and requests: %v", i, has)
		}
	}
	s, err := c.Status(t.Context())
	if err != nil || *s.Leader != "n1" || s.ClusterID != clusterID || s.Nodes.Ready != 1 || s.Tasks["queued"] != 1 || s.Tasks["created"] != 1 || len(s.Tasks) != len(rota.Statuses) {
		t.Errorf("status: %+v %v", s, err)
	}
}

// TestJobsGraphAndExplanations: what else people look at.
func TestJobsGraphAndExplanations(t *testing.T) {
	w := newWorld(t, 2, 2)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	w.submit(t, 0, strings.ReplaceAll(twoTasks, `"b"`, `"c"`))
	c := w.client(t, 1)
	jobs, err := c.Jobs(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].Version != 2 || jobs[0].Source != "" {
		t.Errorf("jobs: %+v %v", jobs, err)
	}
	job, err := c.Job(t.Context(), "two")
	if err != nil || !strings.Contains(job.Source, `"c"`) {
		t.Errorf("job: %+v %v", job, err)
	}
	versions, err := c.JobVersions(t.Context(), "two")
	if err != nil || len(versions) != 2 || versions[0].Version != 2 {
		t.Errorf("versions: %+v %v", versions, err)
	}
	g, err := c.RunGraph(t.Context(), string(run.ID))
	if err != nil || len(g.Nodes) != 2 || len(g.Edges) != 1 || g.Edges[0] != (api.GraphEdge{From: "a", To: "b", Kind: "delivered"}) {
		t.Errorf("graph: %+v %v", g, err)
	}
	e, err := c.ExplainTask(t.Context(), string(run.ID), "a")
	if err != nil || e.Key != "a" || e.Reason.Code != rota.ReasonNoRoom || e.Place != 1 || e.Status != rota.StatusQueued {
		t.Errorf("queued: %+v %v", e, err)
	}
	if e, err = c.ExplainTask(t.Context(), string(run.ID), "b"); err != nil || e.Reason.Code != rota.ReasonDependencies || !strings.Contains(e.Reason.Text, "a") {
		t.Errorf("created: %+v %v", e, err)
	}
	task := rota.TaskID{Run: run.ID, Key: "a"}
	f := w.place(t, task, session)
	if e, err = c.ExplainTask(t.Context(), string(run.ID), "a"); err != nil || !strings.Contains(e.Reason.Text, "n1") {
		t.Errorf("running: %+v %v", e, err)
	}
	n, err := c.Node(t.Context(), "n1")
	if err != nil || len(n.Attempts) != 1 || n.Attempts[0].Task != task.String() || n.Running != 1 || n.Resources.GPUs[0].FreeMilli != 1000 {
		t.Errorf("node: %+v %v", n, err)
	}
	w.finish(t, task, session, f, rota.Outcome{Cause: rota.CauseExitNonzero, ExitCode: 3, Message: "broke"})
	if e, err = c.ExplainTask(t.Context(), string(run.ID), "a"); err != nil || !strings.Contains(e.Reason.Text, "broke") {
		t.Errorf("dead: %+v %v", e, err)
	}
	ne, err := c.ExplainNode(t.Context(), "n1")
	if err != nil || ne.Node.Name != "n1" || len(ne.Lines) != 1 {
		t.Errorf("explain node: %+v %v", ne, err)
	}
	detail, err := c.Task(t.Context(), string(run.ID), "a")
	if err != nil || len(detail.AttemptList) != 1 || detail.AttemptList[0].ExitCode != 3 || detail.Status != rota.StatusDeadLettered {
		t.Errorf("task: %+v %v", detail, err)
	}
}

// TestLargeOutputsAreLeftOutOfLists: and given where one task is asked for.
func TestLargeOutputsAreLeftOutOfLists(t *testing.T) {
	w := newWorld(t, 1, 1)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	task := rota.TaskID{Run: run.ID, Key: "a"}
	output := json.RawMessage(`"` + strings.Repeat("x", 5000) + `"`)
	w.finish(t, task, session, w.place(t, task, session), rota.Outcome{Output: output})
	c := w.client(t, 0)
	v, err := c.Run(t.Context(), string(run.ID), api.RunOptions{Tasks: true})
	if err != nil || string(v.Tasks[0].Output) != "null" || v.Tasks[0].OutputBytes != len(output) {
		t.Errorf("in a list: %s %d %v", v.Tasks[0].Output, v.Tasks[0].OutputBytes, err)
	}
	v, err = c.Run(t.Context(), string(run.ID), api.RunOptions{Tasks: true, Outputs: true})
	if err != nil || string(v.Tasks[0].Output) != string(output) {
		t.Errorf("asked for: %v", err)
	}
	one, err := c.Task(t.Context(), string(run.ID), "a")
	if err != nil || string(one.Output) != string(output) {
		t.Errorf("one task: %v", err)
	}
}

// TestStoppingEndsStreams: a node that stops ends what is open, soon.
func TestStoppingEndsStreams(t *testing.T) {
	w := newWorld(t, 1, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.nodes[0].server.Run(ctx, ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, resp.Body)
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		resp, err := http.Get("http://" + ln.Addr().String() + "/v1/status?index=999999&wait=50s")
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	started := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if took := time.Since(started); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := io.ReadAll(resp.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("stream: %v", err)
	}
	<-waiting
}

// TestTooManyAtOnceAreToldSo: what is over the bounds is refused, not queued.
func TestTooManyAtOnceAreToldSo(t *testing.T) {
	w := newWorld(t, 1, 1, func(c *api.Config) { c.MaxStreams = 1 })
	resp, err := http.Get(w.nodes[0].http.URL + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, resp.Body)
	status, h, b := raw(t, "GET", w.nodes[0].http.URL+"/v1/events", "", nil)
	if p := decode[api.Problem](t, b); status != 429 || p.Type != api.TypeOverloaded || h.Get("Retry-After") == "" {
		t.Errorf("%d %+v", status, p)
	}
}

// TestAdvertisedNameIsAnswered: on loopback only the machine's own names are, and
// those that it was told.
func TestAdvertisedNameIsAnswered(t *testing.T) {
	w := newWorld(t, 1, 1, func(c *api.Config) { c.Hosts = []string{"rota.test"} })
	for host, want := range map[string]int{
		"rota.test": 200, "ROTA.test:8420": 200, "localhost:1": 200, "127.0.0.1": 200, "127.1.2.3:99": 200, "[::1]:8420": 200,
		"rota.test.evil": 403, "10.0.0.1": 403, "0.0.0.0": 403, "[::2]": 403,
	} {
		if status, _, _ := raw(t, "GET", w.nodes[0].http.URL+"/healthz", "", map[string]string{"Host": host}); status != want {
			t.Errorf("host %q: %d, want %d", host, status, want)
		}
	}
	if status, _, _ := raw(t, "POST", w.nodes[0].http.URL+"/v1/runs", `{"job":"none"}`, map[string]string{"Origin": w.nodes[0].http.URL, "Sec-Fetch-Site": "same-origin"}); status != 404 {
		t.Errorf("our own page: %d", status)
	}
}

// TestRunIDsFollowTheirOrder: IDs made by one server sort as they were made.
func TestRunIDsFollowTheirOrder(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.submit(t, 0, twoTasks)
	items := make([]api.SubmitRequest, 1000)
	for i := range items {
		items[i] = api.SubmitRequest{Job: "two"}
	}
	answers, err := w.client(t, 0).SubmitMany(t.Context(), items, "")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[rota.RunID]bool{}
	for _, a := range answers {
		if a.Problem != nil {
			t.Fatal(a.Problem)
		}
		if ids[a.ID] || len(a.ID) != 26 || !strings.HasSuffix(string(a.ID), rota.ShardSuffix) {
			t.Fatalf("id %s", a.ID)
		}
		ids[a.ID] = true
	}
	var last rota.RunID
	for range 50 {
		run := w.submit(t, 0, twoTasks)
		if run.ID <= last || slices.Contains([]rota.RunID{""}, run.ID) {
			t.Fatalf("%s after %s", run.ID, last)
		}
		last = run.ID
	}
}
