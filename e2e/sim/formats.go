package sim

import (
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/leader"
)

// A world may begin with older programs, which are replaced at restarts: a rolling
// upgrade among all other faults. Whoever leads hears from gossip what the servers can
// read; a replica that meets more than that would halt, which checks find.

// upgrade chooses which program a node runs now: never an older one than before.
func (m *machine) upgrade() {
	newest := fsm.DefaultLimits().MaxFormat
	switch {
	case m.reads == 0 && m.w.cfg.Calm, m.reads == newest, m.reads > 0 && m.w.chance(50):
		m.reads = newest
	case m.reads == 0:
		m.reads = newest - uint16(m.w.rng.Uint64()%uint64(newest))
	}
}

// raised is how many formats the newest state is above the first.
func (c *checker) raised() int {
	format := uint16(1)
	for _, m := range c.w.servers {
		if m.node != nil && m.node.replica != nil {
			format = max(format, m.node.replica.state.Format())
		}
	}
	return int(format - 1)
}

// limits are those of the node's program.
func (m *machine) limits() fsm.Limits {
	l := fsm.DefaultLimits()
	l.MaxFormat = m.reads
	return l
}

// hearFormats tells the leader what all servers of the log can read, if each of them
// has been heard of.
func (g *reign) hearFormats() {
	said := leader.Replicas{Format: ^uint16(0)}
	for _, m := range g.r.config().are {
		if m.reads == 0 {
			return
		}
		said.IDs, said.Format = append(said.IDs, m.id), min(said.Format, m.reads)
	}
	for _, m := range g.r.w.servers {
		if m.reads == 0 {
			return // it has not begun yet, and may join with an old program
		}
		said.Format = min(said.Format, m.reads)
	}
	g.step(said)
}
