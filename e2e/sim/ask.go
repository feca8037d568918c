package sim

import (
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/leader"
)

// answer is what the leader says to whoever asks it something.
type answer struct {
	result  rota.Result
	renewal rota.Renewal
	err     error // an error of the way: nothing is known, or there is no leader
}

// ask asks the leader something through any server, as every process outside does:
// a server that does not lead passes it on; one that knows no leader says so, and
// the next is asked. done hears the answer, once, within the timeout.
func (w *World) ask(p *program, timeout time.Duration, serve func(*reign, func(answer)), done func(answer)) {
	q := &question{w: w, p: p, serve: serve, done: done}
	q.servers = append(q.servers, w.servers...)
	w.rng.Shuffle(len(q.servers), func(i, j int) { q.servers[i], q.servers[j] = q.servers[j], q.servers[i] })
	if p.m.server {
		for i, s := range q.servers {
			if s == p.m {
				q.servers[0], q.servers[i] = q.servers[i], q.servers[0]
			}
		}
	}
	q.next()
	p.later(timeout, func() { q.end(answer{err: errUnknown}) })
}

type question struct {
	w       *World
	p       *program
	servers []*machine
	serve   func(*reign, func(answer))
	done    func(answer)
	ended   bool
}

func (q *question) end(a answer) {
	if !q.ended {
		q.ended = true
		q.done(a)
	}
}

func (q *question) next() {
	if q.ended {
		return
	}
	if len(q.servers) == 0 {
		q.end(answer{err: errNoLeader})
		return
	}
	s := q.servers[0]
	q.servers = q.servers[1:]
	tried := false
	again := func() {
		if !tried {
			tried = true
			q.next()
		}
	}
	q.w.net.send(q.p.m, s, func() *program { return s.node }, func() { q.arrive(s, s.node.replica, 1, again) })
	q.p.later(500*time.Millisecond, again) // nobody there
}

// arrive is the question at a server; hops bounds how often it is passed on.
func (q *question) arrive(s *machine, r *replica, hops int, again func()) {
	reply := func(a answer) {
		q.w.net.send(s, q.p.m, func() *program { return q.p }, func() { q.end(a) })
	}
	switch {
	case s.shut:
	case r != nil && r.reign != nil && r.reign.began && !r.reign.over:
		q.serve(r.reign, reply)
	case r != nil && r.leader != nil && r.leader != s && hops > 0:
		to := r.leader
		q.w.net.send(s, to, func() *program { return to.node }, func() { q.arrive(to, to.node.replica, hops-1, again) })
	default:
		q.w.net.send(s, q.p.m, func() *program { return q.p }, again)
	}
}

// command proposes an operation.
func (w *World) command(p *program, cmd rota.Command, timeout time.Duration, done func(rota.Result, error)) {
	w.ask(p, timeout, func(g *reign, reply func(answer)) {
		g.propose(cmd, func(res rota.Result, err error) { reply(answer{result: res, err: err}) })
	}, func(a answer) {
		if a.err == nil {
			a.err = a.result.Err()
		}
		done(a.result, a.err)
	})
}

// renew asks for a lease.
func (w *World) renew(p *program, s rota.Session, timeout time.Duration, done func(rota.Renewal, error)) {
	w.ask(p, timeout, func(g *reign, reply func(answer)) {
		g.token++
		t := g.token
		g.renewals[t] = func(r rota.Renewal, err error) { reply(answer{renewal: r, err: err}) }
		g.step(leader.RenewalAsked{Token: t, Session: s})
		g.r.p.later(timeout, func() {
			if g.renewals[t] != nil {
				delete(g.renewals, t)
				g.step(leader.RenewalGone{Token: t})
			}
		})
	}, func(a answer) { done(a.renewal, a.err) })
}

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
		if s.closed {
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
		w.broken("a view cannot be read: %v", err)
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
	if s.to.dead || s.g.r.p.dead || s.g.over || !w.net.open(from, s.to.m) || !w.net.open(s.to.m, from) {
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
