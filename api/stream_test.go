package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// soon bounds a wait for something that is about to happen.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestEventsResumeWhereTheyStopped: a reader that comes back misses nothing and
// hears nothing twice, through whichever node.
func TestEventsResumeWhereTheyStopped(t *testing.T) {
	w := newWorld(t, 2, 2)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	var ids []string
	for e, err := range w.client(t, 0).Events(soon(t), "0", api.EventFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
		if len(ids) == 3 {
			break
		}
	}
	for _, key := range []rota.TaskKey{"a", "b"} {
		task := rota.TaskID{Run: run.ID, Key: key}
		w.finish(t, task, session, w.place(t, task, session), rota.Outcome{})
	}
	var last *api.EventView
	for e, err := range w.client(t, 1).Events(soon(t), ids[2], api.EventFilter{Run: string(run.ID), End: true}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
		last = e
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(ids) != len(w.events) {
		t.Fatalf("heard %d of %d events", len(ids), len(w.events))
	}
	for i, e := range w.events {
		if ids[i] != e.ID {
			t.Errorf("event %d: %s, want %s", i, ids[i], e.ID)
		}
	}
	if last.Type != rota.ChangeRunFinished || last.Run != run.ID {
		t.Errorf("last: %+v", last)
	}
}

// TestEventsThatAreGoneAreSaidToBe: a place before what is kept is 410, not a hole.
func TestEventsThatAreGoneAreSaidToBe(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.register(t, 0)
	for range 3 {
		w.submit(t, 0, twoTasks)
	}
	w.mu.Lock()
	first := w.events[0].ID
	w.oldest = 4
	w.mu.Unlock()
	for e, err := range w.client(t, 0).Events(soon(t), first, api.EventFilter{}) {
		if err == nil {
			t.Fatalf("an event: %+v", e)
		}
		if p := problemOf(t, err); p.Type != api.TypeGone || p.Status != http.StatusGone {
			t.Fatalf("problem: %+v", p)
		}
	}
	n := 0
	for _, err := range w.client(t, 0).Events(soon(t), "0", api.EventFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == len(w.events)-4 {
			break
		}
	}
}

// TestEventsSurviveTheNodeThatSentThem: the reader goes on at another node.
func TestEventsSurviveTheNodeThatSentThem(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.register(t, 0)
	c, err := api.NewClient([]string{w.nodes[1].http.URL, w.nodes[0].http.URL}, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen := map[string]int{}
	runs := 0
	w.submit(t, 0, twoTasks)
	for e, err := range c.Events(soon(t), "0", api.EventFilter{Types: []string{"run.*"}}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.ID]++
		if runs++; runs == 1 {
			w.nodes[1].http.CloseClientConnections()
			w.nodes[1].http.Close()
			w.submit(t, 0, twoTasks)
		}
		if runs == 2 {
			break
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s came %d times", id, n)
		}
	}
}

// TestStreamSaysWhereItIs: before the first event, and while none comes that is
// wanted, so that a reader that comes back misses none.
func TestStreamSaysWhereItIs(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.register(t, 0)
	last := history{w.nodes[0]}.Last()
	for after, want := range map[string]string{"0": "0", "": last} {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, w.nodes[0].http.URL+"/v1/events?type=run.*&after="+after, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // closed does
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		for _, line := range []string{"event: hello", "id: " + want, "data: {}", "", ": alive", "id: " + last, ""} {
			if !lines.Scan() || lines.Text() != line {
				t.Errorf("after %q: got %q, want %q", after, lines.Text(), line)
			}
		}
		closed(t, resp.Body)
	}
}

// TestWaitingEndsWithTheRun: a blocking read returns when the run changed, and not
// before.
func TestWaitingEndsWithTheRun(t *testing.T) {
	w := newWorld(t, 3, 2)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	done := make(chan *api.RunView, 1)
	seen := make(chan rota.RunStatus, 64)
	c := w.client(t, 2) // has no replica: passed on to a server, and from there to the leader
	c1 := w.client(t, 1)
	go func() {
		v, err := c1.WaitRun(soon(t), string(run.ID), func(v *api.RunView) { seen <- v.Status })
		if err != nil {
			t.Error(err)
		}
		done <- v
	}()
	<-seen // it is waiting, or about to
	for _, key := range []rota.TaskKey{"a", "b"} {
		select {
		case v := <-done:
			t.Fatalf("returned early: %+v", v)
		default:
		}
		task := rota.TaskID{Run: run.ID, Key: key}
		w.finish(t, task, session, w.place(t, task, session), rota.Outcome{})
	}
	if v := <-done; v.Status != rota.RunSucceeded {
		t.Fatalf("run: %+v", v)
	}
	if v, err := c.WaitRun(soon(t), "@last", nil); err != nil || v.Status != rota.RunSucceeded {
		t.Fatalf("run: %+v %v", v, err)
	}
}

// TestBlockingReadSaysThatNothingChanged: what other runs do does not wake it.
func TestBlockingReadSaysThatNothingChanged(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	index := w.snapshot().Index()
	w.submit(t, 0, twoTasks)
	path := fmt.Sprintf("%s/v1/runs/%s?index=%d&wait=30ms", w.nodes[0].http.URL, run.ID, index)
	status, h, _ := raw(t, "GET", path, "", nil)
	if status != 200 || h.Get("Rota-Unchanged") != "true" {
		t.Errorf("%d, unchanged %q", status, h.Get("Rota-Unchanged"))
	}
	status, h, _ = raw(t, "GET", strings.Replace(path, fmt.Sprint("index=", index), "index=1", 1), "", nil)
	if status != 200 || h.Get("Rota-Unchanged") != "" {
		t.Errorf("since the beginning: %d, unchanged %q", status, h.Get("Rota-Unchanged"))
	}
}

// TestOwnWriteIsFoundOnAFollower: what was just submitted through one node is found
// through another that has not applied it yet.
func TestOwnWriteIsFoundOnAFollower(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.nodes[1].Snapshot()
	w.nodes[1].lag = true
	run := w.submit(t, 0, twoTasks)
	c := w.client(t, 1)
	if v, err := c.Run(t.Context(), string(run.ID), api.RunOptions{}); err != nil || v.ID != run.ID {
		t.Fatal(v, err)
	}
	second := w.submit(t, 0, twoTasks)
	if v, err := c.CancelRun(t.Context(), string(second.ID), ""); err != nil || v.Status != rota.RunCancelled {
		t.Fatal(v, err)
	}
}

// TestNodeThatIsBehindDoesNotDenyARun: without a leader to ask, a late copy refuses
// to cancel what it does not know instead of saying that there is no such run.
func TestNodeThatIsBehindDoesNotDenyARun(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.nodes[1].Snapshot()
	w.nodes[1].lag = true
	run := w.submit(t, 0, twoTasks)
	w.mu.Lock()
	w.leader = -1
	w.mu.Unlock()
	for _, path := range []string{"/v1/runs/" + string(run.ID) + "/cancel", "/v1/tasks/" + string(run.ID) + "/a/cancel"} {
		status, h, b := raw(t, "POST", w.nodes[1].http.URL+path, "{}", nil)
		if p := decode[api.Problem](t, b); status != 503 || p.Type != api.TypeNoLeader || h.Get("Retry-After") == "" {
			t.Errorf("%s without a leader: %d %+v", path, status, p)
		}
	}
}

// TestConsistentReadCatchesUp: it shows what was acknowledged before, or says that
// there is no leader.
func TestConsistentReadCatchesUp(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.nodes[1].Snapshot()
	w.nodes[1].lag = true
	w.submit(t, 0, twoTasks)
	base := w.nodes[1].http.URL + "/v1/runs"
	_, _, b := raw(t, "GET", base, "", nil)
	if l := decode[api.List[api.RunView]](t, b); len(l.Items) != 0 {
		t.Fatalf("a late copy shows %d runs", len(l.Items))
	}
	_, _, b = raw(t, "GET", base+"?consistent", "", nil)
	if l := decode[api.List[api.RunView]](t, b); len(l.Items) != 1 {
		t.Errorf("a consistent read shows %d runs", len(l.Items))
	}
	w.mu.Lock()
	w.leader = -1
	w.mu.Unlock()
	status, h, b := raw(t, "GET", base+"?consistent=true", "", nil)
	if p := decode[api.Problem](t, b); status != 503 || p.Type != api.TypeNoLeader || h.Get("Retry-After") == "" {
		t.Errorf("without a leader: %d %+v", status, p)
	}
	if status, _, _ = raw(t, "GET", base, "", nil); status != 200 {
		t.Errorf("an ordinary read without a leader: %d", status)
	}
}

// TestWriteWithoutLeader: each way in which a write can come to nothing has its own
// status and type.
func TestWriteWithoutLeader(t *testing.T) {
	w := newWorld(t, 1, 1)
	for _, c := range []struct {
		err     error
		status  int
		problem string
		retry   bool
	}{
		{rota.ErrNoLeader, 503, api.TypeNoLeader, true},
		{rota.ErrOverloaded, 429, api.TypeOverloaded, true},
		{rota.ErrUnavailable, 503, api.TypeUnavailable, true},
		{rota.ErrTooLarge, 413, api.TypeTooLarge, false},
		{rota.ErrFormat, 409, api.TypeFormat, false},
		{rota.ErrUnknown, 504, api.TypeUnknown, true},
		{context.DeadlineExceeded, 504, api.TypeUnknown, true},
		{errors.New("leadership lost"), 504, api.TypeUnknown, true},
	} {
		w.mu.Lock()
		w.refuse = fmt.Errorf("propose: %w", c.err)
		w.mu.Unlock()
		status, h, b := raw(t, "POST", w.nodes[0].http.URL+"/v1/runs", `{"source":"job \"x\" {\n task \"a\" {\n driver = \"noop\"\n }\n}\n"}`, nil)
		p := decode[api.Problem](t, b)
		if status != c.status || p.Type != c.problem || p.Status != status || (h.Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: %d %+v, Retry-After %q", c.err, status, p, h.Get("Retry-After"))
		}
	}
}

// TestClientWaitsForAnElection: a submission sent while there is no leader goes
// through once there is one, once.
func TestClientWaitsForAnElection(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.leader = -1
	c, err := api.NewClient([]string{"127.0.0.1:1", w.nodes[0].http.URL, w.nodes[1].http.URL}, api.Options{Patience: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tries := make(chan struct{})
	go func() {
		<-tries
		w.mu.Lock()
		w.leader = 1
		w.mu.Unlock()
	}()
	time.AfterFunc(50*time.Millisecond, func() { close(tries) })
	if _, _, err := c.Submit(soon(t), request(twoTasks), ""); err != nil {
		t.Fatal(err)
	}
	if n := w.snapshot().Counts()[rota.StatusQueued]; n != 1 {
		t.Errorf("%d queued tasks", n)
	}
}

// TestNobodyThere: when no node answers, the error names the addresses and is one
// to try again.
func TestNobodyThere(t *testing.T) {
	c, err := api.NewClient([]string{"127.0.0.1:1", "127.0.0.1:2"}, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(t.Context())
	if !errors.Is(err, rota.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "127.0.0.1:2") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "http://", "ftp://x", "://", "http://:80"} {
		if _, err := api.NewClient([]string{bad}, api.Options{}); err == nil {
			t.Errorf("address %q was taken", bad)
		}
	}
}

// TestLogsComeFromTheNodeThatWroteThem: asked anywhere, followed to their end.
func TestLogsComeFromTheNodeThatWroteThem(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.register(t, 0)
	session := w.register(t, 2) // a worker without a replica
	run := w.submit(t, 0, twoTasks)
	task := rota.TaskID{Run: run.ID, Key: "a"}
	follow := func(i int) <-chan string {
		got := make(chan string, 1)
		r, err := w.client(t, i).TaskLogs(soon(t), string(run.ID), "a", api.LogOptions{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer closed(t, r)
			b, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			got <- string(b)
		}()
		return got
	}
	fence := w.place(t, task, session)
	w.nodes[2].write(task, "one\n", true)
	var readers []<-chan string
	for i := range w.nodes {
		readers = append(readers, follow(i))
	}
	w.nodes[2].write(task, "two\n", true)
	w.nodes[2].write(task, "three\n", false)
	for i, r := range readers {
		if got := <-r; got != "one\ntwo\nthree\n" {
			t.Errorf("through node %d: %q", i, got)
		}
	}
	w.finish(t, task, session, fence, rota.Outcome{})
	for _, c := range []struct {
		o    api.LogOptions
		want string
	}{
		{api.LogOptions{Offset: 4}, "two\nthree\n"},
		{api.LogOptions{Offset: -6, Attempt: 1}, "three\n"},
		{api.LogOptions{Offset: -600}, "one\ntwo\nthree\n"},
		{api.LogOptions{Offset: 600}, ""},
	} {
		r, err := w.client(t, 1).TaskLogs(t.Context(), string(run.ID), "a", c.o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != c.want {
			t.Errorf("%+v: %q %v", c.o, b, err)
		}
		_ = r.Close()
	}
	if _, err := w.client(t, 1).TaskLogs(t.Context(), string(run.ID), "a", api.LogOptions{Stream: "stderr"}); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("no stderr: %v", err)
	}
	w.nodes[2].http.Close()
	_, err := w.client(t, 1).TaskLogs(t.Context(), string(run.ID), "a", api.LogOptions{})
	if !errors.Is(err, rota.ErrUnavailable) || !strings.Contains(err.Error(), "n3") {
		t.Errorf("the node is gone: %v", err)
	}
}

// TestFollowedLogGoesOnAtAnotherNode: a reader whose node dies goes on where it
// was, without a byte missing or twice.
func TestFollowedLogGoesOnAtAnotherNode(t *testing.T) {
	w := newWorld(t, 2, 2)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	task := rota.TaskID{Run: run.ID, Key: "a"}
	w.place(t, task, session)
	w.nodes[0].write(task, "0123456789", true)
	c, err := api.NewClient([]string{w.nodes[1].http.URL, w.nodes[0].http.URL}, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.TaskLogs(soon(t), string(run.ID), "a", api.LogOptions{Follow: true, Offset: -8})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, r)
	first := make([]byte, 8)
	if _, err := io.ReadFull(r, first); err != nil || string(first) != "23456789" {
		t.Fatalf("%q %v", first, err)
	}
	w.nodes[1].http.CloseClientConnections()
	w.nodes[1].http.Close()
	w.nodes[0].write(task, "abc", false)
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != "abc" {
		t.Errorf("%q %v", rest, err)
	}
}

// TestFollowWaitsForThePlacement: the log of a task that waits is followed from
// before it runs.
func TestFollowWaitsForThePlacement(t *testing.T) {
	w := newWorld(t, 1, 1)
	session := w.register(t, 0)
	run := w.submit(t, 0, twoTasks)
	task := rota.TaskID{Run: run.ID, Key: "a"}
	got := make(chan string, 1)
	go func() {
		r, err := w.client(t, 0).TaskLogs(soon(t), string(run.ID), "a", api.LogOptions{Follow: true})
		if err != nil {
			t.Error(err)
			got <- ""
			return
		}
		defer closed(t, r)
		b, _ := io.ReadAll(r)
		got <- string(b)
	}()
	w.place(t, task, session)
	w.nodes[0].write(task, "hello\n", false)
	if text := <-got; text != "hello\n" {
		t.Errorf("got %q", text)
	}
}
