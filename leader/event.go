package leader

import (
	"time"

	"github.com/rota-sched/rota"
)

// Now is the moment of a step.
type Now struct {
	// Mono is the leading node's own boot-time clock (it goes on in suspend; nobody
	// can set it). Leases are counted on it.
	Mono time.Duration
	// At is the cluster's own time, for what the state machine is due to do.
	At rota.Instant
}

// Token ties an event to the action or request it answers. Tokens of events are
// chosen by the shell, tokens of Propose actions by the core.
type Token uint64

// Event is something that happened to the leading node: a closed set, the types
// below.
//
//sumtype:decl
type Event interface{ isEvent() }

// Applied is one entry of the log, in order; every entry after the snapshot that
// the core started from is delivered.
type Applied struct{ rota.Applied }

// Tick says only that time went on.
type Tick struct{}

// RenewalAsked is a node that asks for its lease.
type RenewalAsked struct {
	Token   Token
	Session rota.Session
}

// RenewalGone is a node that does not wait for its answer any more.
type RenewalGone struct{ Token Token }

// ProposalDone is the end of a proposal: its result, or that its outcome is not
// known. It may arrive before or after the entry's Applied.
type ProposalDone struct {
	Token  Token
	Result rota.Result
	Failed bool // no result: refused before the log, or the outcome is unknown
}

// Gossip is what the node next door whispers about another.
type Gossip struct {
	Node    rota.NodeID
	Suspect bool
}

// StreamAttached is a node that wants to hear what it is to run.
type StreamAttached struct {
	Token   Token
	Session rota.Session
}

// StreamDetached is the end of a stream, from whichever side.
type StreamDetached struct{ Token Token }

// Evaluated is the end of an Evaluate action.
type Evaluated struct {
	Task    rota.TaskID
	Resolve rota.Resolve
	Failed  bool // nothing is known of the expressions; try again
}

// Replicas are the servers that hold the log now.
type Replicas struct {
	IDs []rota.NodeID
	// Format is the newest format version that all their processes say they can read;
	// zero: not all have said it. A node that keeps its session over a restart does not
	// register again, so its record may name an older one.
	Format uint16
}

func (Applied) isEvent()        {}
func (Tick) isEvent()           {}
func (RenewalAsked) isEvent()   {}
func (RenewalGone) isEvent()    {}
func (ProposalDone) isEvent()   {}
func (Gossip) isEvent()         {}
func (StreamAttached) isEvent() {}
func (StreamDetached) isEvent() {}
func (Evaluated) isEvent()      {}
func (Replicas) isEvent()       {}

// Action is something that the shell is to do: a closed set, the types below.
//
//sumtype:decl
type Action interface{ isAction() }

// Propose replicates an operation; ProposalDone answers it.
type Propose struct {
	Token Token
	Op    rota.Op
}

// AnswerRenewal answers a RenewalAsked.
type AnswerRenewal struct {
	Token   Token
	Renewal rota.Renewal
}

// Push sends a view down a stream. The shell keeps a bounded queue per stream and
// closes the stream, with StreamDetached, when it is full.
type Push struct {
	Token Token
	View  *rota.View
}

// CloseStream ends a stream: the session is over (KindStale), or a newer stream of
// the same session took its place (KindConflict).
type CloseStream struct {
	Token Token
	Kind  rota.Kind
}

// Evaluate finds the values of a task's late expressions; Evaluated answers it.
type Evaluate struct{ Task *rota.Task }

func (Propose) isAction()       {}
func (AnswerRenewal) isAction() {}
func (Push) isAction()          {}
func (CloseStream) isAction()   {}
func (Evaluate) isAction()      {}
