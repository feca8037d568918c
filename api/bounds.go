package api

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
)

// takeParse waits for a turn to read a job file; release ends it. Only so many
// wait, and not for long: the others are told to come again.
func (s *Server) takeParse(ctx context.Context) (release func(), err error) {
	release = func() { <-s.parses }
	select {
	case s.parses <- struct{}{}:
		return release, nil
	default:
	}
	busy := newProblem(TypeOverloaded, "many job files are being read on this node; try again, or ask another node")
	if s.parsing.Add(1) > int64(s.cfg.MaxParsesWaiting) {
		s.parsing.Add(-1)
		return nil, busy
	}
	defer s.parsing.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WriteWait)
	defer cancel()
	select {
	case s.parses <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, busy
	}
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
