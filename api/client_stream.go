package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// EventFilter chooses events; zero fields choose all.
type EventFilter struct {
	Namespace string
	Run       string   // ID, unique prefix or @last
	Types     []string // run.created, task.delivered, node.changed ...; "task.*" for all of a kind
	// End lets the stream end once Run has ended; only with Run.
	End bool
}

// Events follows the events after the one of that ID; with "" those from now on,
// with "0" all that are kept. A broken stream is opened again where it stopped, at
// another address where need be. The sequence ends with ctx (without an error),
// with the run where the filter says so, or after yielding an error: type gone
// when events were missed that are not kept any more.
func (c *Client) Events(ctx context.Context, after string, f EventFilter) iter.Seq2[*EventView, error] {
	return func(yield func(*EventView, error) bool) {
		path, q := f.request()
		var broken time.Time // since when nothing was heard
		for {
			heard, err := c.follow(ctx, path, q, &after, yield)
			if err == nil || ctx.Err() != nil || errors.Is(err, errStopped) {
				return
			}
			if heard || broken.IsZero() {
				broken = time.Now()
			}
			var refused *Error
			final := errors.As(err, &refused)
			if _, again := passes(err); again {
				final = false
			}
			if final || time.Since(broken) > c.opts.Patience {
				yield(nil, err)
				return
			}
			if wait(ctx, 200*time.Millisecond) != nil {
				return
			}
		}
	}
}

func (f *EventFilter) request() (string, url.Values) {
	q := url.Values{}
	if f.Namespace != "" {
		q.Set("namespace", f.Namespace)
	}
	for _, t := range f.Types {
		q.Add("type", t)
	}
	if f.Run == "" {
		return "/v1/events", q
	}
	if f.End {
		q.Set("end", "true")
	}
	return "/v1/runs/" + url.PathEscape(f.Run) + "/events", q
}

// errStopped says that the reader of a sequence wants no more.
var errStopped = errors.New("stopped")

// streamSilence is how long a stream may be silent before it counts as broken;
// servers send a sign of life every 10 s.
const streamSilence = 30 * time.Second

// follow opens the stream at the first address that answers and yields its events.
// nil: it ended as it should.
func (c *Client) follow(ctx context.Context, path string, q url.Values, after *string, yield func(*EventView, error) bool) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.open(ctx, path, q, http.Header{"Last-Event-ID": {*after}, "Accept": {"text/event-stream"}})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	silence := time.AfterFunc(streamSilence, cancel)
	defer silence.Stop()
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		e, err := readSSE(lines, func() { silence.Reset(streamSilence) })
		if err != nil {
			return heard, fmt.Errorf("event stream: %w", err)
		}
		switch e.event {
		case sseEnd:
			return true, nil
		case sseHello, "": // says where the stream is
			if e.id != "" {
				*after = e.id
			}
			continue
		case sseProblem:
			p := new(Problem)
			if err := json.Unmarshal(e.data, p); err != nil {
				return true, fmt.Errorf("event stream: %w", err)
			}
			return true, &Error{Address: c.Address(), Problem: p}
		}
		view := new(EventView)
		if err := json.Unmarshal(e.data, view); err != nil {
			return true, fmt.Errorf("event %q: %w", e.id, err)
		}
		heard, *after = true, e.id
		if !yield(view, nil) {
			return true, errStopped
		}
	}
}

// Words of our event streams beside the types of events.
const (
	sseEnd     = "end"     // the stream is complete
	sseHello   = "hello"   // its id is where the stream begins
	sseProblem = "problem" // data is a problem document; the stream ends
)

type sseEvent struct {
	id, event string
	data      []byte
}

// readSSE reads the next event; seen is called with every line.
func readSSE(r *bufio.Reader, seen func()) (sseEvent, error) {
	var e sseEvent
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return e, err
		}
		seen()
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			if e.event != "" || e.data != nil || e.id != "" {
				return e, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			e.id = string(value)
		case "event":
			e.event = string(value)
		case "data":
			e.data = append(e.data, value...)
		}
	}
}

// open sends a GET whose answer is read as a stream, trying each address once.
func (c *Client) open(ctx context.Context, path string, q url.Values, h http.Header) (*http.Response, error) {
	start := int(c.current.Load())
	unreachable := &UnreachableError{}
	var refused error
	for turn := range c.bases {
		at := (start + turn) % len(c.bases)
		base := c.bases[at]
		req, err := c.request(ctx, base, &call{method: http.MethodGet, path: path, query: q}, nil)
		if err != nil {
			return nil, err
		}
		for name, values := range h {
			req.Header[name] = values
		}
		resp, err := c.http.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			unreachable.Addresses = append(unreachable.Addresses, base.String())
			unreachable.Causes = append(unreachable.Causes, plainCause(err))
			continue
		}
		if resp.StatusCode == http.StatusOK {
			c.current.Store(int64(at))
			return resp, nil
		}
		refused = readProblem(base.String(), resp)
		drain(resp.Body)
		if _, again := passes(refused); !again {
			return nil, refused
		}
	}
	if refused != nil {
		return nil, refused
	}
	return nil, unreachable
}
