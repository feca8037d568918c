package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
)

// proposers at the same time; the limit beside each is one fdatasync after another.
var proposers = []int{1, 16, 256}

// ops measures the log alone.
func ops() *measure {
	m := &measure{
		name: "ops", short: "Small durable operations through the log", within: 3 * time.Minute,
		how: "three servers in this process, each with its own log on disk, Raft over loopback TCP, and its own state machine; so many callers " +
			"at the leader propose an operation that is refused when applied (cancel a run that does not exist), each the next one after the answer; " +
			"no HTTP and no scheduler in it. Latency is from proposal to answer",
		once: opsOnce,
	}
	for _, n := range proposers {
		m.lines = append(m.lines,
			line{name: opsName(n, "ops"), unit: "ops/s", more: true, limit: limitSync},
			line{name: opsName(n, "ops p50"), unit: "ms", limit: limitSyncTime},
			line{name: opsName(n, "ops p99"), unit: "ms", limit: limitSyncTime})
	}
	return m
}

func opsName(proposers int, what string) string {
	if proposers == 1 {
		return what + ", 1 caller"
	}
	return fmt.Sprintf("%s, %d callers", what, proposers)
}

func opsOnce(ctx context.Context, s *settings) (out map[string][]float64, err error) {
	t, err := openTrio(ctx, s, func(*cluster.Config) {})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	leader, err := t.leader(ctx)
	if err != nil {
		return nil, err
	}
	out = map[string][]float64{}
	for _, n := range proposers {
		times, took, err := propose(ctx, leader, n, s.span)
		if err != nil {
			return nil, err
		}
		out[opsName(n, "ops")] = []float64{rate(len(times), took)}
		out[opsName(n, "ops p50")] = []float64{percentile(times, 50)}
		out[opsName(n, "ops p99")] = []float64{percentile(times, 99)}
	}
	return out, nil
}

// propose has so many callers propose for a while; the times are milliseconds.
func propose(ctx context.Context, c *cluster.Cluster, callers int, span time.Duration) ([]float64, time.Duration, error) {
	cmd := rota.Command{Namespace: "default", Op: rota.CancelRun{Run: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}}
	var all samples
	began := time.Now()
	err := together(callers, func(int) error {
		var mine []float64
		defer func() { all.add(mine...) }()
		for time.Since(began) < span {
			one := time.Now()
			res, err := c.Propose(ctx, cmd)
			if err != nil {
				return fmt.Errorf("propose: %w", err)
			}
			if res.Kind != rota.KindNotFound || res.Index == 0 {
				return fmt.Errorf("propose: the answer is %v at index %d, not that there is no such run", res.Kind, res.Index)
			}
			mine = append(mine, millis(time.Since(one)))
		}
		return nil
	})
	return all.values, time.Since(began), err
}

// nodeGC is the collector's setting of a small node (node/memory.go).
const nodeGC = 200

// trio is three servers in this process.
type trio struct {
	dir     string
	configs []cluster.Config
	doors   *direct
	nodes   []*cluster.Cluster
	runs    []*running // nil: stopped
}

type running struct {
	cancel context.CancelFunc
	ended  chan error
}

// openTrio starts them; after an error nothing is left.
func openTrio(ctx context.Context, s *settings, tune func(*cluster.Config)) (t *trio, err error) {
	dir, err := os.MkdirTemp(s.parent, "rota-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the servers: %w", err)
	}
	debug.SetGCPercent(nodeGC)
	t = &trio{dir: dir, doors: &direct{}}
	names := []string{"n1", "n2", "n3"}
	for _, name := range names {
		cfg := cluster.DefaultConfig()
		cfg.DataDir, cfg.Name, cfg.LogStore = filepath.Join(dir, name), name, s.logStore
		cfg.HTTPAdvertise, cfg.Join, cfg.BootstrapExpect = name, names, len(names)
		cfg.RaftBind, cfg.GossipBind = "127.0.0.1:0", "127.0.0.1:0"
		tune(&cfg)
		t.configs = append(t.configs, cfg)
	}
	t.nodes, t.runs = make([]*cluster.Cluster, len(names)), make([]*running, len(names))
	for i := range names {
		if err := t.open(ctx, i); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	return t, nil
}

