package clustertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
)

// Options shape a test's cluster; the zero Options are three servers in memory
// that found it together.
type Options struct {
	Latency time.Duration // of a hop
	Log     hclog.Level   // of what the nodes say; zero: nothing
	// Config may change a node's configuration before it is opened.
	Config func(i int, cfg *cluster.Config)
	// Open is called with every node before it runs, also at restarts.
	Open func(i int, c *cluster.Cluster)
	// Disk keeps the logs in files, in the log store that Config names.
	Disk bool
}

// Cluster is the nodes of a test, by number.
type Cluster struct {
	Net  *Network
	t    testing.TB
	opts Options
	log  hclog.Logger

	mu      sync.Mutex // guards what follows
	nodes   map[int]*node
	quarrel bool
}

type node struct {
	dir    string
	stores cluster.Stores
	expect int
	join   []string
	shift  int // of its addresses
	misled bool
	c      *cluster.Cluster
	cancel context.CancelFunc
	done   chan error
}

// New starts n servers that found a cluster together. They are stopped with the
// test.
func New(tb testing.TB, n int, opts Options) *Cluster {
	tb.Helper()
	c := Empty(tb, opts)
	for i := range n {
		c.Add(i, n)
	}
	return c
}

// Empty is a network without nodes.
func Empty(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	out := io.Discard
	if opts.Log != hclog.NoLevel {
		out = tb.Output()
	}
	log := hclog.New(&hclog.LoggerOptions{Level: opts.Log, Output: out, TimeFn: time.Now})
	c := &Cluster{Net: NewNetwork(opts.Latency), t: tb, opts: opts, nodes: map[int]*node{}, log: log}
	tb.Cleanup(c.StopAll)
	return c
}

// HTTP is a node's HTTP address at its first start.
func HTTP(i int) string { return fmt.Sprintf("10.0.0.%d:8420", i+1) }

// Name is a node's name.
func Name(i int) string { return fmt.Sprintf("n%d", i+1) }

// ID is a node's ID: they sort as the numbers do.
func ID(i int) rota.NodeID { return rota.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1)) }

// Add starts a new node: with expect it founds a cluster with the others, without
// it joins theirs.
func (c *Cluster) Add(i, expect int) {
	c.t.Helper()
	n := &node{dir: c.t.TempDir(), expect: expect}
	for j := range max(expect, 3) {
		n.join = append(n.join, HTTP(j))
	}
	if expect == 1 {
		n.join = nil
	}
	c.mu.Lock()
	c.nodes[i] = n
	c.mu.Unlock()
	if err := c.Start(i); err != nil {
		c.t.Fatalf("start node %d: %v", i, err)
	}
}

// Start starts a node that was added, and killed or stopped since.
func (c *Cluster) Start(i int) error {
	n := c.node(i)
	cfg := cluster.DefaultConfig()
	host := func(port int) string { return fmt.Sprintf("10.0.%d.%d:%d", n.shift, i+1, port) }
	cfg.DataDir, cfg.ID, cfg.Name, cfg.Logger = n.dir, ID(i), Name(i), c.log.Named(Name(i))
	cfg.HTTPAdvertise, cfg.RaftBind, cfg.RaftAdvertise, cfg.GossipBind, cfg.GossipAdvertise = host(8420), host(8421), host(8421), host(8422), host(8422)
	cfg.BootstrapExpect, cfg.Join = n.expect, n.join
	began := time.Now()
	cfg.Seams = cluster.Seams{
		ListenRaft: c.Net.Listen,
		DialRaft:   c.dialer(i, host(8421)),
		Boot:       func() time.Duration { return time.Since(began) + time.Hour },
	}
	if !c.opts.Disk {
		cfg.Seams.Stores = func() (cluster.Stores, error) { return n.memory(), nil }
	}
	if c.opts.Config != nil {
		c.opts.Config(i, &cfg)
	}
	c.Net.claim(i, cfg.HTTPAdvertise, cfg.RaftAdvertise, cfg.GossipAdvertise)
	cfg.Seams.Gossip = c.Net.Gossip(i, cfg.GossipAdvertise)
	opened, err := cluster.Open(cfg, peers{c, i})
	if err != nil {
		return err
	}
	if c.opts.Open != nil {
		c.opts.Open(i, opened)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	c.mu.Lock()
	n.c, n.cancel, n.done = opened, cancel, done
	c.mu.Unlock()
	go func() { done <- opened.Run(ctx) }()
	return nil
}

// Move gives a stopped node other addresses for its next start.
func (c *Cluster) Move(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].shift++
}

