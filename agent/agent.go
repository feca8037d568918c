package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
)

// Config is what an Agent needs.
type Config struct {
	Core    CoreConfig
	Layout  Layout
	Addr    string // the node's HTTP door, http://host:port
	Drivers []Driver
	Peers   Peers
	Keeper  Keeper
	// Probe tries what a start needs of the node (Layout.Probe); nil: it cannot fail.
	Probe  func() error
	Clock  func() BootTime // nil: Now
	Logger hclog.Logger    // nil: silent
	// Starters is how many attempts are handed to their drivers at the same time.
	Starters int
	// Call bounds calls to the cluster and the keeper that have no bound of their own.
	Call time.Duration
}

// DefaultConfig has everything but the node, the drivers and the doors.
func DefaultConfig() Config {
	return Config{Core: DefaultCoreConfig(), Clock: Now, Starters: 8, Call: 5 * time.Second}
}

// Agent carries out what its Core decides. One Run per Agent.
type Agent struct {
	cfg     Config
	core    *Core
	drivers map[rota.Driver]Driver
	log     hclog.Logger
	events  chan Event
	starts  *queue[start]
	acks    *queue[Ref]
	leases  chan Lease // holds the newest that the keeper was not told
	wg      sync.WaitGroup

	stream       uint64 // number of the open one; belongs to Run
	cancelStream context.CancelFunc

	mu      sync.Mutex // guards all below
	running map[Ref]*running
	status  Status
	probing bool // a probe is under way, perhaps on a disk that hangs
}

// running is an attempt that a driver holds.
type running struct {
	handle Handle
	since  BootTime
	usage  rota.Usage
}

// start is an attempt on its way to its driver.
type start struct {
	task   Task
	before BootTime
	adopt  bool
}

// Status is how the agent stands.
type Status struct {
	Phase    string
	Session  rota.Session
	Deadline BootTime
	Live     int
	Unfit    string // why the node starts nothing; empty: it does
	Why      string // the node has no session: the last registration's refusal, or the keeper's silence
}

// New checks the configuration and makes an agent that has not begun.
func New(cfg Config) (*Agent, error) {
	if err := cfg.Core.Times.Check(); err != nil {
		return nil, fmt.Errorf("configure the agent: %w", err)
	}
	switch {
	case cfg.Peers == nil || cfg.Keeper == nil:
		return nil, errors.New("configure the agent: it needs peers and a keeper")
	case cfg.Core.Node.Info.ID == "" || cfg.Core.Node.Boot == "":
		return nil, errors.New("configure the agent: it needs the node's id and boot id")
	case cfg.Starters < 1 || cfg.Call <= 0 || cfg.Core.ReportItems < 1:
		return nil, errors.New("configure the agent: starters, call time and items of a report must be positive")
	}
	if cfg.Clock == nil {
		cfg.Clock = Now
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	a := &Agent{
		cfg: cfg, core: NewCore(cfg.Core), drivers: map[rota.Driver]Driver{}, log: cfg.Logger.Named("agent"),
		events: make(chan Event, 1024), starts: newQueue[start](), acks: newQueue[Ref](), leases: make(chan Lease, 1),
		running: map[Ref]*running{},
	}
	for _, d := range cfg.Drivers {
		a.drivers[d.Name()] = d
	}
	return a, nil
}

// maxBurst bounds the events that are taken in before the timer is looked at.
const maxBurst = 256

// Run runs the node's attempts until a planned stop is done (nil) or ctx ends
// (its error): then everything is left as it stands, for the keeper to end.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer a.wg.Wait()
	defer cancel()
	for range a.cfg.Starters {
		a.wg.Go(func() { a.startLoop(ctx) })
	}
	a.wg.Go(func() { a.leaseLoop(ctx) })
	a.wg.Go(func() { a.ackLoop(ctx) })

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var ev Event
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev = <-a.events:
		case k := <-a.cfg.Keeper.Events():
			ev = KeeperSaid{Event: k}
		case <-timer.C:
			ev = Tick{}
		}
		now := a.cfg.Clock()
		done := a.step(ctx, ev, now)
		for n := 0; n < maxBurst && len(a.events) > 0 && !done; n++ {
			done = a.step(ctx, <-a.events, now)
		}
		a.publish()
		if done {
			return nil
		}
		if w := a.core.Wake(); w != 0 {
			timer.Reset(max(w.Sub(now), time.Millisecond))
		}
	}
}

// step feeds the core and carries out what it wants; true when it is done.
func (a *Agent) step(ctx context.Context, ev Event, now BootTime) (done bool) {
	for _, act := range a.core.Step(ev, now) {
		if _, ok := act.(Done); ok {
			done = true
			continue
		}
		a.carryOut(ctx, act)
	}
	return done
}

// Leave asks for a planned stop: Run returns when it is done. With kill the
// attempts that the keeper holds end too.
func (a *Agent) Leave(ctx context.Context, kill bool) { a.post(ctx, Leaving{Kill: kill}) }

// Status is how the agent stood after its last step.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

func (a *Agent) publish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = Status{Phase: a.core.phase.String(), Session: a.core.Session(), Deadline: a.core.Deadline(), Live: a.core.Live(), Unfit: a.core.fit.why(), Why: a.core.Why()}
}

// Running reports whether an attempt of the task is with its driver.
func (a *Agent) Running(task rota.TaskID, attempt uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ref := range a.running {
		if ref.Task == task && ref.Fence.Attempt() == attempt {
			return true
		}
	}
	return false
}

// Usage is what a running attempt said that it consumed so far.
func (a *Agent) Usage(ref Ref) (rota.Usage, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.running[ref]
	if !ok {
		return rota.Usage{}, false
	}
	return r.usage, true
}

// post delivers an event to Run; it waits only while Run is busy.
func (a *Agent) post(ctx context.Context, ev Event) {
	select {
	case a.events <- ev:
	case <-ctx.Done():
	}
}
