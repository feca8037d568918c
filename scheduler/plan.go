package scheduler

import "github.com/rota-sched/rota"

// Plan decides on at most limit placements, the most urgent task first. It takes
// them for granted from then on: until a change of the task shows that they were,
// or Refused that they were not.
//
// now is the moment of the decision. The order of the queue does not depend on it
// (see orderKey), policies to come may.
func (s *Scheduler) Plan(now rota.Instant, limit int) []rota.NewPlacement {
	_ = now
	s.settle()
	s.forget()
	var placements []rota.NewPlacement
	for len(placements) < limit && len(s.heads) > 0 {
		c := s.heads[0]
		c.ranks.follow(s, c)
		at := outside
		if len(c.ranks.best) > 0 {
			at = c.ranks.pick(s, c)
		}
		if at == outside {
			s.park(c)
			continue
		}
		if p, ok := s.place(c, at); ok {
			placements = append(placements, p)
		}
	}
	return placements
}

// place proposes the head of a class for a candidate with room.
func (s *Scheduler) place(c *class, at int) (rota.NewPlacement, bool) {
	x, h := c.queue[0], s.hosts[c.ranks.best[at].host]
	grants := c.ranks.grants(h, x.task.Spec.Resources.GPU)
	if c.demand.Fits(h.node, h.held, grants) != rota.MisfitNone {
		c.ranks.remove(s, int32(at)) // the state machine would say the same
		return rota.NewPlacement{}, false
	}
	p := &proposal{
		item: x, task: x.task, host: h, node: h.node,
		hold: rota.Hold{Task: x.task.ID, Session: h.node.Session, Resources: x.task.Spec.Resources, GPUs: grants},
	}
	s.dequeue(x)
	s.proposed[x.task.ID] = p
	h.proposed = append(h.proposed, p)
	s.tenancy(h, x.task.ID, 1)
	s.touch(h, h.held.Add(&h.node.Capacity, p.hold))
	return rota.NewPlacement{Task: x.task.ID, Session: h.node.Session, GPUs: grants}, true
}
