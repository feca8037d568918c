package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// checkEventID accepts what may be an event's ID.
func checkEventID(id string) error {
	parts := strings.Split(id, "-")
	bits := []int{16, 64, 32}
	if len(parts) != len(bits) {
		return newProblem(TypeInvalid, fmt.Sprintf("%q is no event ID: want INCARNATION-INDEX-POSITION, or 0 for the oldest kept", clip(id, 60)))
	}
	for i, p := range parts {
		if _, err := strconv.ParseUint(p, 10, bits[i]); err != nil {
			return newProblem(TypeInvalid, fmt.Sprintf("%q is no event ID: %q is no number that fits there", clip(id, 60), clip(p, 40)))
		}
	}
	return nil
}

// follower is one reader of an event stream.
type follower struct {
	s         *Server
	w         http.ResponseWriter
	c         *http.ResponseController
	after     string
	run       rota.RunID // empty: of all
	namespace string
	types     []string
	end       bool // with the run
	buf       bytes.Buffer
}

// events streams what happens, from this node's own history.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	if s.deps.State.Snapshot() == nil || s.deps.History == nil {
		return s.passToServer(w, r)
	}
	f, err := s.newFollower(w, r)
	if err != nil {
		return err
	}
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	if _, err := s.deps.History.Read(f.after, 1); err != nil { // while it can still be said with a status
		return fmt.Errorf("read events after %q: %w", f.after, err)
	}
	s.stamp(w, s.deps.State.Snapshot())
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	f.line("event", sseHello)
	f.line("id", f.place())
	f.line("data", "{}")
	if f.flush() != nil {
		return nil // the reader went away
	}
	if err := f.follow(r.Context()); err != nil {
		f.problem(err)
	}
	return nil
}

func (s *Server) newFollower(w http.ResponseWriter, r *http.Request) (*follower, error) {
	q, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	f := &follower{s: s, w: w, c: http.NewResponseController(w), namespace: q.Get("namespace"), types: splitWords(q["type"])}
	if f.end, err = flagOf(q, "end"); err != nil {
		return nil, err
	}
	f.after = r.Header.Get("Last-Event-ID")
	if f.after == "" {
		f.after = q.Get("after")
	}
	switch f.after {
	case "":
		f.after = s.deps.History.Last()
	case "0":
		f.after = ""
	default:
		if err := checkEventID(f.after); err != nil {
			return nil, err
		}
	}
	word := r.PathValue("id")
	if word == "" {
		f.end = false
		return f, nil
	}
	return f, s.find(r.Context(), func(snap *fsm.Snapshot) error {
		run, err := findRun(snap, word)
		if err == nil {
			f.run = run.ID
		}
		return err
	})
}

// follow sends events until the reader goes away, the node stops, or the stream is
// complete. An error is one that the reader is to hear of.
func (f *follower) follow(ctx context.Context) error {
	beat := time.NewTicker(f.s.cfg.Heartbeat)
	defer beat.Stop()
	ended := 0 // looks since the run was seen to have ended
	for {
		changed := f.s.deps.History.Changed()
		if f.end && f.over() {
			ended++
		}
		events, err := f.s.deps.History.Read(f.after, 256)
		if err != nil {
			return err
		}
		for i := range events {
			f.event(&events[i])
		}
		if len(events) > 0 {
			if f.buf.Len() > 0 && f.flush() != nil {
				return nil // the reader went away
			}
			continue
		}
		if ended > 1 {
			f.line("event", sseEnd)
			f.line("data", "{}")
			_ = f.flush() // it was the last word
			return nil
		}
		if ended == 1 { // the history may be a moment behind the state
			if f.s.pause(ctx) != nil {
				return nil
			}
			continue
		}
		select {
		case <-changed:
		case <-beat.C:
			f.buf.WriteString(": alive\n")
			f.line("id", f.place())
			if f.flush() != nil {
				return nil // the reader went away
			}
		case <-f.s.stopping:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// place is where the stream is: what a reader that comes back is to name.
func (f *follower) place() string {
	if f.after == "" {
		return "0"
	}
	return f.after
}

// over reports whether the run has ended, or is not kept any more.
func (f *follower) over() bool {
	r, ok := f.s.deps.State.Snapshot().Run(f.run)
	return !ok || r.Status.Terminal()
}

// event writes an event, unless the reader did not ask for it.
func (f *follower) event(e *rota.Event) {
	f.after = e.ID
	if !f.wants(e) {
		return
	}
	b, err := json.Marshal(e)
	if err != nil {
		f.s.log.Error("an event cannot be written", "id", e.ID, "error", err)
		return
	}
	f.line("id", e.ID)
	f.line("event", string(e.Type))
	f.buf.WriteString("data: ")
	f.buf.Write(b)
	f.buf.WriteString("\n\n")
}

func (f *follower) wants(e *rota.Event) bool {
	if f.run != "" && e.Run != f.run || !matchesType(f.types, string(e.Type)) {
		return false
	}
	if f.namespace == "" || e.Run == "" {
		return true
	}
	r, ok := f.s.deps.State.Snapshot().Run(e.Run)
	return !ok || r.Namespace == f.namespace
}

func matchesType(wanted []string, got string) bool {
	if len(wanted) == 0 {
		return true
	}
	for _, w := range wanted {
		if prefix, ok := strings.CutSuffix(w, "*"); ok && strings.HasPrefix(got, prefix) || w == got {
			return true
		}
	}
	return false
}

func (f *follower) line(name, value string) {
	f.buf.WriteString(name + ": " + value + "\n")
}

// flush ends what was written and sends it.
func (f *follower) flush() error {
	f.buf.WriteByte('\n')
	_ = f.c.SetWriteDeadline(time.Now().Add(f.s.cfg.SendWait)) // recorders have none
	_, err := f.w.Write(f.buf.Bytes())
	f.buf.Reset()
	if err != nil {
		return err
	}
	if err := f.c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// problem tells the reader why the stream ends.
func (f *follower) problem(err error) {
	p := newProblem(TypeInternal, err.Error())
	if errors.Is(err, ErrGone) {
		p = newProblem(TypeGone, "you were so slow that events were missed which are not kept any more; begin with the present state and follow from there")
	}
	b, err := json.Marshal(p)
	if err != nil {
		return
	}
	f.line("event", sseProblem)
	f.line("data", string(b))
	_ = f.flush() // it was the last word
}
