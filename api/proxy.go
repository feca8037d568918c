package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

// headerHop marks a request that a node passed on; it is not passed on again.
const headerHop = "Rota-Hop"

// hopHeaders say how a connection is used and which page a request came from; they
// end with the hop.
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Origin", "Sec-Fetch-Site"}

// passToLeader lets the leading node answer; where another is elected meanwhile, that
// one, if the request may be repeated.
func (s *Server) passToLeader(w http.ResponseWriter, r *http.Request) error {
	for tries := 1; ; tries++ {
		id, address, ok := s.deps.State.Leader()
		switch {
		case !ok || address == "":
			return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "no leader is known to this node; an election takes about a second: try again"}
		case id == s.cfg.ID:
			return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "this node has only just stopped, or begun, to lead; try again"}
		}
		err := s.passOnce(w, r, []string{address})
		if !errors.Is(err, errReplaced) {
			return err
		}
		if r.GetBody == nil && r.Method != http.MethodGet || tries == passTries {
			return s.notReached(r, err)
		}
	}
}

// passTries bounds how many leaders a request is passed on to, one after the other.
const passTries = 3

// passToServer lets a node with a replica answer, the leader first.
func (s *Server) passToServer(w http.ResponseWriter, r *http.Request) error {
	var addresses []string
	if hint := s.leaderHint.Load(); hint != nil {
		addresses = append(addresses, *hint)
	}
	if _, address, ok := s.deps.State.Leader(); ok && address != "" {
		addresses = append(addresses, address)
	}
	for _, p := range s.deps.State.Servers() {
		if p.Address != "" && p.ID != s.cfg.ID {
			addresses = append(addresses, p.Address)
		}
	}
	seen := map[string]bool{}
	addresses = slices.DeleteFunc(addresses, func(a string) bool {
		twice := seen[a]
		seen[a] = true
		return twice
	})
	if len(addresses) == 0 {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node holds no copy of the state and knows no server yet: is it still joining?"}
	}
	return s.pass(w, r, addresses)
}

// pass sends the request on to the first address that can be dialled and copies
// the answer, as it comes.
func (s *Server) pass(w http.ResponseWriter, r *http.Request, addresses []string) error {
	err := s.passOnce(w, r, addresses)
	if errors.Is(err, errReplaced) {
		return s.notReached(r, err)
	}
	return err
}

// passOnce is pass, but that errReplaced stays what it is: the node that was asked did
// lead, and another was elected before it answered.
func (s *Server) passOnce(w http.ResponseWriter, r *http.Request, addresses []string) error {
	if r.Header.Get(headerHop) != "" {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "the request was passed on to a node that cannot answer it either: leadership has just changed, try again"}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var last error
	for _, a := range addresses {
		resp, err := s.forward(ctx, r, a) //nolint:bodyclose // copyAnswer does
		if err != nil {
			last = err
			if r.Context().Err() != nil {
				return r.Context().Err()
			}
			if neverSent(err) || errors.Is(err, errReplaced) && r.Method == http.MethodGet {
				continue
			}
			break
		}
		s.leaderHint.Store(&a)
		s.copyAnswer(w, resp)
		return nil
	}
	s.leaderHint.Store(nil)
	if errors.Is(last, errReplaced) {
		return last
	}
	return s.notReached(r, last)
}

// notReached says that a request was passed on and not answered.
func (s *Server) notReached(r *http.Request, err error) error {
	if r.Method != http.MethodGet && !neverSent(err) {
		return &rota.Refusal{Kind: rota.KindUnknown, Detail: fmt.Sprintf("the node that was asked did not answer (%v); send the same request again", plainCause(err))}
	}
	return &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf("no node that could answer was reached (%v); try again", plainCause(err))}
}

// errReplaced says that the leader that was asked was replaced before it answered.
var errReplaced = errors.New("another node was elected before it answered")

// leaderLook is how often it is looked whether another node leads than the one that was
// asked, which may hang.
const leaderLook = 250 * time.Millisecond

// forward sends the request to a node and waits for the head of its answer, no longer
// than until another node is elected.
func (s *Server) forward(ctx context.Context, r *http.Request, address string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	head := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { s.watchLeader(head, address, func() { cancel(errReplaced) }) })
	req := r.Clone(ctx)
	req.URL.Scheme, req.URL.Host = "http", address
	req.Host, req.RequestURI = "", ""
	for _, h := range hopHeaders {
		req.Header.Del(h)
	}
	req.Header.Set(headerHop, string(s.cfg.ID))
	switch {
	case r.ContentLength == 0:
		req.Body = nil
	case r.GetBody != nil:
		body, err := r.GetBody()
		if err != nil {
			cancel(nil)
			close(head)
			return nil, err
		}
		req.Body = body
	default:
		req.Body = io.NopCloser(r.Body) // another node may have to be asked
	}
	resp, err := carry(s.peers.RoundTrip, req)
	close(head)
	watch.Wait()
	if err == nil {
		resp.Body = &boundBody{resp.Body, cancel}
		return resp, nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, errReplaced) && !neverSent(err) {
		err = cause
	}
	cancel(nil)
	return nil, err
}

// boundBody ends a request's context with its answer.
type boundBody struct {
	io.ReadCloser
	end context.CancelCauseFunc
}

// Close implements io.Closer.
func (b *boundBody) Close() error {
	b.end(nil)
	return b.ReadCloser.Close()
}

// watchLeader calls replaced once another node leads than the one at the address, unless
// done is closed before.
func (s *Server) watchLeader(done <-chan struct{}, address string, replaced func()) {
	led := false // it was the leader when it was asked, or became it
	seen := 0
	t := time.NewTicker(leaderLook)
	defer t.Stop()
	for {
		switch _, now, ok := s.deps.State.Leader(); {
		case !ok || now == "":
		case now == address:
			led, seen = true, 0
		case led:
			if seen++; seen > 2 { // one that works has two more looks to say what it knows
				replaced()
				return
			}
		}
		select {
		case <-t.C:
		case <-done:
			return
		}
	}
}

// copyAnswer copies an answer piece by piece, so that streams stay streams.
func (s *Server) copyAnswer(w http.ResponseWriter, resp *http.Response) {
	defer func() { _ = resp.Body.Close() }() // nothing was written
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a stream that is passed on ends with this node
		select {
		case <-s.stopping:
			_ = resp.Body.Close()
		case <-stop:
		}
	}()
	for name, values := range resp.Header {
		if !slices.Contains(hopHeaders, name) {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	c := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(s.cfg.SendWait)) // recorders have none
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			_ = c.Flush() // a failure shows at the next write
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to tell the reader that the answer is cut short
		}
	}
}
