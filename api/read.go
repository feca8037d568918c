package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// reading is one read of the state.
type reading struct {
	*http.Request
	w     http.ResponseWriter
	query url.Values
	snap  *fsm.Snapshot
}

// read wraps a route that answers from the state of this node: it passes the
// request on where this node cannot answer, waits where that is asked for, and
// says how old the answer is.
func (s *Server) read(wants func(*reading) interest, answer func(*reading) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.deps.State.Snapshot() == nil {
			return s.passToServer(w, r)
		}
		query, err := parseQuery(r)
		if err != nil {
			return err
		}
		rd := &reading{Request: r, w: w, query: query}
		index, wait, err := rd.blocking(s.cfg.MaxWait)
		if err != nil {
			return err
		}
		s.armed(w, wait)
		consistent, err := rd.flag("consistent")
		switch {
		case err != nil:
			return err
		case wait > 0 && !s.leads():
			return s.passToLeader(w, r)
		case wait > 0:
			err = s.await(r.Context(), rd, index, wait, wants(rd))
		case consistent:
			err = s.catchUp(r.Context())
		}
		if err != nil {
			return err
		}
		return s.find(r.Context(), func(snap *fsm.Snapshot) error {
			rd.snap = snap
			s.stamp(w, snap)
			return answer(rd)
		})
	}
}

// catchUp waits until this node has applied all that was acknowledged before.
func (s *Server) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadWait)
	defer cancel()
	index, err := s.deps.State.Barrier(ctx)
	if err != nil {
		return fmt.Errorf("ask the leader where the log ends: %w", asNoLeader(err))
	}
	if err := s.deps.State.Await(ctx, index); err != nil {
		return fmt.Errorf("wait for index %d: %w", index, asNoLeader(err))
	}
	return nil
}

// asNoLeader gives an error without a kind the kind of what most likely happened.
func asNoLeader(err error) error {
	if rota.KindOf(err) != rota.KindNone {
		return err
	}
	return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "no leader was found in time (" + err.Error() + "); leave out ?consistent to read this node's own copy"}
}

func (s *Server) leads() bool {
	id, _, ok := s.deps.State.Leader()
	return ok && id == s.cfg.ID
}

// stamp says from which index an answer is and how old that may be.
func (s *Server) stamp(w http.ResponseWriter, snap *fsm.Snapshot) {
	h := w.Header()
	h.Set(headerIndex, strconv.FormatUint(snap.Index(), 10))
	h.Set(headerAge, strconv.FormatInt(s.deps.State.Position().Age.Milliseconds(), 10))
	h.Set(headerLeader, s.leaderName(snap))
}

// leaderName is empty while no leader is known.
func (s *Server) leaderName(snap *fsm.Snapshot) string {
	id, _, ok := s.deps.State.Leader()
	if !ok {
		return ""
	}
	for _, r := range s.deps.State.Servers() {
		if r.ID == id && r.Name != "" {
			return r.Name
		}
	}
	if n, ok := snap.Node(id); ok {
		return n.Name
	}
	return string(id)
}

// blocking reads ?index=&wait=. A wait of zero: the read does not block.
func (rd *reading) blocking(most time.Duration) (index uint64, wait time.Duration, err error) {
	if !rd.query.Has("index") && !rd.query.Has("wait") {
		return 0, 0, nil
	}
	index, err = strconv.ParseUint(rd.query.Get("index"), 10, 64)
	if err != nil {
		return 0, 0, badQuery("index", rd.query.Get("index"), "a log index, as in the header "+headerIndex)
	}
	wait = 20 * time.Second
	if text := rd.query.Get("wait"); text != "" {
		wait, err = time.ParseDuration(text)
		if err != nil || wait < 0 {
			return 0, 0, badQuery("wait", text, "a duration such as 20s")
		}
	}
	return index, min(wait, most), nil
}

// await blocks until a change after the index is of interest, or the time is over,
// which the answer then says.
func (s *Server) await(ctx context.Context, rd *reading, index uint64, wait time.Duration, in interest) error {
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	at, err := s.waits.await(ctx, s.stopping, index, in, wait)
	switch {
	case err != nil:
		return err
	case at == 0:
		rd.w.Header().Set(headerUnchanged, "true")
		return nil
	}
	return s.deps.State.Await(ctx, at)
}

// takeStream counts a long answer; release gives its place back.
func (s *Server) takeStream() (release func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, newProblem(TypeOverloaded, fmt.Sprintf("%d streams are open on this node; ask another node", s.cfg.MaxStreams))
	}
}

func parseQuery(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, newProblem(TypeInvalid, "the query behind the ? is malformed: "+clip(err.Error(), 200))
	}
	return q, nil
}

func badQuery(name, got, want string) error {
	return newProblem(TypeInvalid, fmt.Sprintf("?%s=%s: want %s", name, clip(got, 100), want))
}

func (rd *reading) flag(name string) (bool, error) { return flagOf(rd.query, name) }

// flagOf reads a yes-or-no parameter; named without a value it means yes.
func flagOf(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	switch v := q.Get(name); strings.ToLower(v) {
	case "", "true", "1", "yes":
		return true, nil
	case "false", "0", "no":
		return false, nil
	default:
		return false, badQuery(name, v, "true or false")
	}
}

// Items of a page: where nobody asks for another number, and at most.
const (
	usualLimit   = 100
	largestLimit = 1000
)

// limit reads ?limit=.
func (rd *reading) limit() (int, error) {
	text := rd.query.Get("limit")
	if text == "" {
		return usualLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > largestLimit {
		return 0, badQuery("limit", text, fmt.Sprintf("1 to %d", largestLimit))
	}
	return n, nil
}
