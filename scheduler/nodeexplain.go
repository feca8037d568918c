package scheduler

import "github.com/rota-sched/rota"

// NodeExplanation says what a node is good for at the moment.
type NodeExplanation struct {
	Node   rota.NodeID    `json:"node"`
	Name   string         `json:"name"`
	State  rota.NodeState `json:"state"`
	Queued int            `json:"queued"` // tasks in the queue
	Fit    int            `json:"fit"`    // of those, it could take now one at a time
	Later  int            `json:"later"`  // of those, it has no room for now
	Never  int            `json:"never"`  // of those, it could never run
	Why    []Count        `json:"why"`    // what keeps how many off it
}

// Count is a code with a number.
type Count struct {
	Code  string `json:"code"`
	Tasks int    `json:"tasks"`
}

// ExplainNode says how many of the queued tasks a node could take, and what keeps
// the others off it. False for a node that is not known.
func (s *Scheduler) ExplainNode(id rota.NodeID) (NodeExplanation, bool) {
	h, ok := s.byID[id]
	if !ok {
		return NodeExplanation{}, false
	}
	s.settle()
	e := NodeExplanation{Node: id, Name: h.node.Name, State: h.node.State(), Why: []Count{}}
	var byMisfit [rota.MisfitGrant + 1]int
	for _, c := range s.inOrder {
		n := len(c.queue)
		if n == 0 {
			continue
		}
		e.Queued += n
		v := judge(h, c)
		switch {
		case len(v.never) > 0:
			e.Never += n
		case len(v.now) > 0:
			e.Later += n
		default:
			e.Fit += n
		}
		if m := first(v).misfit; m != rota.MisfitNone {
			byMisfit[m] += n
		}
	}
	for m, n := range byMisfit {
		if n > 0 {
			e.Why = append(e.Why, Count{Code: rota.Misfit(m).String(), Tasks: n})
		}
	}
	return e, true
}
