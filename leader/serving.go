package leader

import (
	"context"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

// serving is one leadership: a core, and what carries its actions out.
type serving struct {
	leader *Leader
	log    Log
	ctx    context.Context // the leadership's own: everything started here ends with it
	kick   chan struct{}   // the core may want to be woken at another time
	tasks  sync.WaitGroup  // goroutines started by actions

	mu       sync.Mutex // guards what follows
	core     *Core
	token    Token
	renewals map[Token]chan rota.Renewal
	streams  map[Token]*outlet
	ended    bool
}

// outlet is the sending side of one stream.
type outlet struct {
	views chan *rota.View
	// closed is closed after why was set: nothing comes any more.
	closed chan struct{}
	why    rota.Kind
}

func (o *outlet) close(why rota.Kind) {
	o.why = why
	close(o.closed)
}

func newServing(ctx context.Context, l *Leader, log Log) *serving {
	return &serving{
		leader: l, log: log, ctx: ctx, kick: make(chan struct{}, 1),
		renewals: map[Token]chan rota.Renewal{}, streams: map[Token]*outlet{},
	}
}

func (s *serving) now() Now { return Now{Mono: s.leader.deps.Clock(), At: s.log.Now()} }

// begin makes the core and tells it what is known from before.
func (s *serving) begin(hints []Gossip) {
	s.mu.Lock()
	defer s.mu.Unlock()
	core, actions := NewCore(s.leader.cfg, Start{ID: s.leader.deps.ID, Term: s.log.Term(), Snapshot: s.log.Snapshot()}, s.now())
	s.core = core
	s.carryOut(actions)
	for _, hint := range hints {
		s.stepLocked(hint)
	}
	s.stepReplicas()
}

func (s *serving) stepReplicas() {
	if replicas := s.leader.deps.Replicas; replicas != nil {
		s.stepLocked(replicas())
	}
}

// look has the core see what the replicas say now.
func (s *serving) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepReplicas()
	s.nudge()
}

// loop feeds the core with the log and the time until the leadership ends.
func (s *serving) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case a, ok := <-s.log.Changes():
			if !ok || !s.observe(a) {
				return
			}
		case <-timer.C:
			s.step(Tick{})
		case <-s.kick:
		}
		s.rearm(timer)
	}
}

// observe feeds one applied entry; false: somebody else leads.
func (s *serving) observe(a rota.Applied) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepLocked(Applied{a})
	if a.Configuration {
		s.stepReplicas()
	}
	return !s.core.Over()
}

func (s *serving) rearm(timer *time.Timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if wake, ok := s.core.NextWake(now); ok {
		timer.Reset(max(wake-now.Mono, 0))
	} else {
		timer.Stop()
	}
}

// step feeds the core from any goroutine.
func (s *serving) step(ev Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepLocked(ev)
	s.nudge()
}

// nudge has the loop ask again when the core wants to be woken.
func (s *serving) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *serving) stepLocked(ev Event) {
	if s.ended || s.core == nil {
		return
	}
	s.carryOut(s.core.Step(ev, s.now()))
}

// carryOut does what the core wants done. Under the lock, so that the views of a
// stream keep their order; nothing here blocks.
func (s *serving) carryOut(actions []Action) {
	var full []Token
	for _, a := range actions {
		switch a := a.(type) {
		case Propose:
			s.tasks.Go(func() { s.propose(a) })
		case AnswerRenewal:
			if answer, ok := s.renewals[a.Token]; ok {
				delete(s.renewals, a.Token)
				answer <- a.Renewal
			}
		case Push:
			if !s.push(a) {
				full = append(full, a.Token)
			}
		case CloseStream:
			if o, ok := s.streams[a.Token]; ok {
				delete(s.streams, a.Token)
				o.close(a.Kind)
			}
		case Evaluate:
			s.tasks.Go(func() { s.evaluate(a) })
		}
	}
	for _, t := range full {
		s.stepLocked(StreamDetached{Token: t})
	}
}

// push queues a view; false: the stream is too far behind and was closed.
func (s *serving) push(a Push) bool {
	o, ok := s.streams[a.Token]
	if !ok {
		return true
	}
	select {
	case o.views <- a.View:
		return true
	default:
		delete(s.streams, a.Token)
		o.close(rota.KindOverloaded)
		return false
	}
}

func (s *serving) propose(a Propose) {
	ctx, cancel := context.WithTimeout(s.ctx, proposeTimeout)
	defer cancel()
	result, err := s.log.Propose(ctx, rota.Command{Principal: "leader", Op: a.Op})
	s.step(ProposalDone{Token: a.Token, Result: result, Failed: err != nil})
	if err != nil && s.ctx.Err() == nil {
		s.leader.log.Debug("a proposal failed", "error", err)
	}
}

// evaluateTimeout bounds the evaluation of one task.
const evaluateTimeout = 10 * time.Second

func (s *serving) evaluate(a Evaluate) {
	ev := Evaluated{Task: a.Task.ID, Failed: true}
	if e := s.leader.deps.Evaluator; e != nil {
		ctx, cancel := context.WithTimeout(s.ctx, evaluateTimeout)
		defer cancel()
		resolve, err := e.Evaluate(ctx, s.leader.deps.State(), a.Task)
		if err != nil && s.ctx.Err() == nil {
			s.leader.log.Warn("late expressions could not be evaluated", "task", a.Task.ID, "error", err)
		}
		ev.Resolve, ev.Failed = resolve, err != nil
	}
	s.step(ev)
}

// end lets go of everybody who waits, and waits for what was started.
func (s *serving) end() {
	s.mu.Lock()
	s.ended = true
	for _, o := range s.streams {
		o.close(rota.KindNoLeader)
	}
	clear(s.streams)
	s.mu.Unlock()
	s.tasks.Wait()
}
