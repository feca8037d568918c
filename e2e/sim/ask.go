package sim

import (
	"time"

	"github.com/rota-sched/rota"
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
	q := &question{w: w, p: p, serve: serve, done: done, send: w.net.send}
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

// askOnce asks through one server, whichever it is, and never twice: what comes of
// it is known, or is not.
func (w *World) askOnce(p *program, timeout time.Duration, serve func(*reign, func(answer)), done func(answer)) {
	q := &question{w: w, p: p, serve: serve, done: done, send: w.net.sendOnce, only: true}
	q.servers = []*machine{w.servers[w.rng.IntN(len(w.servers))]}
	q.next()
	p.later(timeout, func() { q.end(answer{err: errUnknown}) })
}

type question struct {
	w       *World
	p       *program
	servers []*machine
	serve   func(*reign, func(answer))
	done    func(answer)
	send    func(from, to *machine, get func() *program, f func())
	only    bool // one server, once
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
	q.send(q.p.m, s, func() *program { return s.node }, func() { q.arrive(s, s.node.replica, 1, again) })
	if !q.only {
		q.p.later(500*time.Millisecond, again) // nobody there
	}
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
		q.send(s, to, func() *program { return to.node }, func() { q.arrive(to, to.node.replica, hops-1, again) })
	default:
		q.w.net.send(s, q.p.m, func() *program { return q.p }, again)
	}
}

// command proposes an operation.
func (w *World) command(p *program, cmd rota.Command, timeout time.Duration, done func(rota.Result, error)) {
	w.ask(p, timeout, proposes(cmd), answers(done))
}

// commandOnce proposes it through one server, once.
func (w *World) commandOnce(p *program, cmd rota.Command, timeout time.Duration, done func(rota.Result, error)) {
	w.askOnce(p, timeout, proposes(cmd), answers(done))
}

func proposes(cmd rota.Command) func(*reign, func(answer)) {
	return func(g *reign, reply func(answer)) {
		g.propose(cmd, func(res rota.Result, err error) { reply(answer{result: res, err: err}) })
	}
}

func answers(done func(rota.Result, error)) func(answer) {
	return func(a answer) {
		if a.err == nil {
			a.err = a.result.Err()
		}
		done(a.result, a.err)
	}
}

// renew asks for a lease.
func (w *World) renew(p *program, s rota.Session, timeout time.Duration, done func(rota.Renewal, error)) {
	w.ask(p, timeout, func(g *reign, reply func(answer)) {
		g.token++
		t := g.token
		g.renewals[t] = func(r rota.Renewal, err error) { reply(answer{renewal: r, err: err}) }
		g.asker[t] = s
		g.step(leader.RenewalAsked{Token: t, Session: s})
		g.r.p.later(timeout, func() {
			if g.renewals[t] != nil {
				delete(g.renewals, t)
				delete(g.asker, t)
				g.step(leader.RenewalGone{Token: t})
			}
		})
	}, func(a answer) { done(a.renewal, a.err) })
}
