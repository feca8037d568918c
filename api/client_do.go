package api

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
)

// Headers of the protocol.
const (
	headerIndex       = "Rota-Index"
	headerAge         = "Rota-Index-Age-Ms"
	headerLeader      = "Rota-Leader"
	headerUnchanged   = "Rota-Unchanged" // a blocking read ran out of time
	headerIdempotency = "Idempotency-Key"
)

// Bounds of what a client reads.
const (
	maxReply   = 64 << 20
	maxProblem = 1 << 20
)

// call is one request of a client.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	in     any // marshalled as JSON; nil: no body
	out    any // unmarshalled from JSON; nil: the body is dropped
	key    string
	accept int // a status beside 2xx that is no refusal
	// once: where the outcome is not known, the call is not repeated. Coming late it
	// would undo what somebody else did in between.
	once bool
}

// result is what a call got beside its body.
type result struct {
	status    int
	index     uint64
	unchanged bool
}

// call sends a request, to each address in turn until one answers, and again while
// there is patience and the refusal is one that passes.
func (c *Client) call(ctx context.Context, k *call) (result, error) {
	var body []byte
	if k.in != nil {
		b, err := json.Marshal(k.in)
		if err != nil {
			return result{}, fmt.Errorf("encode the request: %w", err)
		}
		body = b
	}
	if k.method != http.MethodGet && k.key == "" {
		k.key = cryptorand.Text()
	}
	until := time.Now().Add(c.opts.Patience)
	for {
		res, err := c.round(ctx, k, body)
		pause, again := passes(err)
		if !again || time.Now().Add(pause).After(until) || k.once && rota.KindOf(err) == rota.KindUnknown {
			return res, err
		}
		if wait(ctx, pause) != nil {
			return res, err
		}
	}
}

// passes says whether an error may be gone after a pause. A node that is overloaded
// is left alone for as long as it asked for; without a leader it is worth looking
// sooner, since an election is over in less than the second that Retry-After can
// say. Pauses differ, so that many clients do not come back at once.
func passes(err error) (time.Duration, bool) {
	var refused *Error
	if errors.As(err, &refused) {
		switch refused.Problem.Type {
		case TypeOverloaded:
			return scattered(max(refused.RetryAfter, 100*time.Millisecond)), true
		case TypeNoLeader, TypeUnknown, TypeUnavailable:
			return scattered(min(max(refused.RetryAfter/4, 100*time.Millisecond), time.Second)), true
		}
		return 0, false
	}
	return scattered(200 * time.Millisecond), brokeOff(err)
}

// scattered is d and up to half of it more.
func scattered(d time.Duration) time.Duration { return d + rand.N(d/2+1) }

// brokeOff says that a node was reached and went away before it answered.
func brokeOff(err error) bool {
	var u *UnreachableError
	if !errors.As(err, &u) {
		return false
	}
	for _, cause := range u.Causes {
		if cause != nil && !neverSent(cause) {
			return true
		}
	}
	return false
}

// round tries each address once.
func (c *Client) round(ctx context.Context, k *call, body []byte) (result, error) {
	start := int(c.current.Load())
	unreachable := &UnreachableError{}
	var refused error
	var res result
	for turn := range c.bases {
		at := (start + turn) % len(c.bases)
		r, err := c.try(ctx, c.bases[at], k, body)
		if err == nil {
			c.current.Store(int64(at))
			return r, nil
		}
		if ctx.Err() != nil {
			return r, fmt.Errorf("%s %s: %w", k.method, k.path, ctx.Err())
		}
		var e *Error
		if !errors.As(err, &e) && k.once && !neverSent(err) {
			err = &Error{Address: c.bases[at].String(), Problem: newProblem(TypeUnknown, fmt.Sprintf("%s went away before it answered (%v)", c.bases[at], plainCause(err)))}
		}
		if errors.As(err, &e) {
			if _, again := passes(err); !again {
				c.current.Store(int64(at))
				return r, err
			}
			if k.once && e.Problem.Type == TypeUnknown {
				e.Problem.Detail += "; look whether it took effect before you ask again: it is not repeated by itself, since that could undo what somebody else did in between"
				return r, err
			}
			res, refused = r, err // another node may know better
			continue
		}
		unreachable.Addresses = append(unreachable.Addresses, c.bases[at].String())
		unreachable.Causes = append(unreachable.Causes, plainCause(err))
	}
	if refused != nil {
		return res, refused
	}
	return res, unreachable
}

