package fsm

import (
	"strings"

	"github.com/rota-sched/rota"
)

// takeHold books the room of a new placement.
func (s *State) takeHold(h rota.Hold) {
	n := s.editNode(h.Session.Node)
	n.Held = n.Held.Add(&n.Capacity, h)
	rec := &hold{Hold: h}
	s.w.buf = appendHold(s.w.buf[:0], &h)
	rec.sum = hash(kindHold, s.w.buf)
	s.sum = s.sum.add(rec.sum)
	s.holds.Set(holdItem{holdKey: rec.key(), rec: rec})
	s.roomChanged(n)
	s.emit(rota.Change{Type: rota.ChangeHold, Hold: &rec.Hold, Node: &n.Node, Attempt: h.Fence.Attempt()})
}

// freeHold gives room back. It returns the task whose newest attempt held it, for
// editing; nil if there is none.
func (s *State) freeHold(h *hold) *task {
	s.holds.Delete(holdItem{holdKey: h.key()})
	s.sum = s.sum.sub(h.sum)
	n := s.editNode(h.Session.Node)
	n.Held = n.Held.Remove(&n.Capacity, h.Hold)
	s.roomChanged(n)
	s.emit(rota.Change{Type: rota.ChangeHoldReleased, Hold: &h.Hold, Node: &n.Node, Attempt: h.Fence.Attempt()})
	t := s.taskByID(h.Task)
	if t == nil || !t.held || t.Fence(s.meta.incarnation) != h.Fence {
		return nil
	}
	t = s.edit(t)
	t.held = false
	if t.Status == rota.StatusRetrying && !s.retryNow(t) {
		t.Why.Text = strings.TrimSuffix(t.Why.Text, notFree)
	}
	return t
}

func (s *State) roomChanged(n *node) {
	if !n.roomChanged {
		n.roomChanged = true
		s.w.rooms = append(s.w.rooms, n)
	}
}

func (h *hold) key() holdKey { return holdKey{node: h.Session.Node, task: h.Task, fence: h.Fence} }
