package api

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// turns lets so much be done at once; a bounded number waits in line, and not for
// long. The others are told to come again.
type turns struct {
	room    *semaphore.Weighted // first come, first served
	waiting atomic.Int64
	line    int64 // longest
	wait    time.Duration
	words   string // for those who are told
}

func newTurns(atOnce, line int, wait time.Duration, words string) *turns {
	return &turns{room: semaphore.NewWeighted(int64(atOnce)), line: int64(line), wait: wait, words: words}
}

// take waits for a turn of some weight; release ends it.
func (t *turns) take(ctx context.Context, weight int64) (release func(), err error) {
	release = func() { t.room.Release(weight) }
	if t.room.TryAcquire(weight) {
		return release, nil
	}
	busy := newProblem(TypeOverloaded, t.words+"; try again, or ask another node")
	if t.waiting.Add(1) > t.line {
		t.waiting.Add(-1)
		return nil, busy
	}
	defer t.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, t.wait)
	defer cancel()
	if t.room.Acquire(ctx, weight) != nil {
		return nil, busy
	}
	return release, nil
}

// bytesUnderWay bounds the bodies of submissions that are in memory at once.
type bytesUnderWay struct{ now atomic.Int64 }

// admitBytes takes room for the body of a request; release gives it back. A body
// of unknown length takes as much as it may have.
func (s *Server) admitBytes(r *http.Request, limit int64) (release func(), err error) {
	n := r.ContentLength
	if n < 0 || n > limit {
		n = limit
	}
	if s.bodies.now.Add(n) > s.cfg.MaxBodies {
		s.bodies.now.Add(-n)
		return nil, newProblem(TypeOverloaded, fmt.Sprintf("submissions of %d bytes are under way on this node; try again, or ask another node", s.cfg.MaxBodies))
	}
	return func() { s.bodies.now.Add(-n) }, nil
}
