package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// stopTimeout bounds how long the end of Run waits for Raft.
const stopTimeout = 10 * time.Second

// Cluster is a node's part in the cluster.
type Cluster struct {
	cfg    Config
	log    hclog.Logger
	peers  Peers
	ident  *identity
	id     rota.NodeID
	raftAt string // advertised addresses
	gossAt string

	streams   *streams             // nil on a node without replica
	transport memberlist.Transport // gossip's
	stores    Stores
	ledger    *ledger
	ballot    *ballot
	watch     *watchdog
	replica   *replica // nil on a node without replica

	away    *queue // proposals on their way to another leader
	barrier barriers
	founder founding
	ears    ears
	contact contacts
	split   atomic.Pointer[string] // why no write is taken: nobody knows which replica is right
	member  atomic.Bool            // a committed configuration of the log named this node

	started  chan struct{} // closed when the node belongs to a cluster and takes part
	failed   chan struct{} // closed when it must not go on
	failure  error         // set before failed is closed
	failOnce sync.Once
	notReady atomic.Pointer[string]
	tasks    sync.WaitGroup // what Run started, but for Raft's own
	handed   time.Time      // when this node last gave the lead away for its disk; its reigns', one after the other

	mu        sync.Mutex // guards what follows
	running   bool
	raft      *raft.Raft
	gossip    *gossip
	reign     *reign
	leads     bool          // Raft's word
	shift     chan struct{} // closed and made anew when reign or leads changes
	committed time.Time     // proposal of this node's newest committed entry as leader
	hint      leaderHint
}

type leaderHint struct {
	id   rota.NodeID
	http string
	at   time.Time
	term uint64 // the newest that gossip told of then
	heir bool   // this node gave the lead to it
}

// Open locks the data directory, opens ports and log, and checks every entry.
// Nothing moves before Run. An error says what to do about it.
func Open(cfg Config, peers Peers) (*Cluster, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	fillSeams(&cfg.Seams)
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Logger, peers: peers,
		started: make(chan struct{}), failed: make(chan struct{}), shift: make(chan struct{}),
		away: newQueue(cfg.Queue),
	}
	c.setNotReady("this node has not started yet")
	c.contact.init()
	ident, err := openIdentity(cfg.DataDir, cfg.ID, cfg.Seams.NewID)
	if err != nil {
		return nil, err
	}
	c.ident, c.id = ident, ident.id
	if ident.mem != nil && ident.mem.Removed {
		return nil, errors.Join(errRemoved(cfg.DataDir), ident.close())
	}
	err = c.openPorts()
	if err == nil && cfg.server() {
		err = c.openServer()
	}
	if err != nil {
		return nil, errors.Join(err, c.release())
	}
	return c, nil
}

func fillSeams(s *Seams) {
	if s.ListenRaft == nil {
		s.ListenRaft = func(addr string) (net.Listener, error) {
			var l net.ListenConfig
			return l.Listen(context.Background(), "tcp", addr)
		}
	}
	if s.DialRaft == nil {
		s.DialRaft = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if s.Seed == nil {
		s.Seed = randomSeed
	}
	if s.Wall == nil {
		s.Wall = time.Now
	}
	if s.Boot == nil {
		s.Boot = bootTime
	}
	if s.NewKey == nil {
		s.NewKey = newKey
	}
	if s.NewID == nil {
		s.NewID = newID
	}
}

func (c *Cluster) openPorts() error {
	if c.cfg.server() {
		l, err := c.cfg.Seams.ListenRaft(c.cfg.RaftBind)
		if err != nil {
			return portError("Raft", "--raft", c.cfg.RaftBind, err)
		}
		c.streams = &streams{listener: l, dial: c.cfg.Seams.DialRaft, timeout: c.cfg.Timeouts.Raft, log: c.log.Named("raft")}
		if c.raftAt, err = advertised("Raft", c.cfg.RaftAdvertise, l.Addr()); err != nil {
			return err
		}
		c.streams.advertise = c.raftAt
	}
	if c.transport = c.cfg.Seams.Gossip; c.transport != nil {
		c.gossAt = c.cfg.GossipAdvertise
		return nil
	}
	t, bound, err := listenGossip(c.cfg.GossipBind, c.log.Named("gossip"))
	if err != nil {
		return portError("gossip", "--gossip", c.cfg.GossipBind, err)
	}
	c.transport = t
	c.gossAt, err = advertised("gossip", c.cfg.GossipAdvertise, bound)
	return err
}

func portError(what, flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "address already in use") {
		return &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(
			"the %s port %s is taken by another program, perhaps another node: stop it, or choose another port with %s", what, addr, flag)}
	}
	return fmt.Errorf("listen for %s on %s (change it with %s): %w", what, addr, flag, err)
}

// openServer opens the log, or puts it aside where it is not what was acknowledged.
func (c *Cluster) openServer() error {
	err := c.openLog()
	if !mustNotVote(err) {
		return err
	}
	err = errors.Join(err, c.closeLog())
	c.ledger, c.watch = nil, nil
	if err := c.quarantine(err); err != nil {
		return err
	}
	return c.openLog()
}

