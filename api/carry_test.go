package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// rude answers the first requests of a connection and then reads one more, does
// whatever it asks for, and dies with its port. It counts the writes that it read.
type rude struct {
	ln     net.Listener
	polite int
	reads  atomic.Int64
}

func newRude(t *testing.T, polite int) *rude {
	t.Helper()
	var l net.ListenConfig
	ln, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rude{ln: ln, polite: polite}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.serve()
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return r
}

func (r *rude) serve() {
	for {
		conn, err := r.ln.Accept()
		if err != nil {
			return
		}
		if r.one(conn) {
			return
		}
	}
}

// one serves a connection; true: it has read a write and has died of it.
func (r *rude) one(conn net.Conn) bool {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		req, err := http.ReadRequest(in)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if n < r.polite {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			continue
		}
		r.reads.Add(1)
		_ = r.ln.Close() // whoever dials again is refused
		return true
	}
}

// TestARequestThatWasReadIsNeverTakenForUnsent: net/http sends a POST with an
// idempotency key again when its kept connection breaks, and the second try, refused,
// must not hide that the first one was read.
func TestARequestThatWasReadIsNeverTakenForUnsent(t *testing.T) {
	r := newRude(t, 1)
	c, err := api.NewClient([]string{r.ln.Addr().String()}, api.Options{Patience: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Version(t.Context()); err != nil { // the connection is kept
		t.Fatal(err)
	}
	_, err = c.Drain(t.Context(), "n1")
	if !errors.Is(err, rota.ErrUnknown) || !strings.Contains(err.Error(), "look whether it took effect") {
		t.Errorf("a drain that was read and not answered: %v", err)
	}
	if n := r.reads.Load(); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

// TestAPassedOnWriteThatWasReadIsNotCalledUnavailable: that would say that it was never
// proposed.
func TestAPassedOnWriteThatWasReadIsNotCalledUnavailable(t *testing.T) {
	w := newWorld(t, 2, 1) // the second has no replica: it passes everything on
	r := newRude(t, 0)
	door := newServer(t, elsewhere{w.nodes[1], r.ln.Addr().String()}, w.nodes[1])
	status, _, b := raw(t, "POST", door.URL+"/v1/nodes/n1/drain", "", map[string]string{"Idempotency-Key": "k"})
	if p := decode[api.Problem](t, b); p.Type != api.TypeUnknown {
		t.Errorf("%d %+v", status, p)
	}
}

// elsewhere is a node's state whose leader is at an address.
type elsewhere struct {
	*worldNode
	address string
}

func (e elsewhere) Leader() (rota.NodeID, string, bool) { return "leader", e.address, true }

func (e elsewhere) Servers() []api.Replica { return nil }

// TestAConnectionThatDiedUnusedCostsNothing: nothing was written to it, so that the
// request goes over a new one, also one that is not to be repeated.
func TestAConnectionThatDiedUnusedCostsNothing(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.register(t, 0)
	c := w.client(t, 0)
	for range 20 {
		if _, err := c.Drain(t.Context(), "n1"); err != nil {
			t.Fatal(err)
		}
		w.nodes[0].http.CloseClientConnections()
		time.Sleep(2 * time.Millisecond) // the client's transport hears of it
	}
}

// deaf is a node that keeps its connections and answers nothing, as a stopped process.
func deaf(t *testing.T) (address string) {
	t.Helper()
	stop := make(chan struct{})
	door := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	}))
	t.Cleanup(func() {
		close(stop)
		door.Close()
	})
	return strings.TrimPrefix(door.URL, "http://")
}

// movedState is a node's state whose leader hangs until another is elected.
type movedState struct {
	*worldNode
	hangs string
	moved *atomic.Bool
}

func (m movedState) Leader() (rota.NodeID, string, bool) {
	if m.moved.Load() {
		return m.worldNode.Leader()
	}
	return "hangs", m.hangs, true
}

// TestABlockingReadMovesToTheNextLeader when the one that it waits at hangs.
func TestABlockingReadMovesToTheNextLeader(t *testing.T) {
	w := newWorld(t, 2, 2)
	state := movedState{w.nodes[1], deaf(t), new(atomic.Bool)}
	door := newServer(t, state, w.nodes[1])
	w.register(t, 0)
	election := time.AfterFunc(100*time.Millisecond, func() { state.moved.Store(true) })
	defer election.Stop()
	began := time.Now()
	status, _, b := raw(t, "GET", door.URL+"/v1/nodes?index=0&wait=10s", "", nil)
	if status != http.StatusOK || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %d %s", time.Since(began), status, b)
	}
}

// TestADeposedLeaderDoesNotSayThatARunDoesNotExist: it looks whether it still leads
// before it says so.
func TestADeposedLeaderDoesNotSayThatARunDoesNotExist(t *testing.T) {
	w := newWorld(t, 2, 2)
	old := w.nodes[0] // still believes that it leads
	stale := w.snapshot()
	run := w.submit(t, 1, twoTasks)
	for _, path := range []string{"/v1/runs/" + string(run.ID), "/v1/tasks/" + string(run.ID) + "/a", "/v1/tasks/" + string(run.ID) + "/a/explain"} {
		w.mu.Lock()
		old.lag, old.seen = true, stale
		w.mu.Unlock()
		if status, _, b := raw(t, "GET", old.http.URL+path, "", nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, b)
		}
	}
}

// TestANewRunSaysWhenItWasMade, and that is what the state says too.
func TestANewRunSaysWhenItWasMade(t *testing.T) {
	w := newWorld(t, 2, 2)
	made := w.submit(t, 1, twoTasks)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	read, err := w.client(t, 0).Run(ctx, string(made.ID), api.RunOptions{})
	if err != nil || made.CreatedAt == 0 || read.CreatedAt != made.CreatedAt {
		t.Errorf("made at %d, read %+v, %v", made.CreatedAt, read, err)
	}
}
