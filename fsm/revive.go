package fsm

import (
	"fmt"
	"time"

	"github.com/rota-sched/rota"
)

// Revival says how a state goes on in another cluster.
type Revival struct {
	Incarnation uint16       // higher than any under which the state was ever led
	Now         rota.Instant // the new cluster's moment
	// Quiet is how long no node is taken in: the leader's TTL, by which everything that
	// the old cluster had started has ended.
	Quiet time.Duration
	Seed  uint64 // what jitter is drawn from
}

// sessionsPerIncarnation keeps the session counters of different incarnations
// apart: what an incarnation gave out, no later one gives out again.
const sessionsPerIncarnation = 1 << 32

// Revive makes the state that of a new cluster, as one step behind its last entry:
// every session has ended and what was placed on it counts as possibly started, no
// node is known, fences are higher than all that were given out, and no node is taken
// in until the quiet is over. Runs, tasks, jobs and idempotency keys stay.
// (Source: RELIABILITY.md, section 2, rule 9.)
func (s *State) Revive(r Revival) error {
	if r.Incarnation <= s.meta.incarnation {
		return fmt.Errorf("incarnation %d does not follow %d", r.Incarnation, s.meta.incarnation)
	}
	s.meta.index++
	s.meta.now = max(s.meta.now, min(r.Now, latest))
	s.w.entry = &rota.Entry{Index: s.meta.index, At: s.meta.now, Seed: r.Seed}
	s.w.epoch++
	var ids []rota.NodeID
	s.nodes.Scan(func(it nodeItem) bool {
		ids = append(ids, it.id)
		return true
	})
	for _, id := range ids {
		if n := s.nodeByID(id); !n.Session.IsZero() {
			s.endSession(n, failure{cause: rota.CauseNodeLost, planned: true, message: "the cluster was restored from a snapshot"})
			s.settle()
		}
	}
	s.seal()
	for _, id := range ids {
		s.dropNode(s.nodeByID(id))
	}
	s.w.entry, s.w.changes, s.w.likely = nil, nil, 0
	s.meta.incarnation = r.Incarnation
	s.meta.sessions = max(s.meta.sessions, uint64(r.Incarnation)*sessionsPerIncarnation)
	s.meta.quiet = s.meta.now.Add(r.Quiet)
	return nil
}

// dropNode forgets a node that holds nothing.
func (s *State) dropNode(n *node) {
	s.dropLease(n.ID)
	s.moveTimer(timer{kind: timerNode, id: string(n.ID)}, n.due, 0)
	s.nodes.Delete(nodeItem{id: n.ID})
	s.names.Delete(nameItem{name: n.Name, id: n.ID})
	s.sum = s.sum.sub(n.sum)
	s.meta.sessions = max(s.meta.sessions, n.LastCounter)
}

// whyQuiet says why no node is taken in yet; empty if one is.
func (s *State) whyQuiet() string {
	if s.meta.now >= s.meta.quiet {
		return ""
	}
	return fmt.Sprintf("the cluster was restored from a snapshot: it takes nodes in when whatever the old cluster had started has ended, in %s",
		s.meta.quiet.Sub(s.meta.now).Round(100*time.Millisecond))
}
