package fsm

import (
	"slices"

	"github.com/rota-sched/rota"
)

// place puts queued tasks on nodes, each one checked again: the scheduler decided
// on a state that may have moved since.
func (s *State) place(op *rota.Place) rota.Result {
	items := make([]rota.Kind, len(op.Placements))
	for i := range op.Placements {
		items[i] = s.placeOne(&op.Placements[i])
	}
	return rota.Result{Items: items}
}

func (s *State) placeOne(p *rota.NewPlacement) rota.Kind {
	t := s.taskByID(p.Task)
	n := s.nodeByID(p.Session.Node)
	switch {
	case t == nil:
		return rota.KindNotFound
	case t.Status.Terminal():
		return rota.KindEnded
	case t.Status != rota.StatusQueued || t.held || t.Attempt >= rota.MaxAttempt:
		return rota.KindNoFit
	case n == nil || n.Session != p.Session:
		return rota.KindStale
	case s.demandOf(t.Spec).Fits(&n.Node, n.Held, p.GPUs) != rota.MisfitNone:
		return rota.KindNoFit
	case t.Spec.DistinctHosts && s.siblingOn(n.ID, t.ID):
		return rota.KindNoFit
	}
	t, n = s.edit(t), s.editNode(n.ID)
	t.Attempt++
	fence := t.Fence(s.meta.incarnation)
	t.Placement = &rota.Placement{Task: t.ID, Fence: fence, Node: n.ID, Session: p.Session, GPUs: p.GPUs, At: s.meta.now}
	t.addAttempt(rota.Attempt{Number: t.Attempt, Fence: fence, Node: n.ID, NodeName: n.Name, PlacedAt: s.meta.now})
	t.StartedAt, t.gaveUp, t.held = 0, 0, true
	s.move(t, rota.StatusAssigned)
	s.w.changes[len(s.w.changes)-1].Node = &n.Node
	s.takeHold(rota.Hold{Task: t.ID, Fence: fence, Session: p.Session, Resources: t.Spec.Resources, GPUs: p.GPUs})
	return rota.KindNone
}

// demandOf is the spec made ready; the last one is remembered.
func (s *State) demandOf(spec *rota.TaskSpec) *rota.Demand {
	if s.again.demand == nil || s.again.demand.Spec() != spec {
		s.again.demand = rota.DemandOf(spec)
	}
	return s.again.demand
}

// siblingOn reports whether an attempt of a task of the same run and label holds room on
// the node. It looks at the run's holds there.
func (s *State) siblingOn(node rota.NodeID, id rota.TaskID) bool {
	found := false
	first := holdKey{node: node, task: rota.TaskID{Run: id.Run}}
	s.holds.Ascend(holdItem{holdKey: first}, func(it holdItem) bool {
		if it.node != node || it.task.Run != id.Run {
			return false
		}
		found = it.task.Key.Label() == id.Key.Label()
		return !found
	})
	return found
}

// addAttempt appends to the attempts remembered, of which the oldest go.
func (t *task) addAttempt(a rota.Attempt) {
	old := t.Attempts
	if len(old) >= rota.MaxAttemptsKept {
		old = old[len(old)-rota.MaxAttemptsKept+1:]
	}
	t.Attempts = append(slices.Clip(slices.Clone(old)), a)
}
