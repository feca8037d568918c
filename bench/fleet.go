package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/agent/noop"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// Sizes of fleet.
const (
	fleetNodes = 1000
	fleetSlots = 32 // of each
	fleetRuns  = 10 // of MaxTasksPerRun tasks
)

// Lines of fleet.
const (
	fleetJoined  = "all nodes registered"
	fleetCPU     = "leader's CPU, nodes idle"
	fleetMemory  = "leader's memory, nodes idle"
	fleetRenew50 = "renewal p50"
	fleetRenew99 = "renewal p99"
	fleetPlaced  = "placed, run and delivered"
	fleetStart50 = "submit to start p50, 100/s"
	fleetStart99 = "submit to start p99, 100/s"
)

// fleet measures one leader with a thousand nodes.
func fleet() *measure {
	return &measure{
		name: "fleet", short: "A thousand simulated nodes and 100,000 tasks", within: 8 * time.Minute, alone: true,
		lines: []line{
			{name: fleetJoined, unit: "s"},
			{name: fleetCPU, unit: "% of a core"},
			{name: fleetMemory, unit: "MB"},
			{name: fleetRenew50, unit: "ms", limit: limitHTTPTime},
			{name: fleetRenew99, unit: "ms", limit: limitHTTPTime},
			{name: fleetPlaced, unit: "tasks/s", more: true, limit: limitSync},
			{name: fleetStart50, unit: "ms"},
			{name: fleetStart99, unit: "ms"},
		},
		how: fmt.Sprintf("three nodes as processes, drained, and %d agents in this process: the shipped agent with its lease, stream and reports over HTTP, with the no-op driver and a keeper that holds nothing, %d slots each. "+
			"Idle: CPU time and RssAnon of the node that leads while nothing runs, and the time of each renewal as an agent sees it. Then %d runs of %d no-op tasks, from sending the first to hearing that the last has ended. "+
			"Then runs of one task at fixed moments, 100 a second: from created_at to started_at. The agents take part of the same cores", fleetNodes, fleetSlots, fleetRuns, rota.MaxTasksPerRun),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error {
				if err := w.drainAll(ctx, ""); err != nil {
					return err
				}
				began := time.Now()
				f, err := w.muster(ctx)
				if err != nil {
					return err
				}
				err = w.withFleet(ctx, s, f, began, out)
				return errors.Join(err, f.stop())
			})
			return out, err
		},
	}
}

// withFleet measures once the agents are on their way.
func (w *world) withFleet(ctx context.Context, s *settings, f *muster, began time.Time, out map[string][]float64) error {
	if err := w.present(ctx, fleetNodes); err != nil {
		return err
	}
	out[fleetJoined] = []float64{time.Since(began).Seconds()}
	s.note("fleet: %d nodes are there", fleetNodes)
	if err := w.fleetIdle(ctx, s, f, out); err != nil {
		return err
	}
	speed, err := w.fleetDrain(ctx)
	if err != nil {
		return err
	}
	out[fleetPlaced] = []float64{speed}
	s.note("fleet: %d tasks have ended", fleetRuns*rota.MaxTasksPerRun)
	started, _, err := w.submitSteadily(ctx, s.span, oneNoop)
	out[fleetStart50], out[fleetStart99] = []float64{percentile(started, 50)}, []float64{percentile(started, 99)}
	return err
}

func (w *world) fleetIdle(ctx context.Context, s *settings, f *muster, out map[string][]float64) error {
	leader, err := w.Node(w.leader)
	if err != nil {
		return err
	}
	if err := rest(ctx, 2*time.Second); err != nil { // registrations are over
		return err
	}
	before, err := cpuTime(leader.PID())
	if err != nil {
		return err
	}
	f.renewals.forget()
	began := time.Now()
	if err := rest(ctx, max(s.span, 5*time.Second)); err != nil {
		return err
	}
	after, err := cpuTime(leader.PID())
	if err != nil {
		return err
	}
	out[fleetCPU] = []float64{100 * (after - before).Seconds() / time.Since(began).Seconds()}
	held, err := anonymous(leader.PID())
	if err != nil {
		return err
	}
	out[fleetMemory] = []float64{float64(held) / mega}
	times := f.renewals.forget()
	out[fleetRenew50], out[fleetRenew99] = []float64{percentile(times, 50)}, []float64{percentile(times, 99)}
	return nil
}

func (w *world) fleetDrain(ctx context.Context) (float64, error) {
	began := time.Now()
	var ids []rota.RunID
	for range fleetRuns {
		run, err := start(ctx, w.client, manyNoops(100, rota.MaxTasksPerRun/100))
		if err != nil {
			return 0, err
		}
		ids = append(ids, run.ID)
	}
	for _, id := range ids {
		if err := succeed(ctx, w.client, id); err != nil {
			return 0, err
		}
	}
	return rate(fleetRuns*rota.MaxTasksPerRun, time.Since(began)), nil
}

