package leader

import (
	"slices"

	"github.com/rota-sched/rota"
)

// marks turns gossip's whispers into marks on nodes. A mark stops new placements
// and does nothing else. (Source: RELIABILITY.md, section 2, last row of the table.)
type marks struct {
	hints map[rota.NodeID]bool
	out   map[rota.NodeID]bool // an operation is on its way
	look  []rota.NodeID        // nodes whose mark may be wrong
}

func (m *marks) init() {
	m.hints = map[rota.NodeID]bool{}
	m.out = map[rota.NodeID]bool{}
}

func (m *marks) hint(ev Gossip) {
	m.hints[ev.Node] = ev.Suspect
	m.dirty(ev.Node)
}

func (m *marks) dirty(id rota.NodeID) {
	if _, known := m.hints[id]; known && !slices.Contains(m.look, id) {
		m.look = append(m.look, id)
	}
}

func (c *Core) driveMarks() {
	m := &c.marks
	look := m.look
	m.look = nil
	for _, id := range look {
		n, suspect := c.nodes[id], m.hints[id]
		if n == nil || n.Session.IsZero() || n.Suspect == suspect {
			continue
		}
		if m.out[id] {
			continue // looked at again when that one is done
		}
		m.out[id] = true
		c.propose(rota.MarkNode{Node: id, Suspect: &suspect}, func(d ProposalDone, _ Now) {
			delete(m.out, id)
			// The node's change looks at it again; if that was here already, nothing
			// else would. A refusal is not argued with.
			if d.Failed || d.Result.Kind == rota.KindNone && d.Result.Index <= c.applied {
				m.dirty(id)
			}
		})
	}
}

// raise lets newer rules take effect once every replica can follow them.
type raise struct {
	replicas []rota.NodeID
	readable uint16 // by all of them, as their processes say; zero: go by their records
	asked    uint16 // proposed and not refused
	out      bool
}

func (c *Core) driveFormat() {
	if c.raise.out || len(c.raise.replicas) == 0 {
		return
	}
	target := c.raise.readable
	if target == 0 {
		target = ^uint16(0)
	}
	for _, id := range c.raise.replicas {
		if c.raise.readable != 0 {
			break
		}
		n := c.nodes[id]
		if n == nil {
			return // it has not said yet what it can read
		}
		target = min(target, n.MaxFormat)
	}
	if target <= max(c.format, c.raise.asked) {
		return
	}
	c.raise.out = true
	c.propose(rota.RaiseFormat{Format: target}, func(d ProposalDone, _ Now) {
		// Done: Applied brings the new format. Refused: not again in this leadership.
		c.raise.out = false
		if !d.Failed {
			c.raise.asked = target
		}
	})
}
