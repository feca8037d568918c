package rota

import "errors"

// Kind is the kind of a refusal; callers act on kinds, never on words.
type Kind uint8

// The kinds of refusals.
const (
	KindNone Kind = iota
	KindInvalid
	KindNotFound
	KindConflict     // the name or key is taken by something else
	KindStale        // a fence or session that is not current; nothing changed
	KindEnded        // it has already ended
	KindNoFit        // the placement does not hold any more
	KindTooLarge     // a limit; the detail names it
	KindFormat       // the operation needs a newer format version than is active
	KindNoLeader     // no leader was found in time; it may still take effect later
	KindUnknown      // proposed, but the outcome is not known; the same request may be sent again
	KindOverloaded   // a queue is full; try again later
	KindUnavailable  // this node cannot serve it now
	KindUnauthorized // denied
)

var kindNames = [...]string{
	"", "invalid", "not-found", "conflict", "stale", "ended", "no-fit", "too-large", "format",
	"no-leader", "unknown-outcome", "overloaded", "unavailable", "denied",
}

func (k Kind) String() string { return nameOf(kindNames[:], uint8(k)) }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(b []byte) error { return parseName(kindNames[:], b, "kind", k) }

// Errors by kind, for errors.Is.
var (
	ErrInvalid     = errors.New("invalid")
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")
	ErrStale       = errors.New("fence or session is not current")
	ErrEnded       = errors.New("already ended")
	ErrNoFit       = errors.New("does not fit")
	ErrTooLarge    = errors.New("over a limit")
	ErrFormat      = errors.New("format version not active")
	ErrNoLeader    = errors.New("no leader")
	ErrUnknown     = errors.New("outcome unknown")
	ErrOverloaded  = errors.New("overloaded")
	ErrUnavailable = errors.New("unavailable")
	ErrDenied      = errors.New("denied")
)

var kindErrors = [...]error{
	nil, ErrInvalid, ErrNotFound, ErrConflict, ErrStale, ErrEnded, ErrNoFit, ErrTooLarge, ErrFormat,
	ErrNoLeader, ErrUnknown, ErrOverloaded, ErrUnavailable, ErrDenied,
}

// Refusal is a refused request: it wraps the error of its kind.
type Refusal struct {
	Kind   Kind
	Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Kind.String()
	}
	return r.Detail
}

// Unwrap gives the error of the kind, for errors.Is.
func (r *Refusal) Unwrap() error {
	if int(r.Kind) < len(kindErrors) {
		return kindErrors[r.Kind]
	}
	return nil
}

// KindOf finds the kind of an error that came back from a request; KindNone for
// errors without one.
func KindOf(err error) Kind {
	for k := len(kindErrors) - 1; k > 0; k-- {
		if errors.Is(err, kindErrors[k]) {
			return Kind(k)
		}
	}
	return KindNone
}
