package sim

import (
	"time"

	"github.com/rota-sched/rota/fsm"
)

// read is a consistent read at a server: it learns from the leader how far the
// log has come, waits until its own state is there, and answers from that. done
// hears of it once; an error says that nothing is known.
func (w *World) read(p *program, s *machine, timeout time.Duration, look func(*fsm.Snapshot) any, done func(any, error)) {
	ended := false
	end := func(v any, err error) {
		if !ended {
			ended = true
			done(v, err)
		}
	}
	reply := func(v any, err error) {
		w.net.send(s, p.m, func() *program { return p }, func() { end(v, err) })
	}
	w.net.send(p.m, s, func() *program { return s.node }, func() {
		r := s.node.replica
		if s.shut || r == nil {
			return
		}
		r.barrier(func(index uint64, err error) {
			if err != nil {
				reply(nil, err)
				return
			}
			r.await(index, func() { reply(look(r.state.Snapshot()), nil) })
		})
	})
	p.later(timeout, func() { end(nil, errUnknown) })
}

// barrier asks the leader, wherever it is.
func (r *replica) barrier(done func(uint64, error)) {
	to := r.leader
	switch {
	case r.reign != nil && r.reign.began:
		r.reign.barrier(done)
	case to == nil || to == r.m:
		done(0, errNoLeader)
	default:
		r.to(to, func(o *replica) {
			if o.reign == nil || !o.reign.began {
				o.to(r.m, func(*replica) { done(0, errNoLeader) })
				return
			}
			o.reign.barrier(func(index uint64, err error) { o.to(r.m, func(*replica) { done(index, err) }) })
		})
	}
}
