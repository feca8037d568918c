package scheduler

import "github.com/rota-sched/rota"

// ranking is what a class knows of the nodes: which could ever run it, and, best
// first, which have the room now. It follows the nodes lazily: before a decision
// it looks again at those that changed since its last one.
type ranking struct {
	all  []*candidate // by the index of the host; nil: never looked at
	best heap[*candidate]
	seen uint64 // of Scheduler.touched
}

// candidate is one node in the eyes of one class.
type candidate struct {
	host    *host
	at      int // in best; outside: no room
	version uint64
	shape   uint64
	misfit  rota.Misfit // of Eligible, for the shape
	devices []int       // that match the demand, for the shape
	score   int64
	device  int // for a share of a device: which
}

func (k *candidate) moved(to int) { k.at = to }

func (k *candidate) before(o *candidate) bool {
	if k.score != o.score {
		return k.score > o.score
	}
	return k.host.precedes(o.host)
}

// follow looks again at all nodes that changed.
func (r *ranking) follow(s *Scheduler, c *class) {
	missed := s.touched - r.seen
	if missed > uint64(len(s.touches)) || missed > uint64(len(s.hosts)) {
		for _, h := range s.hosts {
			r.rate(s, c, h)
		}
	} else {
		for i := r.seen; i < s.touched; i++ {
			r.rate(s, c, s.touches[i%uint64(len(s.touches))])
		}
	}
	r.seen = s.touched
}

// rate looks at one node, files it where it belongs and reports whether it has
// the room.
func (r *ranking) rate(s *Scheduler, c *class, h *host) bool {
	for len(r.all) <= h.index {
		r.all = append(r.all, nil)
	}
	k := r.all[h.index]
	if k == nil {
		k = &candidate{host: h, at: outside}
		r.all[h.index] = k
	}
	if k.version == h.version {
		return k.at != outside
	}
	if k.shape != h.shape {
		k.shape = h.shape
		k.misfit = rota.Eligible(h.node, c.spec)
		k.devices = matching(h.node, c.spec.Resources.GPU)
	}
	k.version = h.version
	fits := k.misfit == rota.MisfitNone && rota.HasRoom(h.node, h.held, &c.spec.Resources) == rota.MisfitNone
	if fits {
		fits = k.choose(s, c)
	}
	switch {
	case !fits && k.at != outside:
		r.best.remove(k.at)
	case !fits:
	case k.at == outside:
		r.best.push(k)
	default:
		r.best.fix(k.at)
	}
	return fits
}

// choose scores the node and picks the device for a share; false if the devices
// have no room.
func (k *candidate) choose(s *Scheduler, c *class) bool {
	d := c.spec.Resources.GPU
	s.devices = s.devices[:0]
	if d.Count > 0 {
		for _, i := range k.devices {
			if k.host.held.FreeMilli(i) < d.MilliEach() {
				continue
			}
			s.devices = append(s.devices, i)
			if d.ShareMilli == 0 && len(s.devices) == d.Count {
				break
			}
		}
		if len(s.devices) < d.Count {
			return false
		}
	}
	k.score, k.device = s.cfg.Policy.Rate(k.host.node, &k.host.held, &c.spec.Resources, s.devices)
	return true
}

// grants are the exact devices: the policy's choice for a share, the free ones of
// the lowest indexes for whole devices.
func (k *candidate) grants(d rota.GPUDemand) []rota.GPUGrant {
	if d.Count == 0 {
		return nil
	}
	gpus := k.host.node.Capacity.GPUs
	if d.ShareMilli > 0 {
		return []rota.GPUGrant{{ID: gpus[k.device].ID, Milli: d.ShareMilli}}
	}
	grants := make([]rota.GPUGrant, 0, d.Count)
	for _, i := range k.devices {
		if len(grants) < d.Count && k.host.held.FreeMilli(i) >= rota.WholeGPU {
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
