package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// submit is the submission of a run with one task; equal numbers are one request.
func submit(n int) rota.Command {
	return rota.Command{RequestID: fmt.Sprintf("request-%d", n), Namespace: "default", Principal: "test", Op: rota.SubmitRun{
		Run: runID(n), Job: "job", Hash: "hash", Filename: "job.hcl", Source: []byte("source"), Digest: "digest", Total: 1,
		Specs: []*rota.TaskSpec{{Driver: rota.DriverNoop, Retry: rota.Retry{MaxAttempts: 1}}},
		Tasks: []rota.NewTask{{Key: "task"}},
	}}
}

func runID(n int) rota.RunID { return rota.RunID(fmt.Sprintf("01ARZ3NDEK%014d00", n)) }

// mustSubmit proposes and asks the state machine to have taken it.
func mustSubmit(t *testing.T, c *clustertest.Cluster, node, n int) rota.Result {
	t.Helper()
	res := c.Propose(node, submit(n))
	if err := res.Err(); err != nil {
		t.Fatalf("submission %d was refused: %v", n, err)
	}
	return res
}

// wantRuns asks that every replica that runs has the runs.
func wantRuns(t *testing.T, c *clustertest.Cluster, nodes []int, runs ...int) {
	t.Helper()
	for _, i := range nodes {
		s := c.Node(i).Snapshot()
		if s == nil {
			t.Fatalf("node %d has no replica", i)
		}
		for _, n := range runs {
			if _, ok := s.Run(runID(n)); !ok {
				t.Errorf("node %d does not have run %d", i, n)
			}
		}
	}
}

// wire carries calls between nodes with real sockets for Raft and gossip; the HTTP
// calls go straight to the handlers.
type wire struct {
	mu    sync.Mutex // guards what follows
	doors map[string]*cluster.Cluster
}

func (w *wire) at(addr string) (*cluster.Cluster, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.doors[addr]; c != nil {
		return c, nil
	}
	return nil, errors.New("connection refused")
}

func (w *wire) set(addr string, c *cluster.Cluster) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doors[addr] = c
}

func (w *wire) Probe(ctx context.Context, addr string) (cluster.ProbeReply, error) {
	c, err := w.at(addr)
	if err != nil {
		return cluster.ProbeReply{}, err
	}
	return c.HandleProbe(ctx)
}

func (w *wire) Join(ctx context.Context, addr string, req cluster.JoinRequest) (cluster.JoinReply, error) {
	c, err := w.at(addr)
	if err != nil {
		return cluster.JoinReply{}, err
	}
	return c.HandleJoin(ctx, req)
}

func (w *wire) Accept(ctx context.Context, addr string, req cluster.AcceptRequest) (cluster.AcceptReply, error) {
	c, err := w.at(addr)
	if err != nil {
		return cluster.AcceptReply{}, err
	}
	return c.HandleAccept(ctx, req)
}

func (w *wire) Forward(ctx context.Context, addr string, body []byte) ([]byte, error) {
	c, err := w.at(addr)
	if err != nil {
		return nil, err
	}
	return c.HandleForward(ctx, body)
}

// realNode is a node with real sockets and files.
type realNode struct {
	*cluster.Cluster
	cfg    cluster.Config
	cancel context.CancelFunc
	done   chan error
}

// realConfig is a node's configuration on the loopback, with free ports.
func realConfig(tb testing.TB, i int) cluster.Config {
	tb.Helper()
	cfg := cluster.DefaultConfig()
	cfg.DataDir, cfg.Name = tb.TempDir(), fmt.Sprintf("n%d", i+1)
	cfg.HTTPAdvertise = fmt.Sprintf("door-%d", i+1)
	cfg.RaftBind, cfg.GossipBind = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: tb.Output()})
	cfg.Seams.GossipConfig = func(m *memberlist.Config) {
		m.ProbeInterval, m.ProbeTimeout, m.GossipInterval = 200*time.Millisecond, 100*time.Millisecond, 20*time.Millisecond
	}
	return cfg
}

func startReal(tb testing.TB, w *wire, cfg cluster.Config) *realNode {
	tb.Helper()
	c, err := cluster.Open(cfg, w)
	if err != nil {
		tb.Fatal(err)
	}
	w.set(cfg.HTTPAdvertise, c)
	ctx, cancel := context.WithCancel(tb.Context())
	n := &realNode{Cluster: c, cfg: cfg, cancel: cancel, done: make(chan error, 1)}
	go func() { n.done <- c.Run(ctx) }()
	tb.Cleanup(func() { n.stop(tb) })
	return n
}

func (n *realNode) stop(tb testing.TB) {
	tb.Helper()
	n.cancel()
	select {
	case err, ok := <-n.done:
		if ok && err != nil {
			tb.Logf("node %s ended with: %v", n.cfg.Name, err)
		}
		if ok {
			close(n.done)
		}
	case <-time.After(30 * time.Second):
		tb.Fatalf("node %s does not stop", n.cfg.Name)
	}
}

// waitReal waits for a condition in real time.
func waitReal(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func realLeader(tb testing.TB, nodes []*realNode) int {
	tb.Helper()
	leader := -1
	waitReal(tb, "a leader", func() bool {
		for i, n := range nodes {
			if n.Status().Leads {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// startThree starts three nodes that found a cluster.
func startThree(tb testing.TB, w *wire, change func(*cluster.Config)) []*realNode {
	tb.Helper()
	nodes := make([]*realNode, 3)
	for i := range nodes {
		cfg := realConfig(tb, i)
		cfg.BootstrapExpect, cfg.Join = 3, []string{"door-1", "door-2", "door-3"}
		if change != nil {
			change(&cfg)
		}
		nodes[i] = startReal(tb, w, cfg)
	}
	return nodes
}

func newWire() *wire { return &wire{doors: map[string]*cluster.Cluster{}} }

// sameAddresses pins the ports a node got, for its next start.
func sameAddresses(tb testing.TB, cfg cluster.Config, c *cluster.Cluster) cluster.Config {
	tb.Helper()
	reply, err := c.HandleProbe(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	cfg.RaftBind, cfg.GossipBind = reply.Raft, reply.Gossip
	if _, _, err := net.SplitHostPort(reply.Raft); err != nil {
		tb.Fatal(err)
	}
	return cfg
}
