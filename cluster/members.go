package cluster

import (
	"time"

	"github.com/rota-sched/rota"
)

// MemberState is what gossip thinks of a node's life: a hint, nothing more.
type MemberState string

// The states of a member.
const (
	MemberAlive MemberState = "alive"
	MemberDead  MemberState = "dead" // does not answer
	MemberLeft  MemberState = "left" // said that it goes
)

// Member is a node as gossip knows it.
type Member struct {
	ID     rota.NodeID `json:"id"`
	Name   string      `json:"name"`
	Roles  []rota.Role `json:"roles"`
	HTTP   string      `json:"http"`
	Raft   string      `json:"raft,omitempty"`
	Gossip string      `json:"gossip"`
	State  MemberState `json:"state"`
	Since  time.Time   `json:"since"`
	// LeadTerm is the term in which the node says it leads; zero: it does not.
	LeadTerm uint64 `json:"lead_term,omitempty"`
	// MaxFormat is the newest format version that its process can read; zero: it does not
	// say.
	MaxFormat uint16 `json:"max_format,omitempty"`
	// Replaces is the ID under which the node took part before it put its log aside: that
	// one never comes back.
	Replaces rota.NodeID `json:"replaces,omitempty"`
}

// Server reports whether the member is to hold a replica.
func (m *Member) Server() bool {
	for _, r := range m.Roles {
		if r == rota.RoleServer {
			return true
		}
	}
	return false
}

// ServerState is a server of the log's configuration.
type ServerState struct {
	ID        rota.NodeID   `json:"id"`
	Name      string        `json:"name"`
	Raft      string        `json:"raft"`
	HTTP      string        `json:"http"`
	Voter     bool          `json:"voter"`
	Leader    bool          `json:"leader"`
	Alive     bool          `json:"alive"`      // as gossip thinks
	MaxFormat uint16        `json:"max_format"` // newest format version that its process can read; zero: not known
	Contact   time.Duration `json:"contact_ns"` // since this node last heard of it; negative: never
	// Replaces is the ID under which it took part before it put its log aside.
	Replaces rota.NodeID `json:"replaces,omitempty"`
}
