package cluster

import (
	"context"
	"sync"

	"github.com/rota-sched/rota"
)

// queueBytes bounds what waits in one queue, beside the number of proposals.
const queueBytes = 64 << 20

// lane is a class of proposals. Whoever pushes new work in must not hold up the
// work that is there: placements, reports and renewals have a lane of their own.
// (Several schedulers starve their workers while producers push.)
type lane int

const (
	laneWork  lane = iota // everything about what the cluster has already
	laneAdmit             // new runs and jobs: at most half of what may wait
	lanes
)

func laneOf(op rota.Op) lane {
	switch op.(type) {
	case rota.SubmitRun, rota.AddTasks, rota.StoreJob:
		return laneAdmit
	default:
		return laneWork
	}
}

// proposal is a command on its way into the log, and whoever waits for it.
type proposal struct {
	cmd  rota.Command
	raw  []byte // encoded
	done chan answer
	gone bool // left the queue or was withdrawn; the queue's mutex guards it
}

// answer ends a proposal: one of the two is set.
type answer struct {
	result rota.Result
	err    error
}

func newProposal(cmd rota.Command, raw []byte) *proposal {
	return &proposal{cmd: cmd, raw: raw, done: make(chan answer, 1)}
}

// queue holds proposals until a batch leaves. It is bounded, each lane by itself;
// what does not fit is refused at once.
type queue struct {
	max   int
	wake  chan struct{}       // holds a token while the queue may have something
	admit func() error        // why no new work may come in now; nil: it always may
	known func(rota.Op) error // why an operation may not enter the log at all; nil: each may

	mu     sync.Mutex // guards what follows
	lanes  [lanes]line
	first  lane // that the next batch begins with
	closed error
}

// line is the proposals of one lane, the oldest first, with those that were
// withdrawn still among them.
type line struct {
	waiting []*proposal
	count   int // without those withdrawn
	bytes   int
}

func newQueue(max int) *queue { return &queue{max: max, wake: make(chan struct{}, 1)} }

// bounds of a lane: proposals and bytes.
func (q *queue) bounds(l lane) (count, bytes int) {
	if l == laneAdmit {
		return max(q.max/2, 1), queueBytes / 2
	}
	return q.max, queueBytes
}

// add appends the proposals. One that does not fit is answered with a refusal; if
// none does, the refusal is returned instead, and nobody was answered.
func (q *queue) add(ps ...*proposal) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	var refused []refusal
	for _, p := range ps {
		l := laneOf(p.cmd.Op)
		to := &q.lanes[l]
		if err := q.room(l, to, p); err != nil {
			refused = append(refused, refusal{p, err})
			continue
		}
		to.tidy()
		to.waiting = append(to.waiting, p)
		to.count++
		to.bytes += len(p.raw)
	}
	if len(refused) < len(ps) {
		q.signal()
	}
	if len(refused) == len(ps) && len(ps) > 0 {
		return refused[0].err
	}
	for _, r := range refused {
		r.of.done <- answer{err: r.err}
	}
	return nil
}

type refusal struct {
	of  *proposal
	err error
}

// room says why a proposal cannot come in; q.mu is held.
func (q *queue) room(l lane, to *line, p *proposal) error {
	if q.known != nil {
		if err := q.known(p.cmd.Op); err != nil {
			return err
		}
	}
	count, bytes := q.bounds(l)
	if to.count >= count || to.bytes+len(p.raw) > bytes && to.count > 0 {
		return errQueueFull
	}
	if l == laneAdmit && q.admit != nil {
		return q.admit()
	}
	return nil
}

var errQueueFull = &rota.Refusal{Kind: rota.KindOverloaded, Detail: "too many operations wait to enter the log: try again in a moment"}

// tidy drops withdrawn proposals once they are the larger part.
func (l *line) tidy() {
	if len(l.waiting) < 1024 || len(l.waiting) < 2*l.count {
		return
	}
	kept := make([]*proposal, 0, l.count+1)
	for _, p := range l.waiting {
		if !p.gone {
			kept = append(kept, p)
		}
	}
	l.waiting = kept
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

// cut makes a batch. While both lanes wait, each has half of it, and they take
// turns in beginning, so that a large operation of either gets its turn.
func (q *queue) cut() []*proposal {
	q.mu.Lock()
	defer q.mu.Unlock()
	one, two := &q.lanes[q.first], &q.lanes[1-q.first]
	q.first = 1 - q.first
	b := &batch{all: make([]*proposal, 0, min(one.count+two.count, MaxBatch))}
	if two.count > 0 {
		b.from(one, MaxBatch/2, MaxBatchBytes/2)
	}
	b.from(two, MaxBatch-min(one.count, MaxBatch/2-len(b.all)), MaxBatchBytes)
	b.from(one, MaxBatch, MaxBatchBytes)
	if one.count+two.count > 0 {
		q.signal()
	}
	return b.all
}

// batch is a batch that is being made.
type batch struct {
	all   []*proposal
	bytes int
}

// from moves proposals of a line into the batch until it holds so many and so many
// bytes; the first of all may be larger.
func (b *batch) from(l *line, count, bytes int) {
	for len(l.waiting) > 0 && len(b.all) < count {
		p := l.waiting[0]
		if !p.gone {
			if len(b.all) > 0 && b.bytes+len(p.raw) > bytes {
				return
			}
			b.all = append(b.all, p)
			b.bytes += len(p.raw)
			l.forget(p)
		}
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
	}
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
}

func (l *line) forget(p *proposal) {
	p.gone = true
	l.count--
	l.bytes -= len(p.raw)
}

// withdraw takes a proposal out again; false: it has left already.
func (q *queue) withdraw(p *proposal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.gone || q.closed != nil {
		return false
	}
	q.lanes[laneOf(p.cmd.Op)].forget(p)
	return true
}

// waits is how many proposals wait.
func (q *queue) waits() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lanes[laneWork].count + q.lanes[laneAdmit].count
}

// close ends all that wait, and all that come, with an error.
func (q *queue) close(err error) {
	q.mu.Lock()
	lines := q.lanes
	q.lanes, q.closed = [lanes]line{}, err
	q.mu.Unlock()
	for _, l := range lines {
		for _, p := range l.waiting {
			if !p.gone {
				p.done <- answer{err: err}
			}
		}
	}
}