// present waits until so many nodes are ready beside the three.
func (w *world) present(ctx context.Context, count int) error {
	for {
		s, err := w.client.Status(ctx)
		if err != nil {
			return fmt.Errorf("count the nodes: %w", err)
		}
		if s.Nodes.Ready >= count {
			return nil
		}
		if err := localcluster.Pause(ctx); err != nil {
			return fmt.Errorf("wait for %d nodes, %v are there: %w", count, s.Nodes, err)
		}
	}
}

// muster is the simulated nodes.
type muster struct {
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	peers    *api.Peers
	dir      string
	renewals samples
}

// muster starts the agents; stop ends them.
func (w *world) muster(ctx context.Context) (*muster, error) {
	id, key, err := w.credentials()
	if err != nil {
		return nil, err
	}
	leader, err := w.Node(w.leader)
	if err != nil {
		return nil, err
	}
	targets := []string{host(leader.Address())}
	for _, n := range w.Nodes() {
		if n != leader {
			targets = append(targets, host(n.Address()))
		}
	}
	f := &muster{peers: api.NewPeers(api.PeersConfig{
		Targets:     func() []string { return targets },
		Credentials: func() (string, []byte) { return id, key },
	})}
	if f.dir, err = os.MkdirTemp("", "rota-bench-fleet-"); err != nil {
		return nil, fmt.Errorf("make a directory for the agents: %w", err)
	}
	ctx, f.cancel = context.WithCancel(ctx)
	for i := range fleetNodes {
		a, err := agent.New(f.config(i))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make an agent: %w", err), f.stop())
		}
		f.wg.Go(func() { _ = a.Run(ctx) }) // it ends with the context
	}
	return f, nil
}

func (f *muster) stop() error {
	f.cancel()
	f.wg.Wait()
	f.peers.Close()
	return os.RemoveAll(f.dir)
}

// config is that of the i-th simulated node.
func (f *muster) config(i int) agent.Config {
	c := agent.DefaultConfig()
	c.Core.Node = rota.RegisterNode{Boot: "bench", Info: rota.NodeInfo{
		ID: rota.NodeID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i)), Name: fmt.Sprintf("sim-%04d", i), Roles: []rota.Role{rota.RoleWorker},
		Address: "127.0.0.1:1", OS: "linux", Arch: "amd64", MaxFormat: ^uint16(0), Drivers: []rota.Driver{rota.DriverNoop},
		Containment: "none", Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 16 << 30, DiskBytes: 100 << 30, Slots: fleetSlots},
	}}
	c.Addr, c.Layout = "http://127.0.0.1:1", agent.Layout{Data: filepath.Join(f.dir, fmt.Sprint(i))}
	c.Drivers, c.Starters = []agent.Driver{noop.Driver{}}, 1
	c.Peers, c.Keeper = timed{f.peers, &f.renewals}, &idleKeeper{boot: "bench", id: fmt.Sprint(i), events: make(chan agent.KeeperEvent)}
	return c
}

// timed is the shipped way to the cluster, and how long renewals took on it.
type timed struct {
	*api.Peers
	renewals *samples
}

var _ agent.Peers = timed{}

// Renew implements agent.Peers.
func (t timed) Renew(ctx context.Context, s rota.Session) (rota.Renewal, error) {
	began := time.Now()
	r, err := t.Peers.Renew(ctx, s)
	if err == nil {
		t.renewals.add(millis(time.Since(began)))
	}
	return r, err
}

// Stream implements agent.Peers.
func (t timed) Stream(ctx context.Context, s rota.Session, incarnation uint16, index uint64) (agent.ViewStream, error) {
	v, err := t.Peers.Stream(ctx, s, incarnation, index)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// idleKeeper holds nothing: no-op attempts have no process.
type idleKeeper struct {
	boot, id string
	events   chan agent.KeeperEvent
}

var _ agent.Keeper = &idleKeeper{}

// Hello implements agent.Keeper.
func (k *idleKeeper) Hello(context.Context) (agent.Kept, error) {
	return agent.Kept{ID: k.id, Boot: k.boot, Containment: "none"}, nil
}

// Extend implements agent.Keeper.
func (k *idleKeeper) Extend(context.Context, agent.Lease) error { return nil }

// Ack implements agent.Keeper.
func (k *idleKeeper) Ack(context.Context, []agent.Ref) error { return nil }

// Leave implements agent.Keeper.
func (k *idleKeeper) Leave(context.Context) error { return nil }

// Kill implements agent.Keeper.
func (k *idleKeeper) Kill() error { return nil }

// Events implements agent.Keeper.
func (k *idleKeeper) Events() <-chan agent.KeeperEvent { return k.events }

// credentials are what a node proves that it belongs to the cluster with.
func (w *world) credentials() (id string, key []byte, err error) {
	b, err := os.ReadFile(filepath.Join(w.Dir(), w.leader, "cluster.json"))
	if err != nil {
		return "", nil, fmt.Errorf("read the cluster's key: %w", err)
	}
	var m struct {
		ClusterID string `json:"cluster_id"`
		Key       []byte `json:"key"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return "", nil, fmt.Errorf("read the cluster's key: %w", err)
	}
	return m.ClusterID, m.Key, nil
}

// host is an address without its scheme.
func host(address string) string { return strings.TrimPrefix(address, "http://") }
