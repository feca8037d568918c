package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// errBehind ends a leadership's work that cannot keep up with the log; it begins
// anew from a fresh snapshot.
var errBehind = errors.New("the leader's work fell too far behind the log")

// Leadership is what the work of a leader stands on.
type Leadership struct {
	c       *Cluster
	ctx     context.Context //nolint:containedctx // a leadership is the scope that the context stands for
	reign   *reign
	snap    *fsm.Snapshot
	changes chan rota.Applied
}

// Term is the term of the leadership.
func (l *Leadership) Term() uint64 { return l.reign.term }

// Snapshot is the state at the barrier with which the work began, or later.
func (l *Leadership) Snapshot() *fsm.Snapshot { return l.snap }

// Changes delivers every entry applied after Snapshot, in log order. It is closed
// with the leadership, and when the work falls too far behind.
func (l *Leadership) Changes() <-chan rota.Applied { return l.changes }

// Propose proposes in this leadership only: if it has ended, the error's kind is
// KindNoLeader and nothing was proposed.
func (l *Leadership) Propose(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	raw := fsm.AppendCommand(nil, &cmd)
	if len(raw) > MaxOpBytes {
		return rota.Result{}, &rota.Refusal{Kind: rota.KindTooLarge, Detail: fmt.Sprintf("the operation has %d bytes, one may have %d (2 MiB)", len(raw), MaxOpBytes)}
	}
	if l.ctx.Err() != nil {
		return rota.Result{}, errNoReign
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := way{l.reign.queue, l.reign}.through(ctx, newProposal(cmd, raw))
	if errors.Is(err, errNotProposed) {
		return res, errNoReign
	}
	return res, err
}

var errNoReign = &rota.Refusal{Kind: rota.KindNoLeader, Detail: "this node does not lead any more; nothing was proposed"}

// Now is the cluster's own time.
func (l *Leadership) Now() rota.Instant { return l.reign.clock.now() }

// Lead runs f whenever this node leads, after its barrier; the context that f gets
// ends with the leadership, and f is to return then. If f returns an error of its
// own while the node still leads, Lead returns it. It returns nil when ctx ends.
func (c *Cluster) Lead(ctx context.Context, f func(context.Context, *Leadership) error) error {
	var last *reign
	for ctx.Err() == nil {
		re, shift := c.current()
		if re == nil || re == last {
			select {
			case <-shift:
			case <-ctx.Done():
			}
			continue
		}
		again, err := c.leadOnce(ctx, re, f)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("lead in term %d: %w", re.term, err)
		}
		if !again {
			last = re
		}
	}
	return nil
}

// leadOnce runs f once; again: f fell behind and may begin anew.
func (c *Cluster) leadOnce(ctx context.Context, re *reign, f func(context.Context, *Leadership) error) (again bool, err error) {
	lctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(re.ctx, func() { cancel(context.Cause(re.ctx)) }) //nolint:contextcheck // the reign's end is what is waited for
	defer stop()
	feed := newFeed(func() { cancel(errBehind) })
	l := &Leadership{c: c, ctx: lctx, reign: re, snap: c.replica.follow(feed), changes: feed.ch}
	var once sync.Once
	end := func() { once.Do(func() { c.replica.unfollow(feed) }) }
	stopEnd := context.AfterFunc(lctx, end)
	err = f(lctx, l)
	stopEnd()
	end()
	if lctx.Err() == nil {
		return false, err
	}
	if errors.Is(context.Cause(lctx), errBehind) {
		c.log.Warn("the leader's work fell behind the log and begins anew", "term", re.term)
		return true, nil
	}
	return false, nil
}