// Retarget has a node ask others, where they are now, at its next start.
func (c *Cluster) Retarget(i int, others ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[i]
	n.join = nil
	for _, j := range others {
		n.join = append(n.join, fmt.Sprintf("10.0.%d.%d:8420", c.nodes[j].shift, j+1))
	}
}

// Mislead has all others show a node digests of their states that are not its own,
// as if its state had diverged.
func (c *Cluster) Mislead(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].misled = true
}

// Quarrel has every node show the others a digest of its state that no other has, as
// if all had diverged, or ends that.
func (c *Cluster) Quarrel(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quarrel = on
}

func (c *Cluster) quarrels() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quarrel
}

func (c *Cluster) misled(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].misled
}

// OnOpen is Options.Open for nodes started from now on.
func (c *Cluster) OnOpen(f func(int, *cluster.Cluster)) { c.opts.Open = f }

// Log writes to the test's log.
func (c *Cluster) Log(words string) { c.t.Log(words) }

// Buried notes that a node's Run has ended by itself, once its error was read from
// Done.
func (c *Cluster) Buried(i int) {
	n := c.node(i)
	c.mu.Lock()
	defer c.mu.Unlock()
	n.c, n.cancel = nil, nil
}

// memory is a log that survives the death of its node.
func (n *node) memory() cluster.Stores {
	if n.stores.Log == nil {
		mem := raft.NewInmemStore()
		n.stores = cluster.Stores{Log: mem, Stable: mem, Snapshots: raft.NewInmemSnapshotStore(), Mark: new(memoryFile), Close: func() error { return nil }}
	}
	return n.stores
}

func (c *Cluster) node(i int) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.nodes[i]
	if !ok {
		c.t.Fatalf("there is no node %d", i)
	}
	return n
}

// Node is a running node; nil if it is dead.
func (c *Cluster) Node(i int) *cluster.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.nodes[i]; ok {
		return n.c
	}
	return nil
}

// door is the node that answers at an HTTP address; nil: nobody does.
func (c *Cluster) door(i int, addr string) *cluster.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.nodes[i]
	if !ok || n.c == nil || addr != fmt.Sprintf("10.0.%d.%d:8420", n.shift, i+1) {
		return nil
	}
	return n.c
}

// Kill ends a node as SIGKILL would: nobody hears from it again, and it keeps what
// it had stored.
func (c *Cluster) Kill(i int) {
	n := c.node(i)
	c.mu.Lock()
	cancel, done := n.cancel, n.done
	n.c, n.cancel = nil, nil
	c.mu.Unlock()
	if cancel == nil {
		return
	}
	c.Net.silence(i, true)
	c.Net.drop(i)
	cancel()
	if err := <-done; err != nil {
		c.t.Logf("node %d ended with: %v", i, err)
	}
	c.Net.silence(i, false)
}

func (c *Cluster) numbers() map[int]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[int]struct{}, len(c.nodes))
	for i := range c.nodes {
		all[i] = struct{}{}
	}
	return all
}

// Done gives the error with which a node's Run ended; it waits for that.
func (c *Cluster) Done(i int) <-chan error { return c.node(i).done }

// Restart kills a node and starts it again.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.Kill(i)
	if err := c.Start(i); err != nil {
		c.t.Fatalf("restart node %d: %v", i, err)
	}
}

// StopAll kills every node. In a bubble it lets time go on until what gossip had
// under way has run into its own timeouts: a bubble must end without goroutines.
func (c *Cluster) StopAll() {
	for i := range c.numbers() {
		c.Kill(i)
	}
	if inBubble() {
		time.Sleep(settle)
	}
}

// settle is longer than any timeout of gossip's. (memberlist, DefaultLANConfig: 10 s
// for TCP.)
const settle = 30 * time.Second

// inBubble reports whether time is virtual: a bubble's begins with the year 2000.
func inBubble() bool { return time.Now().Year() < 2010 }

// Partition cuts every line between the groups; what is in no group stays as it is.
func (c *Cluster) Partition(groups ...[]int) {
	for g, these := range groups {
		for h, those := range groups {
			if g == h {
				continue
			}
			for _, i := range these {
				for _, j := range those {
					c.Net.Cut(i, j)
				}
			}
		}
	}
}

// Isolate cuts a node off from all others.
func (c *Cluster) Isolate(i int) {
	for j := range c.numbers() {
		if j != i {
			c.Net.Cut(i, j)
			c.Net.Cut(j, i)
		}
	}
}

// Heal mends every line.
func (c *Cluster) Heal() { c.Net.Heal() }

func (c *Cluster) dialer(i int, from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) { return c.Net.Dial(ctx, i, from, to) }
}