// try sends the request once, to one address.
func (c *Client) try(ctx context.Context, base *url.URL, k *call, body []byte) (result, error) {
	ctx, cancel := withTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := c.request(ctx, base, k, body)
	if err != nil {
		return result{}, err
	}
	resp, err := carry(c.http.Do, req) //nolint:bodyclose // drain closes it
	if err != nil {
		return result{}, err
	}
	defer drain(resp.Body)
	res := result{status: resp.StatusCode, unchanged: resp.Header.Get(headerUnchanged) != ""}
	res.index, _ = strconv.ParseUint(resp.Header.Get(headerIndex), 10, 64)
	if resp.StatusCode/100 != 2 && resp.StatusCode != k.accept {
		return res, readProblem(base.String(), resp)
	}
	if k.out == nil {
		return res, nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return res, fmt.Errorf("read the answer: %w", err)
	}
	if err := json.Unmarshal(b, k.out); err != nil {
		return res, &Error{Address: base.String(), Problem: newProblem(TypeInternal,
			fmt.Sprintf("%s answered %s with something that is not the JSON expected: is a Rota node of this version listening there?", base, k.path))}
	}
	return res, nil
}

func (c *Client) request(ctx context.Context, base *url.URL, k *call, body []byte) (*http.Request, error) {
	target := base.String() + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	var r io.Reader
	if k.method != http.MethodGet {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, r)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	req.Header.Set("Accept", "application/json")
	if k.method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(headerIdempotency, k.key)
	}
	if c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	return req, nil
}

// readProblem makes the error of a refusal, whatever the body holds.
func readProblem(address string, resp *http.Response) error {
	e := &Error{Address: address, Problem: new(Problem)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || json.Unmarshal(b, e.Problem) != nil || e.Problem.Type == "" {
		e.Problem = newProblem(TypeInternal, fmt.Sprintf("%s answered %s without a problem document: is that a Rota node?", address, resp.Status))
		e.Problem.Status = resp.StatusCode
	}
	return e
}

// drain lets the connection be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10) // only to save the connection
	_ = body.Close()                          // nothing was written
}

// plainCause strips the method and address that url.Error puts before a cause.
func plainCause(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	if neverSent(err) {
		return &unsentError{u.Err}
	}
	return u.Err
}

// wait sleeps until d has passed or ctx ends, whose error it returns.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (*T, error) {
	out := new(T)
	if _, err := c.call(ctx, &call{method: http.MethodGet, path: path, query: q, out: out}); err != nil {
		return nil, err
	}
	return out, nil
}

func post[T any](ctx context.Context, c *Client, path string, in any, key string) (*T, error) {
	if in == nil {
		in = struct{}{}
	}
	out := new(T)
	if _, err := c.call(ctx, &call{method: http.MethodPost, path: path, in: in, out: out, key: key}); err != nil {
		return nil, err
	}
	return out, nil
}

// postOnce sends what has no body and is not to be repeated.
func postOnce[T any](ctx context.Context, c *Client, path string) (*T, error) {
	out := new(T)
	if _, err := c.call(ctx, &call{method: http.MethodPost, path: path, in: struct{}{}, out: out, once: true}); err != nil {
		return nil, err
	}
	return out, nil
}

func decodeList[T any](l *List[T]) ([]T, *string) { return l.Items, l.NextCursor }

// all follows the cursors of a list to its end.
func all[T any](ctx context.Context, c *Client, path string, q url.Values, page func(*List[T]) ([]T, *string)) ([]T, error) {
	items := []T{}
	if q == nil {
		q = url.Values{}
	}
	for {
		l, err := get[List[T]](ctx, c, path, q)
		if err != nil {
			return nil, err
		}
		more, next := page(l)
		items = append(items, more...)
		if next == nil {
			return items, nil
		}
		q.Set("cursor", *next)
	}
}
