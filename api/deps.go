package api

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// State is the replicated state as this node sees it.
type State interface {
	// Propose returns the leader's result, from whichever node. An error wraps a
	// kind; one without a kind means that the outcome is not known.
	Propose(ctx context.Context, cmd rota.Command) (rota.Result, error)
	// ProposeMany is Propose for several commands, which travel together; each has
	// its own result and error.
	ProposeMany(ctx context.Context, cmds []rota.Command) ([]rota.Result, []error)
	// Snapshot is the newest applied state of this node; nil where the node has no
	// replica.
	Snapshot() *fsm.Snapshot
	// Barrier asks the leader for an index that everything acknowledged before the
	// call is at or below.
	Barrier(ctx context.Context) (uint64, error)
	// Await returns once this node has applied the index.
	Await(ctx context.Context, index uint64) error
	// Leader is the leader's ID and HTTP address, as far as known.
	Leader() (id rota.NodeID, address string, ok bool)
	// Servers are the replicas, as this node sees them.
	Servers() []Replica
	// Position is where this node stands in the log.
	Position() Position
	// Contact is what a voter says of its contact with leaders (RELIABILITY.md,
	// section 2, rule 7).
	Contact() rota.Contact
}

// Replica is a server that holds the log, or did until it went away.
type Replica struct {
	ID          rota.NodeID
	Name        string
	Address     string // of its HTTP door
	Leader      bool
	Voter       bool
	Reachable   bool
	LastContact time.Duration // since it was last heard of; negative: not known here
}

// Position is where a node stands in the log.
type Position struct {
	Term        uint64
	Index       uint64
	Age         time.Duration // since Index was known to be the newest
	LastContact time.Duration // since the leader was last heard of; negative: never
}

// Duties is the leading node's part that this node plays while it leads; its
// methods return an error wrapping rota.ErrNoLeader while it does not.
type Duties interface {
	// Renew answers after the renewal was committed.
	Renew(ctx context.Context, s rota.Session) (rota.Renewal, error)
	// Attach sends views until ctx ends, the leadership ends (rota.ErrNoLeader), the
	// session is over (rota.ErrStale) or send fails.
	Attach(ctx context.Context, s rota.Session, send func(*rota.View) error) error
	// Explain says why a queued task waits.
	Explain(ctx context.Context, task rota.TaskID) (*ExplainView, error)
	// ExplainNode says what a node is passed over for.
	ExplainNode(ctx context.Context, node rota.NodeID) (*ExplainNodeView, error)
	// Plan says where the tasks of the job that are ready at once would go, by key,
	// and what no node of the cluster could ever run.
	Plan(ctx context.Context, job *rota.Job) (*Placing, error)
}

// Placing is the answer of a dry run.
type Placing struct {
	Nodes   map[rota.TaskKey]string      // name of the node that a ready task would go to
	Reasons map[rota.TaskKey]rota.Reason // why one would wait, or never run
}

// Logs are what attempts wrote on this node.
type Logs interface {
	// Open gives the stream ("stdout", "stderr") of an attempt from its beginning. A
	// reader at its end may be read again when more was written. An error wraps
	// rota.ErrNotFound where the node has none.
	Open(task rota.TaskID, attempt uint64, stream string) (io.ReadSeekCloser, error)
	// Running reports whether the attempt may still write.
	Running(task rota.TaskID, attempt uint64) bool
}

// History is what happened, as far as it is kept on this node.
type History interface {
	// Read returns up to max events after the one of that ID, oldest first; the
	// empty ID is before everything kept. An ID that never was is a place between
	// two others. ErrGone: what follows the ID is not kept any more.
	Read(after string, max int) ([]rota.Event, error)
	// Last is the ID of the newest event; empty: there was none.
	Last() string
	// Changed is closed when there is an event that was not there when it was called.
	Changed() <-chan struct{}
}

// ErrGone says that events are not kept any more.
var ErrGone = errors.New("not kept any more")

// Call is an internal call of another node, for a part that api does not know.
type Call struct {
	// Open calls are answered for anyone: what a node asks before it has the
	// cluster's key.
	Open   bool
	Handle func(ctx context.Context, body []byte) ([]byte, error)
}

// Deps are the parts that a Server asks.
type Deps struct {
	State   State
	Duties  Duties
	Logs    Logs    // nil: nothing runs here
	History History // nil: no events
	// Calls are answered at /v1/internal/NAME: probe, join, accept, forward.
	Calls map[string]Call
	// Credentials are the cluster's ID and the secret shared by its nodes; an empty
	// ID while the node belongs to none.
	Credentials func() (cluster string, key []byte)
	Admin       Admin // nil: the log's servers are cared for elsewhere
	// Ready and Doctor look at the node; nil: nothing to say.
	Ready  func() []Check
	Doctor func(ctx context.Context) []Check
}
