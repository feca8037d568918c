package cluster

import (
	"context"
	"sync"

	"github.com/rota-sched/rota"
)

// queueBytes bounds what waits in one queue, beside the number of proposals.
const queueBytes = 64 << 20

// proposal is a command on its way into the log, and whoever waits for it.
type proposal struct {
	cmd  rota.Command
	raw  []byte // encoded
	done chan answer
}

// answer ends a proposal: one of the two is set.
type answer struct {
	result rota.Result
	err    error
}

func newProposal(cmd rota.Command, raw []byte) *proposal {
	return &proposal{cmd: cmd, raw: raw, done: make(chan answer, 1)}
}

// queue holds proposals until a batch leaves. It is bounded; what does not fit is
// refused at once.
type queue struct {
	max  int
	wake chan struct{} // holds a token while the queue may have something

	mu      sync.Mutex // guards what follows
	waiting []*proposal
	bytes   int
	closed  error
}

func newQueue(max int) *queue { return &queue{max: max, wake: make(chan struct{}, 1)} }

// add appends all proposals or none.
func (q *queue) add(ps ...*proposal) error {
	size := 0
	for _, p := range ps {
		size += len(p.raw)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed != nil:
		return q.closed
	case len(q.waiting)+len(ps) > q.max, q.bytes+size > queueBytes && len(q.waiting) > 0:
		return &rota.Refusal{Kind: rota.KindOverloaded, Detail: "too many operations wait to enter the log: try again in a moment"}
	}
	q.waiting = append(q.waiting, ps...)
	q.bytes += size
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for proposals and gives as many of the oldest as make a batch: up to
// MaxBatch and MaxBatchBytes, or a single larger one. Nil: ctx ended.
func (q *queue) take(ctx context.Context) []*proposal {
	for {
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil
		}
		if batch := q.cut(); len(batch) > 0 {
			return batch
		}
	}
}

func (q *queue) cut() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) && n < MaxBatch {
		size += len(q.waiting[n].raw)
		if n > 0 && size > MaxBatchBytes {
			size -= len(q.waiting[n].raw)
			break
		}
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	q.bytes -= size
	if len(q.waiting) > 0 {
		q.signal()
	} else {
		q.waiting = nil
	}
	return batch
}

// withdraw takes a proposal out again; false: it has left already.
func (q *queue) withdraw(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w == p {
			q.waiting = append(append([]*proposal(nil), q.waiting[:i]...), q.waiting[i+1:]...)
			q.bytes -= len(p.raw)
			return true
		}
	}
	return false
}

// close ends all that wait, and all that come, with an error.
func (q *queue) close(err error) {
	q.mu.Lock()
	waiting := q.waiting
	q.waiting, q.bytes, q.closed = nil, 0, err
	q.mu.Unlock()
	for _, p := range waiting {
		p.done <- answer{err: err}
	}
}
