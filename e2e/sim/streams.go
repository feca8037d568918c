package sim

import (
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/leader"
)

// stream is one stream of views from a leader to a node.
type stream struct {
	g      *reign
	token  leader.Token
	to     *program
	view   func(*rota.View)
	ended  func(error)
	lastTo moment
	closed bool
}

// attach opens a stream; view and ended are called in the node's process.
func (w *World) attach(p *program, session rota.Session, view func(*rota.View), ended func(error)) *stream {
	s := &stream{to: p, view: view, ended: ended}
	w.ask(p, callTimeout, func(g *reign, _ func(answer)) {
		if s.closed || s.g != nil {
			return
		}
		g.token++
		s.g, s.token = g, g.token
		g.streams[s.token] = s
		g.step(leader.StreamAttached{Token: s.token, Session: session})
		s.watch()
	}, func(a answer) {
		if s.g == nil || s.lastTo == 0 {
			s.breakOff(a.err) // the first view did not come in time
		}
	})
	return s
}

// push sends a view down the stream, after those before it.
func (s *stream) push(v *rota.View) {
	if s.closed {
		return
	}
	w, from := s.g.r.w, s.g.r.m
	view, err := fsm.DecodeView(fsm.AppendView(nil, v))
	if err != nil {
		w.broken(same, "a view cannot be read: %v", err)
		return
	}
	s.lastTo = max(s.lastTo, w.now.add(w.net.delay()))
	w.after(time.Duration(s.lastTo-w.now), func() {
		switch {
		case s.closed:
		case !w.net.open(from, s.to.m):
			s.breakOff(errUnknown)
		default:
			s.to.do(func() {
				if !s.closed {
					s.view(&view)
				}
			})
		}
	})
}

// watch stands for the keepalives of both ends.
func (s *stream) watch() {
	w, from := s.g.r.w, s.g.r.m
	if s.closed {
		return
	}
	if s.to.gone() || s.g.r.p.gone() || s.g.over || !w.net.open(from, s.to.m) || !w.net.open(s.to.m, from) {
		s.breakOff(errUnknown)
		return
	}
	w.after(time.Second, s.watch)
}

// breakOff is a connection that breaks: both ends see it, each in its own time.
func (s *stream) breakOff(err error) {
	if s.closed {
		return
	}
	s.closed = true
	s.detach(s.to.m.w.between(0, 3*time.Second))
	s.to.later(s.to.m.w.between(0, 3*time.Second), func() { s.ended(err) })
}

func (s *stream) detach(d time.Duration) {
	if g := s.g; g != nil {
		g.r.p.later(d, func() {
			if g.streams[s.token] == s {
				delete(g.streams, s.token)
				g.step(leader.StreamDetached{Token: s.token})
			}
		})
	}
}

// close is the leader's word that the stream is over.
func (s *stream) close(err error) {
	if s.closed {
		return
	}
	s.closed = true
	w := s.g.r.w
	w.net.send(s.g.r.m, s.to.m, func() *program { return s.to }, func() { s.ended(err) })
	w.after(5*time.Second, func() { s.to.do(func() { s.ended(err) }) }) // the word may be lost
}

// leave is the node's end of the stream.
func (s *stream) leave() {
	if !s.closed {
		s.closed = true
		s.detach(s.to.m.w.net.delay())
	}
}
