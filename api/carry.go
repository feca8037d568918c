package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// sendTries bounds how often a request is sent of which nothing could be written: each
// time on another kept connection that the other end had closed meanwhile.
const sendTries = 8

// unsentError is that nothing of a request was written: nobody can have seen it.
type unsentError struct{ err error }

// Error implements error.
func (e *unsentError) Error() string { return e.err.Error() }

// Unwrap gives what happened instead.
func (e *unsentError) Unwrap() error { return e.err }

// neverSent reports whether a request failed before the other end could have seen it.
func neverSent(err error) bool {
	var u *unsentError
	return errors.As(err, &u)
}

// carry sends a request. It is sent again only while nothing of it was written. (By
// itself net/http repeats a POST that has an idempotency key whenever its connection
// breaks, and then tells of the last try alone: "connection refused" may mean that the
// try before it did its work.) neverSent says of the error which of the two it is.
func carry(send func(*http.Request) (*http.Response, error), req *http.Request) (*http.Response, error) {
	ctx, again := req.Context(), req.GetBody
	for tries := 1; ; tries++ {
		var wrote, kept atomic.Bool
		once := req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn:      func(c httptrace.GotConnInfo) { kept.Store(c.Reused) },
			WroteHeaders: func() { wrote.Store(true) },
		}))
		once.GetBody = nil // so that net/http does not repeat it
		resp, err := send(once)
		switch {
		case err == nil:
			return resp, nil
		case wrote.Load():
			return nil, err
		case ctx.Err() != nil, !kept.Load(), tries == sendTries, req.Body != nil && again == nil:
			return nil, &unsentError{err}
		}
		if again != nil {
			body, err := again()
			if err != nil {
				return nil, &unsentError{fmt.Errorf("send the request again: %w", err)}
			}
			req = req.WithContext(ctx)
			req.Body = body
		}
	}
}
