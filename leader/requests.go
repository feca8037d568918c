package leader

import (
	"context"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

// renew asks the core for a lease and waits for its answer.
func (s *serving) renew(ctx context.Context, session rota.Session) (rota.Renewal, error) {
	answer := make(chan rota.Renewal, 1)
	token, ok := s.askRenewal(session, answer)
	if !ok {
		return rota.Renewal{}, errTooMany
	}
	err := error(errNotLeading)
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.renewals, token)
	s.stepLocked(RenewalGone{Token: token})
	return rota.Renewal{}, err
}

var errTooMany = &rota.Refusal{Kind: rota.KindOverloaded, Detail: "too many nodes wait for the leader at once"}

func (s *serving) askRenewal(session rota.Session, answer chan rota.Renewal) (Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.renewals) >= maxRenewals {
		return 0, false
	}
	s.token++
	t := s.token
	s.renewals[t] = answer
	s.stepLocked(RenewalAsked{Token: t, Session: session})
	s.nudge()
	return t, true
}

// attach opens a stream and carries its views until it ends.
func (s *serving) attach(ctx context.Context, session rota.Session, send func(*rota.View) error) error {
	o := &outlet{views: make(chan *rota.View, streamQueue), closed: make(chan struct{})}
	token, err := s.openStream(session, o)
	if err != nil {
		return err
	}
	defer s.closeStream(token)
	for {
		select {
		case v := <-o.views:
			if err := send(v); err != nil {
				return err
			}
		case <-o.closed:
			return &rota.Refusal{Kind: o.why, Detail: closedWords[o.why]}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var closedWords = map[rota.Kind]string{
	rota.KindStale:      "the session is over",
	rota.KindConflict:   "a newer stream of this session took over",
	rota.KindOverloaded: "the node reads its stream too slowly",
	rota.KindNoLeader:   "this node leads no more",
}

func (s *serving) openStream(session rota.Session, o *outlet) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || s.core == nil:
		return 0, errNotLeading
	case len(s.streams) >= maxStreams:
		return 0, errTooMany
	}
	s.token++
	s.streams[s.token] = o
	t := s.token
	s.stepLocked(StreamAttached{Token: t, Session: session})
	return t, nil
}

func (s *serving) closeStream(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, t)
	s.stepLocked(StreamDetached{Token: t})
}

// Explain says why a task is where it is, with numbers for a queued one. ErrNotFound
// for a task that does not exist, ErrNoLeader where this node does not lead.
func (l *Leader) Explain(ctx context.Context, id rota.TaskID) (scheduler.Explanation, error) {
	s, err := l.leading(ctx)
	if err != nil {
		return scheduler.Explanation{}, err
	}
	if e, ok := s.explainQueued(id); ok {
		return e, nil
	}
	state := l.deps.State()
	t, ok := state.Task(id)
	if !ok {
		return scheduler.Explanation{}, &rota.Refusal{Kind: rota.KindNotFound, Detail: "there is no task " + id.String()}
	}
	name := func(id rota.NodeID) string {
		if n, ok := state.Node(id); ok {
			return n.Name
		}
		return string(id)
	}
	return scheduler.Describe(t, s.log.Now(), name), nil
}

func (s *serving) explainQueued(id rota.TaskID) (scheduler.Explanation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Explain(id, s.log.Now())
}

// ExplainNode says what a node could take of what is queued. ErrNotFound for a node
// that is not known, ErrNoLeader where this node does not lead.
func (l *Leader) ExplainNode(ctx context.Context, id rota.NodeID) (scheduler.NodeExplanation, error) {
	s, err := l.leading(ctx)
	if err != nil {
		return scheduler.NodeExplanation{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.core.ExplainNode(id)
	if !ok {
		return e, &rota.Refusal{Kind: rota.KindNotFound, Detail: "there is no node " + string(id)}
	}
	return e, nil
}

// Plan says where a job's first tasks would go if it were submitted now, and which
// demands no node could ever meet. Nothing is changed. ErrNoLeader where this node
// does not lead.
func (l *Leader) Plan(ctx context.Context, job *rota.Job) (scheduler.Dry, error) {
	s, err := l.leading(ctx)
	if err != nil {
		return scheduler.Dry{}, err
	}
	s.mu.Lock()
	trial := s.core.Trial()
	s.mu.Unlock()
	return trial.DryRun(job, s.log.Now()), nil
}

// leading is the present leadership with its core in place.
func (l *Leader) leading(ctx context.Context) (*serving, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := l.present()
	if err != nil {
		return nil, err
	}
	return s, nil
}
