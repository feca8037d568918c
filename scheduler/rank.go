package scheduler

import "github.com/rota-sched/rota"

// ranking is what a class knows of the nodes: which could ever run it, and, best
// first, which have the room now. It follows the nodes lazily: before a decision
// it looks again at those that changed since its last one.
type ranking struct {
	all     []candidate // by the index of the host
	best    []ranked    // a heap
	seen    uint64      // of Scheduler.touched
	memo    memo
	devices map[uint64][]int // by host.kind: those that match the demand
	wish    *wish            // nil: there is none, or it is not worked out
}

// candidate is one node in the eyes of one class.
type candidate struct {
	shape  uint32 // of its view when Eligible was last asked
	at     int32  // in best; outside: no room
	device int16  // for a share of a device: which
	misfit rota.Misfit
}

// ranked is a candidate with room.
type ranked struct {
	score int32
	host  int32 // its index
}

// follow looks again at all nodes that changed.
func (r *ranking) follow(s *Scheduler, c *class) {
	r.grow(s)
	missed := s.touched - r.seen
	if missed > uint64(len(s.touches)) || missed > 2*uint64(len(s.hosts)) {
		for i := range s.views {
			if s.touchedAt[i] >= r.seen {
				r.rate(s, c, int32(i))
			}
		}
	} else {
		for n := r.seen; n < s.touched; n++ {
			i := s.touches[n%uint64(len(s.touches))]
			if s.touchedAt[i] == n { // else it changed again since
				r.rate(s, c, i)
			}
		}
	}
	r.seen = s.touched
}

// forget gives back the memory: the class looks at all nodes anew.
func (r *ranking) forget(s *Scheduler) {
	r.memo.drop(s)
	s.candidates -= len(r.all)
	if r.wish != nil {
		s.candidates -= len(r.wish.siblings)
	}
	*r = ranking{}
}

// stale makes the class rate all nodes anew; which are eligible stays known.
func (r *ranking) stale(s *Scheduler) {
	r.memo.drop(s)
	r.best, r.seen = r.best[:0], 0
	for i := range r.all {
		r.all[i].at = outside
	}
}

// maxCandidates bounds the candidates of all classes: 20 bytes each with their place
// in a heap. Classes over it take turns, which costs time but changes no decision.
const maxCandidates = 8 << 20

// grow makes place for nodes that are new.
func (r *ranking) grow(s *Scheduler) {
	s.candidates += max(len(s.hosts)-len(r.all), 0)
	if len(r.all) == 0 && len(s.hosts) > 0 {
		s.makePlace()
		r.all = make([]candidate, 0, len(s.hosts))
	}
	for len(r.all) < len(s.hosts) {
		r.all = append(r.all, candidate{at: outside})
	}
}

// rate looks at one node and files it where it belongs.
func (r *ranking) rate(s *Scheduler, c *class, i int32) {
	k, v := &r.all[i], s.views[i]
	o := opinion{}
	if v.room != closed && !s.frees[i].short(&c.spec.Resources) {
		if k.shape != v.shape {
			k.misfit, k.shape = c.demand.Eligible(s.hosts[i].node), v.shape
		}
		if k.misfit == rota.MisfitNone {
			o = r.opinion(s, c, i, v.room)
		}
	}
	k.device = o.device
	switch {
	case !o.fits && k.at != outside:
		r.remove(s, k.at)
	case !o.fits:
	case k.at == outside:
		r.best = append(r.best, ranked{})
		r.up(s, len(r.best)-1, ranked{o.score, i})
	case r.best[k.at].score != o.score:
		r.fix(s, int(k.at), ranked{o.score, i})
	}
}

// look brings what the class thinks of one node up to date and reports whether it
// has the room.
func (r *ranking) look(s *Scheduler, c *class, h *host) bool {
	if s.views[h.index].room == closed || s.frees[h.index].short(&c.spec.Resources) {
		return false // follow will see it
	}
	if c.wishes && c.shuns(h) {
		return false // until the sibling's room is given back
	}
	if len(r.all) == 0 {
		return c.demand.Eligible(h.node) == rota.MisfitNone && r.form(s, c, h).fits
	}
	r.grow(s)
	r.rate(s, c, int32(h.index))
	return r.all[h.index].at != outside
}

