package cluster

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
)

// Seams are where tests put their own network, disk and chance. Nil fields are the
// real thing.
type Seams struct {
	// ListenRaft opens the port that other servers connect to.
	ListenRaft func(addr string) (net.Listener, error)
	// DialRaft connects to another server.
	DialRaft func(ctx context.Context, addr string) (net.Conn, error)
	// Gossip carries gossip; it is shut down with the node.
	Gossip memberlist.Transport
	// GossipConfig may change gossip's own times.
	GossipConfig func(*memberlist.Config)
	// Stores opens the log instead of the files in DataDir.
	Stores func() (Stores, error)
	// Seed draws the random seed of an entry.
	Seed func() uint64
	// Wall is the wall clock, which may jump; Boot the clock that nobody can set and
	// that goes on in suspend, from any beginning.
	Wall func() time.Time
	Boot func() time.Duration
	// NewKey draws a cluster's key, NewID a cluster's or node's ID.
	NewKey func() []byte
	NewID  func() string
}

// Stores is where a server keeps its log, its vote and its snapshots. The log
// store is wrapped: what is handed over here need not check anything.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	Mark      MarkStore // high-water mark; nil: none is kept
	Close     func() error
}
