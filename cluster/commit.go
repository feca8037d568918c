package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// errNotProposed says that an operation never reached the log: it may be proposed
// again, here or elsewhere, whatever it is.
var errNotProposed = errors.New("not proposed: this node does not lead")

// entryHead is more than an entry's head takes.
const entryHead = 64

// commitLoop makes log entries of what waits: while InFlight entries are on their
// way the next batch grows. There is no timer: waiting for a slot makes the batch.
// (Source: DESIGN.md, section 4.)
func (c *Cluster) commitLoop(re *reign) {
	slots := make(chan struct{}, c.cfg.InFlight)
	r := c.rafting()
	for {
		select {
		case slots <- struct{}{}:
		case <-re.ctx.Done():
			return
		}
		batch := re.queue.take(re.ctx)
		if batch == nil {
			return
		}
		e := rota.Entry{Format: uint16(c.replica.format.Load()), Term: re.term, At: re.clock.now(), Seed: c.cfg.Seams.Seed()}
		raws, size := make([][]byte, len(batch)), entryHead
		for i, p := range batch {
			raws[i] = p.raw
			size += len(p.raw)
		}
		proposed := time.Now()
		future := r.Apply(fsm.AppendEntryOf(make([]byte, 0, size), &e, raws), 0)
		c.tasks.Go(func() {
			err := future.Error()
			<-slots
			if err == nil {
				c.noteCommitted(proposed)
			}
			settle(batch, future, err)
		})
	}
}

// noteCommitted keeps the proposal of the newest entry that this node committed as
// leader: a leader's contact. (Source: RELIABILITY.md, section 2, rule 7.)
func (c *Cluster) noteCommitted(proposed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if proposed.After(c.committed) {
		c.committed = proposed
	}
}

// settle answers everyone whose command was in an entry.
func settle(batch []*proposal, future raft.ApplyFuture, err error) {
	a := answer{err: err}
	var o outcome
	switch {
	case err == nil:
		o, _ = future.Response().(outcome)
		a.err = o.err
		if o.void {
			a.err = errNotProposed
		} else if o.err == nil && len(o.results) != len(batch) {
			a.err = fmt.Errorf("entry %d has %d results for %d commands", o.index, len(o.results), len(batch))
		}
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		a.err = errNotProposed
	default:
		a.err = &rota.Refusal{Kind: rota.KindUnknown, Detail: "the operation was proposed, but whether it took effect is not known: " + err.Error()}
	}
	for i, p := range batch {
		if a.err == nil {
			o.results[i].At = o.at
			p.done <- answer{result: o.results[i]}
			continue
		}
		p.done <- a
	}
}
