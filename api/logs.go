package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// headerLocal asks a node for a log that lies there.
const headerLocal = "Rota-Local"

// logQuery is the parsed query of a log.
type logQuery struct {
	task    rota.TaskID
	stream  string
	attempt uint64
	offset  int64
	follow  bool
}

func parseLogQuery(q url.Values) (*logQuery, error) {
	l := &logQuery{stream: q.Get("stream")}
	var err error
	switch l.stream {
	case "":
		l.stream = "stdout"
	case "stdout", "stderr":
	default:
		return nil, badQuery("stream", l.stream, "stdout or stderr")
	}
	if text := q.Get("attempt"); text != "" {
		if l.attempt, err = strconv.ParseUint(text, 10, 64); err != nil || l.attempt > rota.MaxAttempt {
			return nil, badQuery("attempt", text, "the number of an attempt")
		}
	}
	if text := q.Get("offset"); text != "" {
		if l.offset, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, badQuery("offset", text, "a number of bytes")
		}
	}
	l.follow, err = flagOf(q, "follow")
	return l, err
}

// logs answers with what an attempt wrote, from this node or from the one it ran on.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	l, err := parseLogQuery(q)
	if err != nil {
		return err
	}
	l.task = rota.TaskID{Run: rota.RunID(r.PathValue("run")), Key: rota.TaskKey(r.PathValue("key"))}
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	if r.Header.Get(headerLocal) != "" && l.attempt > 0 {
		return s.localLog(w, r, l)
	}
	if s.deps.State.Snapshot() == nil {
		return s.passToServer(w, r)
	}
	node, err := s.whereLog(r.Context(), r, l)
	if err != nil {
		return err
	}
	if node == s.cfg.ID {
		return s.localLog(w, r, l)
	}
	n, ok := s.deps.State.Snapshot().Node(node)
	if !ok || n.Address == "" {
		return notFound("the log of attempt %d lies on node %s, which this cluster does not know any more", l.attempt, node)
	}
	return s.remoteLog(w, r, l, n)
}

// remoteLog passes the request on to the node that the attempt ran on.
func (s *Server) remoteLog(w http.ResponseWriter, r *http.Request, l *logQuery, n *rota.Node) error {
	q := url.Values{"stream": {l.stream}, "attempt": {strconv.FormatUint(l.attempt, 10)}, "offset": {strconv.FormatInt(l.offset, 10)}}
	if l.follow {
		q.Set("follow", "true")
	}
	there := r.Clone(r.Context())
	there.Header.Del(headerHop) // the node that passed it to us does not hold the log
	there.Header.Set(headerLocal, "true")
	there.URL = &url.URL{Path: "/v1/tasks/" + string(l.task.Run) + "/" + string(l.task.Key) + "/logs", RawQuery: q.Encode()}
	there.URL.RawPath = taskPath(string(l.task.Run), string(l.task.Key)) + "/logs"
	err := s.pass(w, there, []string{n.Address})
	if rota.KindOf(err) == rota.KindUnavailable {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf(
			"the log of attempt %d lies on node %q (%s), which does not answer at %s", l.attempt, n.Name, n.State(), n.Address)}
	}
	return err
}

// whereLog finds the attempt and the node it is on. With follow it waits for the
// first attempt.
func (s *Server) whereLog(ctx context.Context, r *http.Request, l *logQuery) (rota.NodeID, error) {
	for {
		var run *rota.Run
		var t *rota.Task
		err := s.find(ctx, func(snap *fsm.Snapshot) (err error) {
			run, t, err = findTask(snap, r.PathValue("run"), r.PathValue("key"))
			return err
		})
		if err != nil {
			return "", err
		}
		l.task = t.ID
		if t.Attempt > 0 || l.attempt > 0 {
			return placeOf(t, l)
		}
		if !l.follow || t.Status.Terminal() || run.Status.Terminal() {
			return "", notFound("task %q has not been placed on a node yet (it is %s), so there is no log", t.ID, t.Status)
		}
		if err := s.pause(ctx); err != nil {
			return "", err
		}
	}
}

// placeOf finds the node of the attempt asked for; the newest where none was.
func placeOf(t *rota.Task, l *logQuery) (rota.NodeID, error) {
	if l.attempt == 0 {
		l.attempt = t.Attempt
	}
	if t.Placement != nil && t.Placement.Fence.Attempt() == l.attempt {
		return t.Placement.Node, nil
	}
	for _, a := range t.Attempts {
		if a.Number == l.attempt {
			return a.Node, nil
		}
	}
	return "", notFound("task %q has no attempt %d that is remembered; the newest is %d", t.ID, l.attempt, t.Attempt)
}

// pause waits before the next look; an error says that nobody waits any more.
func (s *Server) pause(ctx context.Context) error {
	t := time.NewTimer(s.cfg.LogPoll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.stopping:
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node is stopping; ask another"}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// localLog answers with what an attempt wrote on this node.
func (s *Server) localLog(w http.ResponseWriter, r *http.Request, l *logQuery) error {
	f, err := s.openLog(r.Context(), l)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	start, err := seekLog(f, l.offset)
	if err != nil {
		return fmt.Errorf("read the log of task %q: %w", l.task, err)
	}
	w.Header().Set(headerAttempt, strconv.FormatUint(l.attempt, 10))
	w.Header().Set(headerOffset, strconv.FormatInt(start, 10))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	_ = c.Flush() // the reader sees that there is a log
	buf := make([]byte, 32<<10)
	last := false
	for {
		n, err := f.Read(buf)
		if n > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(s.cfg.SendWait)) // recorders have none
			if _, err := w.Write(buf[:n]); err != nil {
				return nil // the reader went away
			}
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			s.log.Warn("a log cannot be read", "task", l.task.String(), "attempt", l.attempt, "error", err)
			panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to tell the reader that the answer is cut short
		}
		if !l.follow || last {
			return nil
		}
		_ = c.Flush()                                  // as above
		last = !s.deps.Logs.Running(l.task, l.attempt) // then what was written meanwhile, and no more
		if !last && s.pause(r.Context()) != nil {
			return nil
		}
	}
}

// openLog opens the log; one that is followed may be about to be made.
func (s *Server) openLog(ctx context.Context, l *logQuery) (io.ReadSeekCloser, error) {
	none := notFound("node %q has no %s of attempt %d of task %q (any more)", s.cfg.Name, l.stream, l.attempt, l.task)
	if s.deps.Logs == nil || !isTask(l.task) {
		return nil, none
	}
	for look := range 50 {
		f, err := s.deps.Logs.Open(l.task, l.attempt, l.stream)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, rota.ErrNotFound) {
			return nil, fmt.Errorf("open the log of task %q: %w", l.task, err)
		}
		if !l.follow || look > 10 && !s.deps.Logs.Running(l.task, l.attempt) {
			return nil, none
		}
		if err := s.pause(ctx); err != nil {
			return nil, err
		}
	}
	return nil, none
}

// isTask reports whether the words of a path can name a task at all: they are
// about to become the names of files.
func isTask(id rota.TaskID) bool {
	if _, err := ulid.ParseStrict(string(id.Run)); err != nil {
		return false
	}
	_, _, err := rota.ParseKey(string(id.Key))
	return err == nil
}

// seekLog goes to an offset; a negative one counts from the end, and one that lies
// outside is moved to the nearest place inside.
func seekLog(f io.Seeker, offset int64) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if offset < 0 {
		offset += size
	}
	return f.Seek(min(max(offset, 0), size), io.SeekStart)
}
