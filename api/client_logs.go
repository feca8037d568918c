package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// LogOptions choose a log; the zero value is the stdout of the newest attempt.
type LogOptions struct {
	Stream  string // stdout (empty) or stderr
	Attempt uint64 // 0: the newest
	Offset  int64  // bytes to skip; negative: that many before the end
	Follow  bool   // wait for more until the attempt has ended
}

// Headers of a log: which attempt it is of, and where in it the answer begins.
const (
	headerAttempt = "Rota-Attempt"
	headerOffset  = "Rota-Offset"
)

// TaskLogs reads what an attempt wrote, from the node that ran it. A log that is
// followed is opened again where it broke off while there is patience. The caller
// closes it.
func (c *Client) TaskLogs(ctx context.Context, run, key string, o LogOptions) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &logReader{c: c, ctx: ctx, cancel: cancel, path: taskPath(run, key) + "/logs", o: o}
	if err := l.open(); err != nil {
		cancel()
		return nil, err
	}
	return l, nil
}

// logReader reads one attempt's log over as many connections as it takes.
type logReader struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	path   string
	o      LogOptions
	body   io.ReadCloser
}

// open opens the log at the place that was reached.
func (l *logReader) open() error {
	q := url.Values{}
	if l.o.Stream != "" {
		q.Set("stream", l.o.Stream)
	}
	if l.o.Attempt > 0 {
		q.Set("attempt", strconv.FormatUint(l.o.Attempt, 10))
	}
	if l.o.Offset != 0 {
		q.Set("offset", strconv.FormatInt(l.o.Offset, 10))
	}
	if l.o.Follow {
		q.Set("follow", "true")
	}
	resp, err := l.c.open(l.ctx, l.path, q, http.Header{"Accept": {"text/plain"}}) //nolint:bodyclose // Close does
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(resp.Header.Get(headerAttempt), 10, 64); err == nil {
		l.o.Attempt = n
	}
	if n, err := strconv.ParseInt(resp.Header.Get(headerOffset), 10, 64); err == nil {
		l.o.Offset = n
	}
	l.body = resp.Body
	return nil
}

// Read implements io.Reader.
func (l *logReader) Read(b []byte) (int, error) {
	var broken time.Time
	for {
		n, err := l.body.Read(b)
		l.o.Offset += int64(n)
		if n > 0 || err == nil || errors.Is(err, io.EOF) || !l.o.Follow || l.ctx.Err() != nil {
			return n, err
		}
		if broken.IsZero() {
			broken = time.Now()
		}
		_ = l.body.Close() // it is broken
		for err = l.open(); err != nil; err = l.open() {
			if !l.c.mayReturn(err, broken) || wait(l.ctx, 200*time.Millisecond) != nil {
				l.body = http.NoBody
				return 0, err
			}
		}
	}
}

// Close implements io.Closer.
func (l *logReader) Close() error {
	l.cancel()
	return l.body.Close()
}
