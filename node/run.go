package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/cluster"
)

// stopWithin bounds the stop of everything but tasks.
const stopWithin = 10 * time.Second

// Run runs the node until ctx ends or a part fails. When ctx ends it is a planned
// stop: what runs here goes on for a while under the keeper, unless Hurry is
// called. It returns when everything it started has ended.
func (n *Node) Run(ctx context.Context) error {
	defer close(n.done)
	defer n.Close() //nolint:errcheck // everything was closed by its Run; the rest holds nothing
	parts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r := &runner{cancel: cancel}

	r.start("cluster", func() error { return n.cluster.Run(parts) })
	if n.history != nil {
		r.start("history", func() error { return n.history.Run(parts) })
	}
	r.start("leader", func() error {
		return n.cluster.Lead(parts, func(ctx context.Context, l *cluster.Leadership) error { return n.leader.Serve(ctx, l) })
	})
	r.start("collector", func() error { return n.memory.steer(parts, n.cfg.SteerGC) })
	r.start("api", func() error { return n.server.Run(parts, n.door) })
	n.cluster.OnMember(func(m cluster.Member) { n.leader.Gossip(m.ID, m.State != cluster.MemberAlive) }) //nolint:contextcheck // the leadership has a context of its own
	if n.agent != nil {
		r.start("exec", func() error { return n.driver.Run(parts) })
		r.start("retention", func() error {
			return n.logs().Keep(parts, agent.DefaultRetention(), n.agent.Running, n.cfg.Logger)
		})
		r.start("agent", func() error { return n.runAgent(ctx, parts) })
	}
	select {
	case <-ctx.Done():
	case <-parts.Done():
	}
	n.leave(ctx, parts, r)
	cancel()
	return r.wait()
}

// runAgent runs the agent once the node belongs to a cluster.
func (n *Node) runAgent(ctx, parts context.Context) error {
	select {
	case <-n.cluster.Started():
	case <-ctx.Done():
		return nil
	case <-parts.Done():
		return nil
	}
	err := n.agent.Run(parts)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// leave stops the agent in good order, then says goodbye.
func (n *Node) leave(ctx, parts context.Context, r *runner) {
	limit, cancel := context.WithTimeout(parts, stopWithin)
	defer cancel()
	if n.agent != nil && ctx.Err() != nil && n.started() {
		hurried := false
		select {
		case <-n.hurry:
			hurried = true
		default:
		}
		n.agent.Leave(limit, hurried)
		select {
		case <-r.ended("agent"):
		case <-n.hurry:
			n.agent.Leave(limit, true)
			select {
			case <-r.ended("agent"):
			case <-limit.Done():
			}
		case <-limit.Done():
		}
	}
	if err := n.cluster.Leave(limit); err != nil {
		n.log.Debug("not all of the goodbye was said", "reason", err)
	}
}

// started reports whether the node takes part in a cluster.
func (n *Node) started() bool {
	select {
	case <-n.cluster.Started():
		return true
	default:
		return false
	}
}

// Hurry makes a planned stop end the tasks too. It may be called once.
func (n *Node) Hurry() { close(n.hurry) }

// runner runs the parts of a node; the first that fails ends all.
type runner struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	done  map[string]chan struct{}
	first error
}

func (r *runner) start(name string, run func() error) {
	done := make(chan struct{})
	r.mu.Lock()
	if r.done == nil {
		r.done = map[string]chan struct{}{}
	}
	r.done[name] = done
	r.mu.Unlock()
	r.wg.Go(func() {
		defer close(done)
		if err := run(); err != nil {
			r.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (r *runner) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = err
	}
	r.cancel()
}

// ended is closed when the part has ended.
func (r *runner) ended(name string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done[name]
}

func (r *runner) wait() error {
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// Done is closed when Run has returned.
func (n *Node) Done() <-chan struct{} { return n.done }

// Name is the node's name.
func (n *Node) Name() string { return n.cfg.Name }

// Address is where the HTTP door listens.
func (n *Node) Address() string { return n.door.Addr().String() }
