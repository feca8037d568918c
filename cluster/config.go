package cluster

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
)

// The log stores a node can keep its log in.
const (
	StoreBolt   = "bolt"
	StoreWAL    = "wal"
	StoreMemory = "memory" // nothing is kept: for tests and trials
)

// Limits of one log entry. (Source: DESIGN.md, section 4.)
const (
	MaxBatch      = 256       // operations in one entry
	MaxBatchBytes = 128 << 10 // of a batch; a larger operation travels alone
	MaxOpBytes    = 2 << 20   // of one operation
	MaxReplicas   = 16        // voters and followers of the log
	DefaultVoters = 3
)

// Config is all that a node's part of the cluster needs to know. Start from
// DefaultConfig.
type Config struct {
	// DataDir holds the node's identity, its cluster's, the log and the snapshots.
	// Empty only with StoreMemory.
	DataDir string
	// ID of the node. Empty: read from DataDir, or made there.
	ID    rota.NodeID
	Name  string // for people
	Roles []rota.Role

	// Addresses are host:port. Bind may name port 0; an empty Advertise is the bound
	// address, which then must name a host.
	HTTPAdvertise   string
	RaftBind        string
	RaftAdvertise   string
	GossipBind      string
	GossipAdvertise string

	// BootstrapExpect is the number of servers that found a new cluster together.
	// Zero: this node only ever joins one. Ignored, as is Join, by a node that has
	// data.
	BootstrapExpect int
	// Join are HTTP addresses of other nodes; the node's own may be among them.
	Join []string

	LogStore string
	Timeouts Timeouts
	// InFlight is how many entries the leader has on their way at once, 1 to 4.
	InFlight int
	// Queue is how many proposals may wait on this node; beyond it they are refused
	// with KindOverloaded.
	Queue int
	// Admit, where it is set, is asked by the leader before new runs and jobs enter the
	// log; its error is the answer to who brought them. It is called often and at once.
	Admit func() error
	// The state is written down and the log in front of it dropped after SnapshotEntries
	// or SnapshotBytes, later where the state is large (compact.go has the rule).
	SnapshotEntries uint64
	SnapshotBytes   uint64
	// Of the log TrailingEntries stay for followers that were away for a moment, at most
	// TrailingBytes of them.
	TrailingEntries uint64
	TrailingBytes   uint64
	// LeaderTTL is how long a cluster that is founded from a backup takes no node in:
	// what the old one had started has ended by then. (Source: RELIABILITY.md, section 2,
	// rule 9.)
	LeaderTTL time.Duration

	Logger hclog.Logger
	// Fatal hears, once, why this node must not go on: its store cannot be trusted or
	// does not answer. It is to end the process and may not return. Run returns the
	// same error, where it still can.
	Fatal func(error)

	Seams Seams
}

// Timeouts are the times by which nodes judge each other and their disks.
type Timeouts struct {
	Heartbeat   time.Duration // a follower without a leader's word for so long stands for election
	Election    time.Duration // a candidate without a majority for so long tries again
	LeaderLease time.Duration // a leader without a majority for so long steps down
	Raft        time.Duration // one message to another server, and the wait for its answer
	StoreSlow   time.Duration // a store call over it: stop leading, and do not answer other servers
	StoreDead   time.Duration // a store call over it: end the process
	Accept      time.Duration // how long a node keeps its word to found a cluster with others
	Replace     time.Duration // a voter silent for so long is replaced by a follower
	RetryJoin   time.Duration // between two rounds of looking for the others
}

// DefaultTimeouts give a failover in 0.4 to 0.8 s. (Source: DESIGN.md, section 5.)
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Heartbeat: 300 * time.Millisecond, Election: 300 * time.Millisecond, LeaderLease: 200 * time.Millisecond,
		Raft: 5 * time.Second, StoreSlow: 2 * time.Second, StoreDead: 10 * time.Second,
		Accept: 10 * time.Second, Replace: 10 * time.Minute, RetryJoin: 250 * time.Millisecond,
	}
}

// DefaultConfig is a node that is server and worker, with its log in bolt.
func DefaultConfig() Config {
	return Config{
		Roles:    []rota.Role{rota.RoleServer, rota.RoleWorker},
		RaftBind: "0.0.0.0:8421", GossipBind: "0.0.0.0:8422",
		LogStore: StoreBolt, Timeouts: DefaultTimeouts(), InFlight: 2, Queue: 16384,
		SnapshotEntries: 16384, SnapshotBytes: 64 << 20, TrailingEntries: 8192, TrailingBytes: 32 << 20, LeaderTTL: rota.DefaultLeaseTimes().LeaderTTL,
	}
}

// server reports whether the node is to hold a replica.
func (c *Config) server() bool { return slices.Contains(c.Roles, rota.RoleServer) }

func (c *Config) check() error {
	invalid := func(format string, args ...any) error {
		return &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(c.Roles) == 0:
		return invalid("a node needs a role: %s, %s or both", rota.RoleServer, rota.RoleWorker)
	case c.DataDir == "" && c.LogStore != StoreMemory:
		return invalid("log store %q needs a data directory; %q keeps nothing", c.LogStore, StoreMemory)
	case c.DataDir != "" && c.LogStore == StoreMemory:
		return invalid("log store %q keeps nothing, so it cannot go with data directory %s: leave one of the two out", StoreMemory, c.DataDir)
	case !slices.Contains([]string{StoreBolt, StoreWAL, StoreMemory}, c.LogStore):
		return invalid("log store %q is not known: choose %s or %s", c.LogStore, StoreBolt, StoreWAL)
	case c.HTTPAdvertise == "":
		return invalid("the node's HTTP address is missing: others reach it there")
	case c.BootstrapExpect < 0 || c.BootstrapExpect > 7:
		return invalid("--bootstrap-expect %d: 1, 3 or 5 servers found a cluster", c.BootstrapExpect)
	case c.BootstrapExpect > 0 && !c.server():
		return invalid("--bootstrap-expect is for servers, and this node is not one: drop it, or give it the role %s", rota.RoleServer)
	case c.InFlight < 1 || c.InFlight > 4:
		return invalid("%d entries in flight: choose 1 to 4", c.InFlight)
	case c.Queue < 1:
		return invalid("a queue of %d proposals holds none", c.Queue)
	}
	return nil
}

// advertised chooses the address that others are told: the given one, or the bound
// one where it names a host.
func advertised(what, given string, bound net.Addr) (string, error) {
	addr := given
	if addr == "" {
		addr = bound.String()
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%s address %q: %w", what, addr, err)
	}
	if _, boundPort, err := net.SplitHostPort(bound.String()); err == nil && port == "0" {
		port = boundPort
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return "", &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf(
			"%s listens on %s, which others cannot dial: say where they reach this node with --advertise HOST", what, addr)}
	}
	return net.JoinHostPort(host, port), nil
}
