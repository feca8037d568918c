package api

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// guard stands in front of every route: it refuses what comes from another site,
// bounds what is under way and turns a defect of ours into a problem document.
// (Source: RELIABILITY.md, sections 5 and 6.)
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if err := s.admit(r); err != nil {
			h.Set("Connection", "close")
			s.refuse(w, r, err)
			return
		}
		select {
		case s.requests <- struct{}{}:
			defer func() { <-s.requests }()
		default:
			s.refuse(w, r, newProblem(TypeOverloaded, fmt.Sprintf("%d requests are under way on this node; try again, or ask another node", s.cfg.MaxRequests)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) //nolint:forbidigo // net/http's own way to cut an answer short
	}
	s.log.Error("a request broke", "method", r.Method, "path", clip(r.URL.Path, 200), "panic", p, "stack", string(debug.Stack()))
	s.refuse(w, r, newProblem(TypeInternal, "the node broke over this request; its log has the details"))
}

// admit checks what every request has to fulfil.
func (s *Server) admit(r *http.Request) error {
	if !s.knownHost(r.Host) {
		return newProblem(TypeDenied, fmt.Sprintf(
			"this node listens on loopback and does not answer to the name %q: use localhost or 127.0.0.1, or start it with --advertise", clip(r.Host, 100)))
	}
	if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) {
		return newProblem(TypeDenied, fmt.Sprintf("requests from pages of another site (%s) are not answered", clip(origin, 100)))
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return newProblem(TypeDenied, "requests from pages of another site are not answered")
	}
	if strings.HasPrefix(r.URL.Path, internalPrefix) || r.ContentLength == 0 {
		return nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return newProblem(TypeMedia, fmt.Sprintf("the body must be application/json, not %q", clip(r.Header.Get("Content-Type"), 100)))
	}
	return nil
}

// knownHost is the guard against another site's name that points here.
func (s *Server) knownHost(host string) bool {
	if !s.cfg.Loopback {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if strings.EqualFold(name, "localhost") || slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// refuse writes an error as a problem document. After the answer has begun nothing
// can be said any more.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(r, err)
	if p == nil {
		return // nobody is listening
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusGatewayTimeout:
		h.Set("Retry-After", "1")
	}
	if p.Status >= http.StatusInternalServerError && p.Type == TypeInternal {
		s.log.Error("request failed", "method", r.Method, "path", clip(r.URL.Path, 200), "error", err)
	}
	w.WriteHeader(p.Status)
	_ = encodeJSON(w, p) // a reader that went away
}

// problemOf finds the problem that an error stands for; nil if the asker is gone.
func (s *Server) problemOf(r *http.Request, err error) *Problem {
	var p *Problem
	var refusal *rota.Refusal
	var diagnostics rota.Diagnostics
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		p := newProblem(TypeTooLarge, fmt.Sprintf("the request's body is over %d bytes", tooLarge.Limit))
		p.Limit = "request_body"
		return p
	case errors.As(err, &diagnostics):
		return specProblem(diagnostics)
	case errors.As(err, &refusal):
		return problemOfKind(refusal.Kind, refusal.Detail)
	case errors.Is(err, ErrGone):
		return newProblem(TypeGone, "events that old are not kept any more; begin with the present state and follow from there")
	case r.Context().Err() != nil && errors.Is(err, context.Canceled):
		return nil
	}
	if kind := rota.KindOf(err); kind != rota.KindNone {
		return problemOfKind(kind, err.Error())
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return newProblem(TypeTimeout, "it took longer than allowed; try again")
	}
	return newProblem(TypeInternal, err.Error())
}

// specProblem is the problem of a job file with errors.
func specProblem(ds rota.Diagnostics) *Problem {
	detail := "the job file has errors"
	for _, d := range ds {
		if d.Severity == rota.SeverityError {
			detail = d.String()
			break
		}
	}
	p := newProblem(TypeInvalidSpec, detail)
	p.Diagnostics = ds
	return p
}

// clip shortens what came from outside before it is repeated.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD") + "..."
}

// armed sets the deadlines of an ordinary request: for its body to arrive and for
// its answer to be taken.
func (s *Server) armed(w http.ResponseWriter, wait time.Duration) {
	c := http.NewResponseController(w)
	now := time.Now()
	_ = c.SetReadDeadline(now.Add(s.cfg.BodyWait))         // not supported by recorders in tests
	_ = c.SetWriteDeadline(now.Add(s.cfg.SendWait + wait)) // as above
}
