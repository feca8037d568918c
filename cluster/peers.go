package cluster

import (
	"context"
	"time"

	"github.com/rota-sched/rota"
)

// Peers carries this package's calls to other nodes' HTTP doors. On the other side
// Cluster's method of the same name with Handle in front answers.
type Peers interface {
	// Probe asks a node who it is.
	Probe(ctx context.Context, addr string) (ProbeReply, error)
	// Join asks a node of a cluster for what is needed to become part of it.
	Join(ctx context.Context, addr string, req JoinRequest) (JoinReply, error)
	// Accept asks a node to found a cluster with others.
	Accept(ctx context.Context, addr string, req AcceptRequest) (AcceptReply, error)
	// Forward brings encoded proposals to the leader.
	Forward(ctx context.Context, addr string, body []byte) ([]byte, error)
}

// ProbeReply is who a node is.
type ProbeReply struct {
	Node      rota.NodeID `json:"node"`
	Name      string      `json:"name"`
	Server    bool        `json:"server"`
	ClusterID string      `json:"cluster_id,omitempty"` // empty: belongs to none yet
	HasData   bool        `json:"has_data"`
	Expect    int         `json:"expect,omitempty"`   // servers it wants to found a cluster with
	Restores  bool        `json:"restores,omitempty"` // it has a backup to found it from
	HTTP      string      `json:"http"`
	Raft      string      `json:"raft,omitempty"`
	Gossip    string      `json:"gossip"`
	// Known are HTTP addresses of other nodes that it has met, so that nodes that
	// name each other in a ring all meet.
	Known []string `json:"known,omitempty"`
	// Leader as far as it knows.
	Leader     rota.NodeID `json:"leader,omitempty"`
	LeaderHTTP string      `json:"leader_http,omitempty"`
	// Stored and Applied are the newest entry of its log, and of its state.
	Stored  uint64    `json:"stored"`
	Applied uint64    `json:"applied"`
	Wall    time.Time `json:"wall"`
	// ConfigIndex and Servers are the log's configuration as it knows it; Member says that
	// a committed one has named it.
	ConfigIndex uint64        `json:"config_index,omitempty"`
	Servers     []rota.NodeID `json:"servers,omitempty"`
	Member      bool          `json:"member,omitempty"`
	// Checks are digests of its state at some indexes, oldest first.
	Checks []Check `json:"checks,omitempty"`
	// Pace is that of its disk.
	Pace Pace `json:"pace,omitzero"`
}

// Check is the digest of a state at an index.
type Check struct {
	Index  uint64 `json:"index"`
	Digest string `json:"digest"`
}

// JoinRequest is a node that wants to belong to the cluster.
type JoinRequest struct {
	Node   rota.NodeID `json:"node"`
	Name   string      `json:"name"`
	Server bool        `json:"server"`
	HTTP   string      `json:"http"`
}

// JoinReply is what it needs for that.
type JoinReply struct {
	ClusterID string   `json:"cluster_id"`
	Key       []byte   `json:"key"`
	Voters    int      `json:"voters"`
	Gossip    []string `json:"gossip"`
}

// AcceptRequest is the list of servers that one of them proposes to found a
// cluster with.
type AcceptRequest struct {
	ClusterID string      `json:"cluster_id"`
	Servers   []Founder   `json:"servers"` // sorted by ID
	Proposer  rota.NodeID `json:"proposer"`
}

// Founder is one of the first servers of a cluster.
type Founder struct {
	Node rota.NodeID `json:"node"`
	Raft string      `json:"raft"`
}

// AcceptReply says whether the node founds it along.
type AcceptReply struct {
	Accepted bool   `json:"accepted"`
	Reason   string `json:"reason,omitempty"`
}