// openLog opens the stores and checks them.
func (c *Cluster) openLog() (err error) {
	if c.cfg.Seams.Stores != nil {
		c.stores, err = c.cfg.Seams.Stores()
	} else {
		c.stores, err = openStores(c.cfg.LogStore, c.cfg.DataDir, c.log)
	}
	if err != nil {
		return err
	}
	c.watch = newWatchdog(c.cfg.Timeouts.StoreSlow, c.cfg.Timeouts.StoreDead, c.onSlowStore, c.fail)
	c.watch.onFull = func(err error) {
		c.log.Error("the disk is full: this node stores nothing and does not lead until there is room", "directory", c.cfg.DataDir, "error", err)
	}
	c.ballot = newBallot(c.stores.Stable, c.watch, c.fail)
	c.replica = newReplica(c.fail, c.cfg.Seams.Boot)
	if mem := c.ident.mem; mem != nil && mem.Suspect != "" {
		return fmt.Errorf("%w: found while the node ran last: %s", ErrDamaged, mem.Suspect)
	}
	if err := checkVote(c.ballot); err != nil {
		return err
	}
	snaps, err := c.stores.Snapshots.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	c.member.Store(c.ident.mem != nil && c.ident.mem.Member)
	c.replica.onConfig = c.heedConfig
	m, err := openMark(c.stores.Mark, c.watch, c.fail)
	if err != nil {
		return err
	}
	c.ledger, err = openLedger(c.stores.Log, snaps, m, c.watch, c.fail)
	if err != nil {
		c.ledger = nil
		return errors.Join(err, m.close())
	}
	c.ledger.leads = c.raftLeads
	empty := c.ledger.end() == 0 && len(snaps) == 0
	switch {
	case !empty && c.ident.mem == nil && c.cfg.DataDir != "":
		return fmt.Errorf("data directory %s has a log, but %s is missing: copy that file from another node of the cluster", c.cfg.DataDir, clusterFile)
	case empty && c.ident.mem != nil && c.ident.mem.HadLog:
		return fmt.Errorf("%w: data directory %s had a log of cluster %s, and it is gone: a node that forgot its votes must not come back as the same", ErrLostEntries, c.cfg.DataDir, c.ident.mem.ClusterID)
	}
	return nil
}

// fail ends the node: Run returns the error, unless the process ends before.
func (c *Cluster) fail(err error) {
	c.failOnce.Do(func() {
		c.failure = err
		c.suspect(err)
		close(c.failed)
		c.log.Error("this node cannot go on", "error", err)
		if c.cfg.Fatal != nil {
			c.cfg.Fatal(err)
		}
	})
}

// Close gives back what Open took, for a Cluster that is never run.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		return errors.New("close a running cluster: end Run's context instead")
	}
	return c.release()
}

// closeLog gives back what openLog took.
func (c *Cluster) closeLog() error {
	var errs []error
	if c.ledger != nil {
		c.ledger.closed.Store(true)
		c.ballot.closed.Store(true)
		errs = append(errs, c.ledger.mark.close())
	}
	if c.watch != nil {
		c.watch.close()
	}
	if c.stores.Close != nil {
		errs = append(errs, c.stores.Close())
	}
	c.stores = Stores{}
	return errors.Join(errs...)
}

func (c *Cluster) release() error {
	errs := []error{c.closeLog()}
	if c.streams != nil {
		errs = append(errs, c.streams.Close())
	}
	if c.transport != nil {
		errs = append(errs, c.transport.Shutdown())
	}
	return errors.Join(append(errs, c.ident.close())...)
}

// OnApply registers a function that hears of everything applied on this node, in
// log order, on the applying goroutine: it must not block, and must not call back.
// Only before Run.
func (c *Cluster) OnApply(f func(rota.Applied)) {
	if c.replica != nil {
		c.replica.onApply = append(c.replica.onApply, f)
	}
}

// OnRestore registers a function that hears when the state jumped to a snapshot
// that the leader sent, or that the node began with. As OnApply otherwise.
func (c *Cluster) OnRestore(f func(incarnation uint16, index uint64)) {
	if c.replica != nil {
		c.replica.onRestore = append(c.replica.onRestore, f)
	}
}

// OnMember registers a function that hears gossip's news until cancel; it must not
// block.
func (c *Cluster) OnMember(f func(Member)) (cancel func()) { return c.ears.add(f) }

// ID is the node's identity.
func (c *Cluster) ID() rota.NodeID { return c.id }

// Started is closed once the node takes part in a cluster.
func (c *Cluster) Started() <-chan struct{} { return c.started }

// Snapshot is the newest state applied on this node; nil if it holds no replica.
func (c *Cluster) Snapshot() *fsm.Snapshot {
	if c.replica == nil || !c.holdsReplica() {
		return nil
	}
	return c.replica.snapshot()
}

// holdsReplica reports whether the log's configuration names this node.
func (c *Cluster) holdsReplica() bool {
	if c.ledger == nil {
		return false
	}
	_, config := c.ledger.configuration()
	return holds(config, c.id)
}

// Await waits until this node has applied the entry of the index.
func (c *Cluster) Await(ctx context.Context, index uint64) error {
	if c.replica == nil {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node holds no replica of the state"}
	}
	return c.replica.await(ctx, index)
}

func (c *Cluster) setNotReady(words string) {
	if words == "" {
		c.notReady.Store(nil)
		return
	}
	c.notReady.Store(&words)
}

// Ready says why the node cannot serve; nil if it can.
func (c *Cluster) Ready() error {
	if words := c.notReady.Load(); words != nil {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: *words}
	}
	if words := c.split.Load(); words != nil {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: *words}
	}
	if words := c.quarantined(); words != "" {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: words}
	}
	if _, _, ok := c.Leader(); !ok {
		return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "no node leads the cluster at this moment"}
	}
	return nil
}

func (c *Cluster) gossiping() *gossip {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gossip
}

func (c *Cluster) rafting() *raft.Raft {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raft
}

func (c *Cluster) raftLeads() bool {
	r := c.rafting()
	return r != nil && r.State() == raft.Leader
}
