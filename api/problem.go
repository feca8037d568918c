package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// Problem is a refusal as RFC 9457 has it, with the diagnostics of a job file
// where that is what is wrong. Type is a bare word, stable for programs.
type Problem struct {
	Type        string           `json:"type"`
	Title       string           `json:"title"`
	Detail      string           `json:"detail"`
	Status      int              `json:"status"`
	Limit       string           `json:"limit,omitempty"` // the name of the limit that was met
	Diagnostics rota.Diagnostics `json:"diagnostics,omitempty"`
}

// Types of problems.
const (
	TypeInvalid      = "invalid"           // the request is malformed
	TypeInvalidSpec  = "invalid-spec"      // the job file is; diagnostics say where
	TypeNotBuilt     = "not-built"         // part of the language or protocol, but not built yet
	TypeNotFound     = "not-found"         // no such thing
	TypeConflict     = "conflict"          // the name or key is taken by something else
	TypeStale        = "stale"             // a fence or session that is not current
	TypeEnded        = "ended"             // it has already ended
	TypeNoFit        = "no-fit"            // it does not fit
	TypeTooLarge     = "too-large"         // over the limit named
	TypeFormat       = "format"            // an older node of the cluster does not know it
	TypeNoLeader     = "no-leader"         // no leader was found in time
	TypeUnknown      = "unknown-outcome"   // proposed, outcome not known: send it again with the same key
	TypeOverloaded   = "overloaded"        // a queue is full
	TypeUnavailable  = "unavailable"       // this node cannot serve it now
	TypeDenied       = "denied"            // not allowed
	TypeGone         = "gone"              // older than what is kept
	TypeMethod       = "method"            // the route has no such method
	TypeMedia        = "unsupported-media" // the body is not JSON
	TypeInternal     = "internal"          // a defect of ours
	TypeTimeout      = "timeout"           // it took longer than allowed
	TypeUnknownRoute = "unknown-route"     // no such route
)

type problemKind struct {
	kind   rota.Kind
	word   string
	title  string
	status int
}

// problemKinds maps the kinds of refusals to the wire; for reading back, the first
// with a word counts.
var problemKinds = [...]problemKind{
	{rota.KindInvalid, TypeInvalid, "Invalid request", http.StatusBadRequest},
	{rota.KindNotFound, TypeNotFound, "Not found", http.StatusNotFound},
	{rota.KindConflict, TypeConflict, "Conflict", http.StatusConflict},
	{rota.KindStale, TypeStale, "Not current any more", http.StatusConflict},
	{rota.KindEnded, TypeEnded, "Already ended", http.StatusConflict},
	{rota.KindNoFit, TypeNoFit, "Does not fit", http.StatusConflict},
	{rota.KindTooLarge, TypeTooLarge, "Over a limit", http.StatusRequestEntityTooLarge},
	{rota.KindFormat, TypeFormat, "Not yet available in this cluster", http.StatusConflict},
	{rota.KindNoLeader, TypeNoLeader, "No leader", http.StatusServiceUnavailable},
	{rota.KindUnknown, TypeUnknown, "Outcome unknown", http.StatusGatewayTimeout},
	{rota.KindOverloaded, TypeOverloaded, "Overloaded", http.StatusTooManyRequests},
	{rota.KindUnavailable, TypeUnavailable, "Unavailable", http.StatusServiceUnavailable},
	{rota.KindUnauthorized, TypeDenied, "Denied", http.StatusForbidden},
	{rota.KindInvalid, TypeInvalidSpec, "Invalid job file", http.StatusUnprocessableEntity},
	{rota.KindInvalid, TypeNotBuilt, "Not built yet", http.StatusUnprocessableEntity},
	{rota.KindNotFound, TypeGone, "Not kept any more", http.StatusGone},
	{rota.KindInvalid, TypeMethod, "Method not allowed", http.StatusMethodNotAllowed},
	{rota.KindInvalid, TypeMedia, "Unsupported media type", http.StatusUnsupportedMediaType},
	{rota.KindNotFound, TypeUnknownRoute, "No such route", http.StatusNotFound},
	{rota.KindUnavailable, TypeTimeout, "Timed out", http.StatusServiceUnavailable},
}

// newProblem fills a problem of a type.
func newProblem(word, detail string) *Problem {
	for _, k := range problemKinds {
		if k.word == word {
			return &Problem{Type: word, Title: k.title, Detail: detail, Status: k.status}
		}
	}
	return &Problem{Type: TypeInternal, Title: "Internal error", Detail: detail, Status: http.StatusInternalServerError}
}

// problemOfKind fills a problem for a kind of refusal.
func problemOfKind(kind rota.Kind, detail string) *Problem {
	for _, k := range problemKinds {
		if k.kind == kind {
			return newProblem(k.word, detail)
		}
	}
	return newProblem(TypeInternal, detail)
}

// Error makes a problem usable as the error of a handler.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// Kind is the kind of refusal that the problem stands for; KindNone for a defect
// or a type of a newer version.
func (p *Problem) Kind() rota.Kind {
	for _, k := range problemKinds {
		if k.word == p.Type {
			return k.kind
		}
	}
	return rota.KindNone
}

// Unwrap gives the error of the kind, for errors.Is(err, rota.ErrNotFound).
func (p *Problem) Unwrap() error { return (&rota.Refusal{Kind: p.Kind()}).Unwrap() }

// Error is a refusal that a node answered with. It wraps its Problem, and through
// it the error of the problem's kind; errors.As finds either.
type Error struct {
	Address    string // of the node that answered
	Problem    *Problem
	RetryAfter time.Duration // zero: not given
}

func (e *Error) Error() string { return e.Problem.Error() }

// Unwrap gives the problem.
func (e *Error) Unwrap() error { return e.Problem }

// UnreachableError says that no node answered. It wraps rota.ErrUnavailable.
type UnreachableError struct {
	Addresses []string
	Causes    []error // one for each address
}

func (e *UnreachableError) Error() string {
	var b strings.Builder
	b.WriteString("no node answered:")
	for i, a := range e.Addresses {
		b.WriteString(" " + a)
		if i < len(e.Causes) && e.Causes[i] != nil {
			b.WriteString(" (" + e.Causes[i].Error() + ")")
		}
	}
	b.WriteString("; is one running there? Name others with --address or ROTA_ADDR")
	return b.String()
}

// Unwrap gives rota.ErrUnavailable.
func (e *UnreachableError) Unwrap() error { return rota.ErrUnavailable }
