package leader

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// Log is the replicated log while this node leads it; cluster's leadership is one.
type Log interface {
	Term() uint64
	// Snapshot is the state at the barrier that this leadership began with.
	Snapshot() *fsm.Snapshot
	// Changes delivers every entry applied after Snapshot. It is closed with the
	// leadership.
	Changes() <-chan rota.Applied
	// Propose returns the result of the command's entry. An error: not proposed, or
	// the outcome is not known.
	Propose(ctx context.Context, cmd rota.Command) (rota.Result, error)
	// Now is the cluster's own time.
	Now() rota.Instant
}

// Evaluator finds the values of a task's late expressions in a state in which all
// that the task depends on has ended. What is wrong with the expressions is
// Resolve.Failure; an error means that it could not be tried.
type Evaluator interface {
	Evaluate(ctx context.Context, state *fsm.Snapshot, task *rota.Task) (rota.Resolve, error)
}

// Deps are the parts a Leader works with.
type Deps struct {
	ID        rota.NodeID          // of this node
	State     func() *fsm.Snapshot // the newest applied state of this node
	Evaluator Evaluator            // nil: late expressions wait
	Clock     func() time.Duration // boot-time clock; nil: CLOCK_BOOTTIME
	Replicas  func() Replicas      // the servers that hold the log now; nil: the format is never raised
	Logger    hclog.Logger         // nil: silent
}

// Bounds of the shell.
const (
	maxRenewals    = 10_000           // nodes that wait for a renewal at once
	maxStreams     = 10_000           // nodes that listen at once
	streamQueue    = 256              // views that a slow node may be behind
	proposeTimeout = 20 * time.Second // for one proposal, its wait in the queue included
)

// Leader is the shell around the cores of a node's leaderships, one at a time.
type Leader struct {
	cfg  Config
	deps Deps
	log  hclog.Logger

	mu      sync.Mutex // guards what follows
	serving *serving   // nil while this node does not lead
	hints   map[rota.NodeID]bool
}

// New makes the leader's part of a node. It does nothing until Serve.
func New(cfg Config, deps Deps) (*Leader, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if deps.Clock == nil {
		deps.Clock = bootTime
	}
	if deps.Logger == nil {
		deps.Logger = hclog.NewNullLogger()
	}
	return &Leader{cfg: cfg, deps: deps, log: deps.Logger.Named("leader"), hints: map[rota.NodeID]bool{}}, nil
}

// bootTime reads the clock that goes on in suspend and that nobody can set: a
// leader that slept must see that it slept.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("leader: CLOCK_BOOTTIME cannot be read: " + err.Error()) //nolint:forbidigo // every Linux since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}

// Serve does the duties of one leadership, which begins after its barrier and ends
// with ctx or with the log's changes. It returns when everything it started has
// ended. One at a time.
func (l *Leader) Serve(ctx context.Context, log Log) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServing(ctx, l, log)
	if err := l.enter(s); err != nil {
		return err
	}
	l.log.Info("leading", "term", log.Term())
	s.loop()
	l.leave()
	cancel()
	s.end()
	l.log.Info("leading no more", "term", log.Term())
	return nil
}

func (l *Leader) enter(s *serving) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serving != nil {
		return &rota.Refusal{Kind: rota.KindConflict, Detail: "this node leads already"}
	}
	s.begin(l.hintsLocked())
	l.serving = s
	return nil
}

func (l *Leader) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = nil
}

// present is the leadership being served.
func (l *Leader) present() (*serving, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serving == nil {
		return nil, errNotLeading
	}
	return l.serving, nil
}

var errNotLeading = &rota.Refusal{Kind: rota.KindNoLeader, Detail: "this node does not lead"}

// Gossip hears from gossip that a node seems dead, or well. It may be called at
// any time, leading or not; the newest hint counts.
func (l *Leader) Gossip(node rota.NodeID, suspect bool) {
	l.mu.Lock()
	l.hints[node] = suspect
	s := l.serving
	l.mu.Unlock()
	if s != nil {
		s.step(Gossip{Node: node, Suspect: suspect})
		s.look()
	}
}

// hintsLocked are gossip's newest hints, by node.
func (l *Leader) hintsLocked() []Gossip {
	hints := make([]Gossip, 0, len(l.hints))
	for node, suspect := range l.hints {
		hints = append(hints, Gossip{Node: node, Suspect: suspect})
	}
	slices.SortFunc(hints, func(a, b Gossip) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return hints
}

// Renew asks for a node's lease and answers after the renewal was committed in
// this leadership. ErrNoLeader: this node does not lead, or stopped leading before;
// nothing is known then.
func (l *Leader) Renew(ctx context.Context, session rota.Session) (rota.Renewal, error) {
	s, err := l.present()
	if err != nil {
		return rota.Renewal{}, err
	}
	return s.renew(ctx, session)
}

// Attach sends a node all that it is to run, and then every change of it, until
// ctx ends, send fails, the session ends (ErrStale), a newer stream of the session
// takes over (ErrConflict), the node falls too far behind (ErrOverloaded) or this
// node stops leading (ErrNoLeader). The first view is full.
func (l *Leader) Attach(ctx context.Context, session rota.Session, send func(*rota.View) error) error {
	s, err := l.present()
	if err != nil {
		return err
	}
	return s.attach(ctx, session, send)
}