// open opens a server and runs it.
func (t *trio) open(ctx context.Context, i int) error {
	c, err := cluster.Open(t.configs[i], t.doors)
	if err != nil {
		return fmt.Errorf("open server %s: %w", t.configs[i].Name, err)
	}
	t.doors.put(t.configs[i].Name, c)
	at, err := c.HandleProbe(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("ask server %s where it listens: %w", t.configs[i].Name, err), c.Close())
	}
	t.configs[i].RaftBind, t.configs[i].GossipBind = at.Raft, at.Gossip // again there, when it is opened again
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- c.Run(ctx) }() // ends in stop
	t.nodes[i], t.runs[i] = c, r
	return nil
}

// stop ends a server, if it runs.
func (t *trio) stop(i int) error {
	r := t.runs[i]
	if r == nil {
		return nil
	}
	t.runs[i] = nil
	r.cancel()
	return <-r.ended
}

// dirs are the servers' directories.
func (t *trio) dirs() []string {
	var out []string
	for i := range t.configs {
		out = append(out, t.configs[i].DataDir)
	}
	return out
}

// leader waits for the server that leads.
func (t *trio) leader(ctx context.Context) (*cluster.Cluster, error) {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		for _, c := range t.nodes {
			if id, _, ok := c.Leader(); ok && id == c.ID() && c.Ready() == nil {
				return c, nil
			}
		}
		for _, r := range t.runs {
			select {
			case err := <-r.ended:
				r.ended <- err // for stop
				return nil, fmt.Errorf("a server ended early: %w", err)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a leader: %w", ctx.Err())
		case <-look.C:
		}
	}
}

// close ends the servers and removes what they kept.
func (t *trio) close() error {
	for _, r := range t.runs {
		if r != nil {
			r.cancel()
		}
	}
	var errs []error
	for i := range t.runs {
		errs = append(errs, t.stop(i))
	}
	return errors.Join(append(errs, os.RemoveAll(t.dir))...)
}

// direct carries calls between servers of one process, by their names.
type direct struct{ servers sync.Map } // *cluster.Cluster by name

var _ cluster.Peers = &direct{}

func (d *direct) put(name string, c *cluster.Cluster) { d.servers.Store(name, c) }

func (d *direct) to(addr string) (*cluster.Cluster, error) {
	if c, ok := d.servers.Load(addr); ok {
		return c.(*cluster.Cluster), nil //nolint:forcetypeassert // put stores nothing else
	}
	return nil, fmt.Errorf("no server %q", addr)
}

// Probe implements cluster.Peers.
func (d *direct) Probe(ctx context.Context, addr string) (cluster.ProbeReply, error) {
	c, err := d.to(addr)
	if err != nil {
		return cluster.ProbeReply{}, err
	}
	return c.HandleProbe(ctx)
}

// Join implements cluster.Peers.
func (d *direct) Join(ctx context.Context, addr string, req cluster.JoinRequest) (cluster.JoinReply, error) {
	c, err := d.to(addr)
	if err != nil {
		return cluster.JoinReply{}, err
	}
	return c.HandleJoin(ctx, req)
}

// Accept implements cluster.Peers.
func (d *direct) Accept(ctx context.Context, addr string, req cluster.AcceptRequest) (cluster.AcceptReply, error) {
	c, err := d.to(addr)
	if err != nil {
		return cluster.AcceptReply{}, err
	}
	return c.HandleAccept(ctx, req)
}

// Forward implements cluster.Peers.
func (d *direct) Forward(ctx context.Context, addr string, body []byte) ([]byte, error) {
	c, err := d.to(addr)
	if err != nil {
		return nil, err
	}
	return c.HandleForward(ctx, body)
}
