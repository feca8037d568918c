package agent

import (
	"context"

	"github.com/rota-sched/rota"
)

// Keeper is the agent's side of the node's keeper (RELIABILITY.md, section 2,
// rules 3 and 8). Drivers talk to the same keeper by themselves to start and stop
// processes. All calls end with their context.
type Keeper interface {
	// Hello connects to the node's keeper, starting one where none lives, kills one
	// that does not answer, and says what it holds. It may be called again after
	// the keeper was lost. What was not acknowledged is named again.
	Hello(ctx context.Context) (Kept, error)
	// Extend hands over the lease: under this session nothing may live past the
	// deadline. ErrStale or ErrEnded: the keeper has begun to kill (TERM was sent),
	// the lease cannot be saved. ErrUnavailable: it still ends an earlier session, ask
	// again. Any other error: the keeper does not answer.
	Extend(ctx context.Context, l Lease) error
	// Ack lets the keeper forget the exits of these attempts. Unknown ones are
	// ignored.
	Ack(ctx context.Context, refs []Ref) error
	// Leave announces that the agent stops as planned: what runs goes on until
	// D - K unless an agent returns; a keeper that holds nothing ends with its agent.
	Leave(ctx context.Context) error
	// Kill ends a keeper that does not answer (SIGKILL).
	Kill() error
	// Events delivers what the keeper says by itself; one channel for all its
	// lives. KeeperGone is sent when the connection ended without Leave.
	Events() <-chan KeeperEvent
}

// Lease is what a keeper is told: the session, until when, and the newest view
// that the agent has seen, which the keeper remembers for its successor.
type Lease struct {
	Session     rota.Session
	Deadline    BootTime
	Incarnation uint16
	Index       uint64
}

// Kept is what a keeper holds when an agent says hello.
type Kept struct {
	ID          string // random, of this keeper's life
	Boot        string // boot id of the machine or container
	Containment string // rota.NodeInfo.Containment
	Lease       Lease  // zero for a new keeper
	// Over says that the session of Lease has ended here: TERM was sent, or it was
	// released. It cannot be kept.
	Over bool
	// Remains says that a keeper before this one may have left processes alive, on
	// a level of containment where its death is not theirs: nothing may be given
	// back before the leader's TTL has run out.
	Remains  bool
	Attempts []KeptAttempt
}

// KeptAttempt is an attempt whose process lives, or whose exit was not yet
// acknowledged.
type KeptAttempt struct {
	Ref
	Running bool // false: it has exited
}

// KeeperEvent is something a keeper did by itself.
type KeeperEvent struct {
	Keeper string // Kept.ID of the keeper it is about
	Kind   KeeperEventKind
	// Session is the one that KeeperOver is about. A keeper also says it of a session
	// that it ends because the agent hands over the next; zero: the present one.
	Session rota.Session
}

// KeeperEventKind is the kind of a KeeperEvent.
type KeeperEventKind int

// The events of a keeper.
const (
	KeeperGone KeeperEventKind = iota + 1 // the connection ended: it died
	KeeperOver                            // the deadline is near: TERM was sent to everything, the session is over
)
