package scheduler

import (
	"slices"
	"strings"

	"github.com/rota-sched/rota"
)

// host is a node as the scheduler sees it: its newest record, and what is held on
// it once everything proposed is granted.
type host struct {
	index    int // in Scheduler.hosts
	node     *rota.Node
	held     rota.Held // of the record, and of the proposals
	proposed []*proposal
	dirty    bool   // record or proposals changed since held was computed
	kind     uint64 // see rooms.kind
	sight    sight  // of held
	// session and wasUsable are what they were when the node was last touched.
	session   rota.Session
	wasUsable bool
	// disputed are the tasks that the state machine refused here although they fit
	// by this very record. They wait for a newer one: two sides that disagree must
	// not ask each other for ever.
	disputed []*item
	tenants  map[rota.RunID]tenants
}

// proposal is a placement that was proposed and is neither seen nor refused yet.
type proposal struct {
	item *item
	task *rota.Task // the record it was decided on
	host *host
	node *rota.Node // and the node's
	hold rota.Hold
}

// precedes is the order between nodes of equal score.
func (h *host) precedes(o *host) bool {
	if c := strings.Compare(h.node.Name, o.node.Name); c != 0 {
		return c < 0
	}
	return h.node.ID < o.node.ID
}

// hostOf finds the place of a node, or makes it.
func (s *Scheduler) hostOf(n *rota.Node) (h *host, known bool) {
	h, known = s.byID[n.ID]
	if !known {
		h = &host{node: n, index: len(s.hosts)}
		s.byID[n.ID] = h
		s.hosts = append(s.hosts, h)
		s.views = append(s.views, view{})
		s.frees = append(s.frees, free{})
		s.touchedAt = append(s.touchedAt, 0)
		s.arrange(h)
	}
	return h, known
}

// arrange keeps the places of the nodes in the order of their names.
func (s *Scheduler) arrange(h *host) {
	at, _ := slices.BinarySearchFunc(s.byName, h, func(a, b *host) int {
		if a.precedes(b) {
			return -1
		}
		return 1
	})
	s.byName = slices.Insert(s.byName, at, h)
	s.order = append(s.order, 0)
	for i := at; i < len(s.byName); i++ {
		s.order[s.byName[i].index] = int32(i)
	}
}

// rename moves a node that has another name than before: all orders change.
func (s *Scheduler) rename(h *host, n *rota.Node) {
	if h.node.Name == n.Name {
		return
	}
	h.node = n
	s.byName = append(s.byName[:0], s.hosts...)
	slices.SortFunc(s.byName, func(a, b *host) int {
		if a.precedes(b) {
			return -1
		}
		return 1
	})
	for i, o := range s.byName {
		s.order[o.index] = int32(i)
	}
	for _, c := range s.inOrder {
		c.ranks.stale(s)
	}
}

// observeNode takes in a node's record.
func (s *Scheduler) observeNode(n *rota.Node) {
	h, known := s.hostOf(n)
	if known {
		s.observeFleet(h.node, n)
		s.rename(h, n)
	} else {
		s.observeFleet(nil, n)
	}
	h.node = n
	s.soil(h)
	for _, x := range h.disputed {
		x.disputed = nil
		s.enqueue(x)
	}
	h.disputed = nil
}

// dispute sets a task aside until the node has a newer record, or the task itself.
func (s *Scheduler) dispute(x *item, h *host) {
	x.disputed = h
	h.disputed = append(h.disputed, x)
}

func (s *Scheduler) soil(h *host) {
	if !h.dirty {
		h.dirty = true
		s.dirty = append(s.dirty, h)
	}
}

// settle brings what is held up to date on all nodes that changed, and wakes the
// parked classes that may now fit. Within an entry the parts of one change arrive
// in pieces, so nothing is decided before.
func (s *Scheduler) settle() {
	for i, h := range s.dirty {
		s.dirty[i] = nil
		h.dirty = false
		held := h.node.Held
		for _, p := range h.proposed {
			held = held.Add(&h.node.Capacity, p.hold)
		}
		s.touch(h, held)
	}
	s.dirty = s.dirty[:0]
	if s.rooms.last >= lastRoom {
		s.renumber()
	}
	s.adapt()
}

// touch notes that a node is different now, and wakes what it may have room for.
func (s *Scheduler) touch(h *host, held rota.Held) {
	usable := h.node.Ready()
	v := &s.views[h.index]
	before := *v
	reshaped := v.shape == 0 || h.session != h.node.Session
	gained := usable && (reshaped || !h.wasUsable || frees(&h.node.Capacity, &h.held, &held))
	h.held, h.session, h.wasUsable = held, h.node.Session, usable
	if reshaped {
		s.lastShape++
		v.shape = s.lastShape
		h.kind = s.rooms.kind(&h.node.Capacity)
	}
	v.room = closed
	if usable && held.Slots < h.node.Capacity.Slots {
		v.room = s.rooms.number(h)
	}
	if *v != before {
		h.sight.policy = nil
		s.frees[h.index] = freeOf(h)
		s.touches[s.touched%uint64(len(s.touches))] = int32(h.index)
		s.touchedAt[h.index] = s.touched
		s.touched++
	}
	if gained {
		s.wake(h)
	}
}

// renumber begins the numbers of rooms anew, once in four thousand million rooms.
func (s *Scheduler) renumber() {
	s.rooms = rooms{}
	for i, h := range s.hosts {
		h.kind = s.rooms.kind(&h.node.Capacity)
		if s.views[i].room != closed {
			s.views[i].room = s.rooms.number(h)
		}
	}
	for _, c := range s.inOrder {
		c.ranks.forget(s)
	}
}

// wake puts those parked classes back among the heads that fit on the node.
func (s *Scheduler) wake(h *host) {
	for i := 0; i < len(s.parked); {
		c := s.parked[i]
		if !c.ranks.look(s, c, h) {
			i++
			continue
		}
		last := len(s.parked) - 1
		s.parked[i], s.parked[last] = s.parked[last], nil
		s.parked = s.parked[:last]
		c.parked = false
		s.headChanged(c)
	}
}

// frees reports whether less is held of anything than before.
func frees(c *rota.Capacity, before, after *rota.Held) bool {
	if after.CPUMilli < before.CPUMilli || after.MemoryBytes < before.MemoryBytes || after.DiskBytes < before.DiskBytes || after.Slots < before.Slots {
		return true
	}
	for i := range c.GPUs {
		if after.FreeMilli(i) > before.FreeMilli(i) {
			return true
		}
	}
	return false
}
