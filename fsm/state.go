package fsm

import (
	"errors"
	"fmt"

	"github.com/rota-sched/rota"
)

// ErrHalt says that a replica met what it cannot apply: an operation or rules of a
// newer format version, or bytes that no version wrote. It must stop applying; to
// skip the entry would let replicas diverge.
var ErrHalt = errors.New("this replica cannot apply the entry and must stop")

// State is the replicated state. It belongs to the one goroutine that applies the
// log; all others read a Snapshot.
type State struct {
	tables
	limits Limits
	kept   map[string]kept // derived: what ended, by namespace; only looked up
	w      work
	again  shared
}

// New makes the empty state with the limits of a cluster.
func New() *State { return NewWith(DefaultLimits()) }

// NewWith makes the empty state with other limits, for tests.
func NewWith(l Limits) *State {
	s := &State{tables: newTables(), limits: l, kept: map[string]kept{}, w: work{step: 1}}
	s.keepRequests = l.KeepRequests
	return s
}

// CanApply reports why an entry must not be applied by this binary in this state:
// nil, or an error that wraps ErrHalt. Whoever applies the log asks it before
// every Apply.
func (s *State) CanApply(e *rota.Entry) error {
	if e.Format > s.meta.format {
		return fmt.Errorf("entry %d was written under format %d, active is %d: %w", e.Index, e.Format, s.meta.format, ErrHalt)
	}
	for i := range e.Commands {
		if op, ok := e.Commands[i].Op.(rota.RaiseFormat); ok && op.Format > s.limits.MaxFormat {
			return fmt.Errorf("entry %d raises the format to %d, this binary knows %d: %w", e.Index, op.Format, s.limits.MaxFormat, ErrHalt)
		}
	}
	return nil
}

// Snapshot is the state as it is now. It costs a few small allocations whatever
// the size of the state, and the first change of a record afterwards copies a path
// of its tree.
func (s *State) Snapshot() *Snapshot {
	sn := &Snapshot{tables: s.copy()}
	sn.nextDue = s.NextDue()
	return sn
}

// NextDue is when the state machine next has something to do by itself; zero:
// never.
func (s *State) NextDue() rota.Instant {
	t, _ := s.nextTimer()
	return t.at
}
