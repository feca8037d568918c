package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

var (
	errDeposed = errors.New("this node does not lead any more")
	errAgreed  = errors.New("the replicas agree again")
	errSlow    = errors.New("the disk does not answer")
	errHanded  = errors.New("its disk is slow, and the lead was handed over")
)

// stuckAfter is far longer than Raft takes to hand over the lead. Interrupted at the
// wrong moment it never stops to: elected again, the node would refuse every
// operation and keep its followers quiet. (Source: hashicorp/raft issue 696.)
const stuckAfter = 10 * time.Second

// reign is one unbroken time of this node as leader, from its barrier on.
type reign struct {
	term  uint64
	clock *clock
	queue *queue
	ctx   context.Context //nolint:containedctx // the reign is the scope that the context stands for
	end   context.CancelCauseFunc
	over  chan struct{} // closed lastAnswers after ctx has ended
}

// lastAnswers is how long Raft has after a reign to say what became of its last
// entries. It does so before it says that this node does not lead any more, unless the
// disk hangs.
const lastAnswers = 100 * time.Millisecond

// heed reads Raft's word of whether this node leads. It never stops before Raft
// does: an unread word would hold Raft's main loop up for ever.
func (c *Cluster) heed(notify <-chan bool, stopped <-chan struct{}) {
	for {
		select {
		case leads := <-notify:
			c.mu.Lock()
			c.leads = leads
			r := c.reign
			c.turn()
			c.mu.Unlock()
			if !leads && r != nil {
				r.end(errDeposed)
			}
		case <-stopped:
			return
		}
	}
}

// turn wakes all who wait for a change of leadership; c.mu is held.
func (c *Cluster) turn() {
	close(c.shift)
	c.shift = make(chan struct{})
}

// onSlowStore stops leading while the disk hangs.
func (c *Cluster) onSlowStore(what string, since time.Duration) {
	c.log.Error("the disk does not answer: this node neither leads nor votes until it does", "doing", what, "for", since.Round(time.Millisecond))
	c.mu.Lock()
	r := c.reign
	c.mu.Unlock()
	if r != nil {
		r.end(errSlow)
	}
}

// rule reigns whenever Raft says that this node leads.
func (c *Cluster) rule(ctx context.Context) {
	var stuck time.Time
	for ctx.Err() == nil {
		c.mu.Lock()
		leads, shift := c.leads, c.shift
		c.mu.Unlock()
		switch {
		case !leads:
			select {
			case <-shift:
			case <-ctx.Done():
			}
		case c.watch.hung():
			sleep(ctx, c.cfg.Timeouts.StoreSlow/8)
		default:
			err := c.reignOnce(ctx)
			switch {
			case err == nil || !errors.Is(err, raft.ErrLeadershipTransferInProgress):
				stuck = time.Time{}
			case stuck.IsZero():
				stuck = time.Now()
			case time.Since(stuck) > stuckAfter:
				c.fail(fmt.Errorf("this node was elected, but Raft has been handing over the lead for %s and takes no operation: it ends so that others go on", stuckAfter))
				return
			}
			if err != nil {
				c.log.Debug("did not come to lead", "error", err)
				sleep(ctx, 10*time.Millisecond)
			}
		}
	}
}

// reignOnce reigns from a barrier until the leadership ends. An error: it did not
// come to that.
func (c *Cluster) reignOnce(ctx context.Context) error {
	r := c.rafting()
	term := r.CurrentTerm()
	if err := r.Barrier(0).Error(); err != nil {
		return err
	}
	rctx, end := context.WithCancelCause(ctx)
	defer end(errDeposed)
	re := &reign{term: term, queue: newQueue(c.cfg.Queue), ctx: rctx, end: end, over: make(chan struct{})}
	re.queue.admit = c.cfg.Admit
	re.queue.known = func(op rota.Op) error { return fsm.Known(op, uint16(c.replica.format.Load())) }
	c.closeSplit(re)
	re.clock = newClock(c.startInstant(rctx), c.cfg.Seams.Wall, c.cfg.Seams.Boot)
	c.mu.Lock()
	if !c.leads || r.CurrentTerm() != term {
		c.mu.Unlock()
		return errDeposed
	}
	c.reign = re
	c.committed = time.Now() // the barrier's
	c.turn()
	c.mu.Unlock()
	c.contact.heardLeader()
	c.log.Info("this node leads the cluster", "term", term)
	var duties sync.WaitGroup
	duties.Go(func() { c.commitLoop(re) })
	duties.Go(func() { c.tendMembers(re) })
	duties.Go(func() { c.herald(re) })
	duties.Go(func() { c.heedPace(re) })
	<-rctx.Done()
	c.mu.Lock()
	c.reign = nil
	c.turn()
	c.mu.Unlock()
	re.queue.close(errNotProposed)
	time.AfterFunc(lastAnswers, func() { close(re.over) })
	duties.Wait()
	c.log.Info("this node does not lead any more", "term", term, "reason", context.Cause(rctx))
	return nil
}

// herald tells gossip who leads, for the nodes without a replica.
func (c *Cluster) herald(re *reign) {
	g := c.gossiping()
	g.update(func(r *rumour) { r.Term = re.term })
	<-re.ctx.Done()
	if errors.Is(context.Cause(re.ctx), context.Canceled) {
		return // the node is stopping
	}
	c.tasks.Go(func() { g.update(func(r *rumour) { r.Term = 0 }) })
}

// current is the reign that is under way here, if any, and a channel that is
// closed when that changes.
func (c *Cluster) current() (*reign, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reign, c.shift
}

// barriers lets everyone who asks for a barrier while one is under way share the
// next.
type barriers struct {
	mu      sync.Mutex // guards what follows
	next    *barrierCall
	running bool
}

type barrierCall struct {
	done  chan struct{}
	index uint64
	err   error
}

// Barrier waits until everything proposed before it was applied on the leader, and
// gives the index reached there: a node whose own state has that index answers as
// the leader would have.
func (c *Cluster) Barrier(ctx context.Context) (uint64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return retry(ctx, c, func() (uint64, error) {
		if re, _ := c.current(); re != nil {
			return c.barrierHere(ctx, re)
		}
		return c.barrierAway(ctx)
	})
}

func (c *Cluster) barrierHere(ctx context.Context, re *reign) (uint64, error) {
	b := &c.barrier
	b.mu.Lock()
	if b.next == nil {
		b.next = &barrierCall{done: make(chan struct{})}
	}
	call := b.next
	if !b.running {
		b.running = true
		go c.runBarriers()
	}
	b.mu.Unlock()
	select {
	case <-call.done:
		return call.index, call.err
	case <-re.over:
		return 0, errNotProposed
	case <-ctx.Done():
		return 0, &rota.Refusal{Kind: rota.KindNoLeader, Detail: "the leader could not confirm in time that it still leads: " + ctx.Err().Error()}
	}
}

// runBarriers ends when nobody asks any more. Raft answers every barrier, at the
// latest when it stops.
func (c *Cluster) runBarriers() {
	b := &c.barrier
	for {
		b.mu.Lock()
		call := b.next
		b.next = nil
		if call == nil {
			b.running = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		if err := c.rafting().Barrier(c.cfg.Timeouts.Raft).Error(); err != nil {
			call.err = errNotProposed // it changes nothing: it may always be asked again
			if errors.Is(err, raft.ErrRaftShutdown) {
				call.err = &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node is stopping"}
			}
		}
		call.index = c.replica.applied.Load()
		close(call.done)
	}
}