// opinion is what the class thinks of the room on the node: remembered, if it has
// seen such room before.
func (r *ranking) opinion(s *Scheduler, c *class, i int32, room uint32) opinion {
	if o, known := r.memo.find(room); known {
		return o
	}
	o := r.form(s, c, s.hosts[i])
	r.memo.keep(s, room, o)
	return o
}

// form asks the policy: for whole devices about the first that are free, for a
// share about all that have the room.
func (r *ranking) form(s *Scheduler, c *class, h *host) opinion {
	res := &c.spec.Resources
	d := res.GPU
	s.devices = s.devices[:0]
	if d.Count > 0 {
		list := s.firsts(len(h.node.Capacity.GPUs))
		if d.Model != "" || d.MemoryBytes != 0 {
			list = r.matching(h, d)
		}
		for _, i := range list {
			if h.held.FreeMilli(i) < d.MilliEach() {
				continue
			}
			s.devices = append(s.devices, i)
			if d.ShareMilli == 0 && len(s.devices) == d.Count {
				break
			}
		}
		if len(s.devices) < d.Count {
			return opinion{}
		}
	}
	var score int64
	var device int
	if p := s.own; p != nil && len(h.node.Capacity.GPUs) > 0 {
		if h.sight.policy != p {
			p.look(&h.sight, h.node, &h.held)
		}
		score, device = p.rate(&h.sight, res, s.devices)
	} else {
		score, device = s.policy.Rate(h.node, &h.held, res, s.devices)
	}
	return opinion{fits: true, score: int32(min(max(score, -maxScore), maxScore)), device: int16(device)}
}

// firsts are the numbers from 0 to n-1.
func (s *Scheduler) firsts(n int) []int {
	for len(s.numbers) < n {
		s.numbers = append(s.numbers, len(s.numbers))
	}
	return s.numbers[:n]
}

// makePlace takes the rankings of other classes, as they were made, until a new one
// has its place: those that decide now make theirs anew.
func (s *Scheduler) makePlace() {
	for n := 0; s.candidates > maxCandidates && n < len(s.inOrder); n++ {
		s.evict++
		c := s.inOrder[s.evict%len(s.inOrder)]
		if len(c.ranks.all) > 0 {
			c.ranks.forget(s)
		}
	}
}

// matching lists the devices of the node that are of the kind asked for.
func (r *ranking) matching(h *host, d rota.GPUDemand) []int {
	devices, known := r.devices[h.kind]
	if !known {
		if r.devices == nil || len(r.devices) >= maxKinds {
			r.devices = map[uint64][]int{}
		}
		devices = matching(h.node, d)
		r.devices[h.kind] = devices
	}
	return devices
}

// grants are the exact devices: the policy's choice for a share, the free ones of
// the lowest indexes for whole devices.
func (r *ranking) grants(h *host, d rota.GPUDemand) []rota.GPUGrant {
	if d.Count == 0 {
		return nil
	}
	gpus := h.node.Capacity.GPUs
	if d.ShareMilli > 0 {
		return []rota.GPUGrant{{ID: gpus[r.all[h.index].device].ID, Milli: d.ShareMilli}}
	}
	grants := make([]rota.GPUGrant, 0, d.Count)
	for _, i := range r.matching(h, d) {
		if len(grants) < d.Count && h.held.FreeMilli(i) >= rota.WholeGPU {
			grants = append(grants, rota.GPUGrant{ID: gpus[i].ID, Milli: rota.WholeGPU})
		}
	}
	return grants
}

// matching lists the devices of the node that are of the kind asked for.
func matching(n *rota.Node, d rota.GPUDemand) []int {
	if d.Count == 0 {
		return nil
	}
	var devices []int
	for i, g := range n.Capacity.GPUs {
		if d.Matches(g) {
			devices = append(devices, i)
		}
	}
	return devices
}
