package rota

import (
	"slices"
	"strings"
)

// Role is a part a node plays.
type Role string

// The roles of a node. By default it plays both.
const (
	RoleServer Role = "server" // replica of the state, votes or follows
	RoleWorker Role = "worker" // executes
)

// NodeInfo is what a node says of itself when it registers.
type NodeInfo struct {
	ID           NodeID   `json:"id"`
	Name         string   `json:"name"`
	Roles        []Role   `json:"roles"`
	Address      string   `json:"address"` // host:port of its HTTP door
	Pool         string   `json:"pool"`
	OS           string   `json:"os"`
	Arch         string   `json:"arch"`
	Kernel       string   `json:"kernel"`
	Version      string   `json:"version"` // of the binary
	MaxFormat    uint16   `json:"max_format"`
	Drivers      []Driver `json:"drivers"`
	Capabilities []string `json:"capabilities"` // sorted
	Models       []string `json:"models"`       // models or artifacts at hand, sorted
	Labels       []Pair   `json:"labels"`       // sorted by key
	Containment  string   `json:"containment"`  // how task processes are held: pidns, cgroup, uid, subreaper, none
	Capacity     Capacity `json:"capacity"`
}

// Pair is one entry of a small map that is kept sorted by key.
type Pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// LookUp finds the value of a key in sorted pairs.
func LookUp(pairs []Pair, key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(pairs, key, func(p Pair, k string) int { return strings.Compare(p.Key, k) })
	if !ok {
		return "", false
	}
	return pairs[i].Value, true
}

// PairsOf makes sorted pairs of a map.
func PairsOf(m map[string]string) []Pair {
	pairs := make([]Pair, 0, len(m))
	for k, v := range m { // order: sorted below
		pairs = append(pairs, Pair{Key: k, Value: v})
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return strings.Compare(a.Key, b.Key) })
	return pairs
}

// Node is a machine of the cluster as the state machine knows it.
type Node struct {
	NodeInfo
	// Session is the node's present life; zero once it expired or left.
	Session Session
	// LastCounter is the counter of the newest session the node ever had.
	LastCounter uint64
	// RenewedIndex is the log index at which the session last registered or
	// renewed: what the expiry compares against. Zero without a session.
	RenewedIndex uint64
	Draining     bool
	Suspect      bool   // gossip's hint: no new placements
	Left         bool   // went by itself rather than by silence
	Unfit        string // by its own word it can start nothing, and why; empty: it can
	RegisteredAt Instant
	ChangedAt    Instant
	Held         Held
}

// NodeState is a node's state in one word.
type NodeState string

// The states of a node.
const (
	NodeReady    NodeState = "ready"
	NodeDraining NodeState = "draining"
	NodeSuspect  NodeState = "suspect"
	NodeUnfit    NodeState = "unfit"
	NodeDown     NodeState = "down"
	NodeLeft     NodeState = "left"
)

// State is the one word for the node's state.
func (n *Node) State() NodeState {
	switch {
	case n.Session.IsZero() && n.Left:
		return NodeLeft
	case n.Session.IsZero():
		return NodeDown
	case n.Suspect:
		return NodeSuspect
	case n.Draining:
		return NodeDraining
	case n.Unfit != "":
		return NodeUnfit
	default:
		return NodeReady
	}
}

// Ready reports whether the node may be given new attempts.
func (n *Node) Ready() bool { return n.State() == NodeReady }

// HasRole reports whether the node plays the role.
func (n *Node) HasRole(r Role) bool { return slices.Contains(n.Roles, r) }

// Label finds a label of the node.
func (n *Node) Label(key string) (string, bool) { return LookUp(n.Labels, key) }
