package keeper

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rota-sched/rota"
)

// shell feeds the core and carries out what it wants: the only place that forks,
// kills and reaps.
type shell struct {
	cfg  MainConfig
	log  hclog.Logger
	self Hello // without what changes
	tree *tree
	work sync.WaitGroup // everything the shell started
	stop context.CancelFunc
	ctx  context.Context // ends with the keeper
	null *os.File

	// mu is the table's lock. Forking, and reaping what exited, happen under it, so
	// that no exit is seen before its start is in the table.
	mu        sync.Mutex
	core      *Core
	procs     map[Ref]*proc
	pids      map[int]*proc // by the PID of the main process, until it is reaped
	conns     map[uint64]*serverConn
	asked     map[uint64]asker
	lastConn  uint64
	lastToken uint64
	next      *proc   // prepared for the Start that the core may answer with
	todo      []Event // that came up while actions were carried out
	stepping  bool
	spawned   uint64     // counts starts
	children  *sync.Cond // on mu: there may be children to wait for
	timer     *time.Timer
	oom       oomCounter
	toRelease *Release           // wanted, not begun
	release   context.CancelFunc // of the release under way
	releases  chan struct{}      // wakes releaseLoop
	ended     bool
}

// step feeds one event, and those that its actions bring up; mu is held.
func (s *shell) step(ev Event) {
	s.todo = append(s.todo, ev)
	if s.stepping {
		return
	}
	s.stepping = true
	for len(s.todo) > 0 {
		next := s.todo[0]
		s.todo = s.todo[1:]
		for _, a := range s.core.Step(next, Now()) {
			s.carry(a)
		}
	}
	s.todo, s.stepping = nil, false
	s.arm()
}

// arm sets the timer to the core's next moment; mu is held.
func (s *shell) arm() {
	due := s.core.NextDue()
	if due == 0 || s.ended {
		s.timer.Stop()
		return
	}
	// Go's timers stop in suspend, the boot-time clock does not: look again at
	// least once a second.
	s.timer.Reset(min(max(due.Sub(Now()), 0), time.Second))
}

func (s *shell) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.oom.look(time.Now())
		s.step(Tick{})
	}
}

// carry does one action; mu is held.
func (s *shell) carry(a Action) {
	switch a := a.(type) {
	case Reply:
		s.answer(a)
	case Fork:
		s.start(a)
	case Signal:
		if p := s.procs[a.Ref]; p != nil {
			p.group.signal(a.Signal)
		}
	case Kill:
		if p := s.procs[a.Ref]; p != nil {
			p.group.kill()
		}
	case Watch:
		s.watch(s.procs[a.Ref])
	case Push:
		s.push(a.Ref)
	case SessionOver:
		s.log.Info("the session ends", "session", a.Session, "why", a.Why)
		s.tell(pushOver, a.Session)
	case Drop:
		if c := s.conns[a.Conn]; c != nil {
			s.log.Warn("another agent took over", "conn", a.Conn)
			c.close()
		}
	case Release:
		s.toRelease = &a
		select {
		case s.releases <- struct{}{}:
		default:
		}
	case CancelRelease:
		s.cancelRelease()
	case End:
		s.log.Info("the keeper ends", "why", a.Why)
		s.ended = true
		s.stop()
		s.children.Broadcast()
	}
}

func (s *shell) push(r Ref) {
	a, ok := s.core.Attempt(r)
	if !ok {
		return
	}
	if a.Unreaped {
		s.log.Error("an attempt cannot be killed", "attempt", r, "pid", a.PID)
	}
	if a.State == StateExited {
		delete(s.procs, r)
	}
	a.Meta = nil // the agent that gets it has it
	s.tell(pushState, a)
}

// releaseTimeout bounds one try of a release.
const releaseTimeout = 3 * time.Second

func (s *shell) cancelRelease() {
	s.toRelease = nil
	if s.release != nil {
		s.release()
	}
}

// releaseLoop tells the cluster of releases, once each: the core asks again.
func (s *shell) releaseLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.releases:
		}
		s.mu.Lock()
		r := s.toRelease
		s.toRelease = nil
		var rctx context.Context
		rctx, s.release = context.WithTimeout(ctx, releaseTimeout)
		cancel := s.release
		s.mu.Unlock()
		if r != nil {
			err := s.tellCluster(rctx, r)
			s.mu.Lock()
			s.release = nil
			if !s.ended {
				s.step(ReleaseDone{Session: r.Session, OK: err == nil})
			}
			s.mu.Unlock()
		}
		cancel()
	}
}

func (s *shell) tellCluster(ctx context.Context, r *Release) error {
	items := make([]rota.ReportItem, 0, len(r.Attempts))
	for i := range r.Attempts {
		items = append(items, s.reportItem(&r.Attempts[i]))
	}
	if s.cfg.Releaser == nil {
		return nil
	}
	if err := s.cfg.Releaser.Release(ctx, r.Session, r.Left, items); err != nil {
		s.log.Warn("the release was not acknowledged", "session", r.Session, "error", err)
		return err
	}
	s.log.Info("released", "session", r.Session, "attempts", len(items), "left", r.Left)
	return nil
}

// reportItem says of an attempt what the keeper can vouch for: that nothing of it
// is alive. How it went, it says only of one that ended by itself.
func (s *shell) reportItem(a *Attempt) rota.ReportItem {
	item := rota.ReportItem{Task: a.Task, Fence: a.Fence, Started: true, Released: true}
	if a.Why == "" && s.cfg.Outcome != nil {
		item.Outcome = s.cfg.Outcome(*a)
	}
	return item
}
