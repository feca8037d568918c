package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// headerHop marks a request that a node passed on; it is not passed on again.
const headerHop = "Rota-Hop"

// hopHeaders say how a connection is used and which page a request came from; they
// end with the hop.
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Origin", "Sec-Fetch-Site"}

// passToLeader lets the leading node answer.
func (s *Server) passToLeader(w http.ResponseWriter, r *http.Request) error {
	id, address, ok := s.deps.State.Leader()
	switch {
	case !ok || address == "":
		return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "no leader is known to this node; an election takes about a second: try again"}
	case id == s.cfg.ID:
		return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "this node has only just stopped, or begun, to lead; try again"}
	}
	return s.pass(w, r, []string{address})
}

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
			if isDial(err) {
				continue
			}
			break
		}
		s.leaderHint.Store(&a)
		s.copyAnswer(w, resp)
		return nil
	}
	s.leaderHint.Store(nil)
	if r.Method != http.MethodGet && !isDial(last) {
		return &rota.Refusal{Kind: rota.KindUnknown, Detail: fmt.Sprintf("the node that was asked went away before it answered (%v); send the same request again", plainCause(last))}
	}
	return &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf("no node that could answer was reached (%v); try again", plainCause(last))}
}

func (s *Server) forward(ctx context.Context, r *http.Request, address string) (*http.Response, error) {
	req := r.Clone(ctx)
	req.URL.Scheme, req.URL.Host = "http", address
	req.Host, req.RequestURI = "", ""
	for _, h := range hopHeaders {
		req.Header.Del(h)
	}
	req.Header.Set(headerHop, string(s.cfg.ID))
	if r.ContentLength == 0 {
		req.Body = nil
	}
	return s.peers.RoundTrip(req)
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
