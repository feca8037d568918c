package api_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// TestASlowReaderOfEventsIsCutOff: its place is free again for another.
func TestASlowReaderOfEventsIsCutOff(t *testing.T) {
	w := newWorld(t, 1, 1, func(c *api.Config) { c.MaxStreams, c.SendWait = 1, 200*time.Millisecond })
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }), err)
	}}
	conn, err := small.DialContext(t.Context(), "tcp", w.nodes[0].address())
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, conn)
	if _, err := fmt.Fprintf(conn, "GET /v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.nodes[0].http.URL+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, resp.Body)
		if resp.StatusCode != http.StatusOK && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s without Retry-After", resp.Status)
		}
		return resp.StatusCode
	}
	deadline(t, "the reader to have its place", func() bool { return open() == http.StatusTooManyRequests })
	w.mu.Lock()
	for i := range 400 { // more than any buffer on the way holds
		w.events = append(w.events, rota.Event{
			ID: fmt.Sprintf("0-1-%d", i), Index: 1, Type: rota.ChangeRunCreated, Data: map[string]any{"x": strings.Repeat("x", 64<<10)},
		})
	}
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	deadline(t, "the reader that does not read to be cut off", func() bool { return open() == http.StatusOK })
}

// TestClientsComeBackWhenTheyWereTold, not all at once, and give up with a refusal
// that says what it is.
func TestClientsComeBackWhenTheyWereTold(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.refuse = &rota.Refusal{Kind: rota.KindOverloaded, Detail: "full"}
	var mu sync.Mutex
	var at []time.Duration
	began := time.Now()
	c, err := api.NewClient([]string{w.nodes[0].http.URL}, api.Options{Patience: 4 * time.Second, Transport: counting{func() {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, time.Since(began))
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _, err = c.Submit(t.Context(), request(twoTasks), "")
	if !errors.Is(err, rota.ErrOverloaded) || problemOf(t, err).Status != http.StatusTooManyRequests {
		t.Errorf("%v", err)
	}
	if len(at) < 2 || len(at) > 4 {
		t.Errorf("it came %d times: %v", len(at), at)
	}
	for i := 1; i < len(at); i++ {
		if pause := at[i] - at[i-1]; pause < time.Second {
			t.Errorf("it came back after %s, though it was told 1 s", pause)
		}
	}
}

type counting struct{ count func() }

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.count()
	return http.DefaultTransport.RoundTrip(r)
}

// TestAFullQueueIsOnlyARefusal: of an array each item says so, and those that found
// room are started.
func TestAFullQueueIsOnlyARefusal(t *testing.T) {
	w, c := newStoredWorld(t)
	w.refuse = &rota.Refusal{Kind: rota.KindOverloaded, Detail: "full"}
	answers, err := c.SubmitMany(t.Context(), []api.SubmitRequest{{Job: "echo"}, {Job: "echo"}}, "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if a.Problem == nil || a.Problem.Type != api.TypeOverloaded || a.Problem.Status != http.StatusTooManyRequests {
			t.Errorf("%+v", a)
		}
	}
}

// gated is a node whose proposals wait until the gate is opened.
type gated struct {
	*worldNode
	open chan struct{}
}

func (g gated) ProposeMany(ctx context.Context, cmds []rota.Command) ([]rota.Result, []error) {
	<-g.open
	return g.worldNode.ProposeMany(ctx, cmds)
}

// TestArraysWaitForTheirTurn, as many as the line holds; the others are told to come
// again.
func TestArraysWaitForTheirTurn(t *testing.T) {
	w, _ := newStoredWorld(t)
	state := gated{w.nodes[0], make(chan struct{})}
	cfg := api.DefaultConfig()
	cfg.ID, cfg.MaxItems, cfg.MaxWaiting = w.nodes[0].id, 1000, 2
	s, err := api.New(cfg, api.Deps{State: state, Duties: duties{w.nodes[0]}, History: history{w.nodes[0]}})
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(s.Handler())
	defer door.Close()
	c, err := api.NewClient([]string{door.URL}, api.Options{Patience: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type ended struct {
		answers []api.SubmitAnswer
		err     error
	}
	results := make(chan ended, 4)
	for i := range 4 {
		go func() { // each ends below
			items := make([]api.SubmitRequest, 600) // two of them have no room together
			for k := range items {
				items[k] = api.SubmitRequest{Job: "echo", Event: []byte(fmt.Sprint(i))}
			}
			answers, err := c.SubmitMany(t.Context(), items, fmt.Sprint("k", i))
			results <- ended{answers, err}
		}()
	}
	select {
	case r := <-results:
		if !errors.Is(r.err, rota.ErrOverloaded) {
			t.Errorf("%+v", r)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was told to come again")
	}
	close(state.open)
	for range 3 {
		if r := <-results; r.err != nil || len(r.answers) != 600 || r.answers[0].ID == "" {
			t.Errorf("%+v", r)
		}
	}
}
