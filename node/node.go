package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/agent/exec"
	"github.com/rota-sched/rota/agent/noop"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/history"
	"github.com/rota-sched/rota/hostinfo"
	"github.com/rota-sched/rota/keeper"
	"github.com/rota-sched/rota/leader"
)

// evaluatedFiles bounds the job files that a leader keeps parsed.
const evaluatedFiles = 64

// leaveWithin bounds how long a planned stop waits for the cluster to hear of it.
const leaveWithin = 3 * time.Second

// Node is one opened node. Run runs it once; an opened node that is not run is
// closed with Close.
type Node struct {
	cfg     Config
	log     hclog.Logger
	door    net.Listener
	cluster *cluster.Cluster
	leader  *leader.Leader
	server  *api.Server
	peers   *api.Peers
	agent   *agent.Agent // nil without the role worker
	keeper  *keeperSide
	driver  *exec.Driver
	history *history.History // nil without a replica
	memory  *memory
	host    hostinfo.Facts
	hurry   chan struct{}
	done    chan struct{}
}

// Open claims the node's ports and data directory and wires its parts. Errors say
// what to do: a port in use, a directory of another node or cluster, settings that
// contradict each other.
func Open(ctx context.Context, cfg Config) (n *Node, err error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n = &Node{cfg: cfg, log: cfg.Logger.Named("node"), hurry: make(chan struct{}), done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.door, err = listen(ctx, cfg.HTTP); err != nil {
		return n, err
	}
	if cfg.Memory { // nobody else makes the directory
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return n, fmt.Errorf("make the node's directory: %w", err)
		}
	}
	if err := n.openCluster(); err != nil {
		return n, err
	}
	if n.host, err = look(ctx, &n.cfg, n.log); err != nil {
		return n, err
	}
	if cfg.hasRole(rota.RoleServer) {
		if err := n.openHistory(); err != nil {
			return n, err
		}
	}
	if n.leader, err = leader.New(leader.DefaultConfig(cfg.Times), leader.Deps{
		ID: n.cluster.ID(), State: n.cluster.Snapshot, Evaluator: leader.NewSpecs(evaluatedFiles), Replicas: n.replicas, Logger: cfg.Logger,
	}); err != nil {
		return n, err
	}
	if cfg.hasRole(rota.RoleWorker) {
		if err := n.openAgent(); err != nil {
			return n, err
		}
	}
	return n, n.openServer()
}

// listen opens the HTTP door.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(
			"the HTTP port %s is taken by another program, perhaps another node: stop it, or choose another port with --http", addr)}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s (change it with --http): %w", addr, err)
	}
	return l, nil
}

func (n *Node) openCluster() error {
	advertised, err := n.cfg.advertise(n.door.Addr())
	if err != nil {
		return err
	}
	n.peers = api.NewPeers(api.PeersConfig{
		Targets: func() []string { return targets(n.cluster) },
		Credentials: func() (string, []byte) {
			if n.cluster == nil {
				return "", nil
			}
			return n.cluster.Credentials()
		},
	})
	c := cluster.DefaultConfig()
	c.DataDir, c.Name, c.Roles, c.Logger = n.cfg.Data, n.cfg.Name, n.cfg.Roles, n.cfg.Logger
	c.HTTPAdvertise, c.RaftBind, c.GossipBind = advertised, n.cfg.Raft, n.cfg.Gossip
	c.RaftAdvertise, c.GossipAdvertise = n.cfg.advertised(n.cfg.Raft), n.cfg.advertised(n.cfg.Gossip)
	c.BootstrapExpect, c.Join, c.LogStore = n.cfg.BootstrapExpect, n.cfg.Join, n.cfg.LogStore
	n.memory = newMemory()
	c.LeaderTTL, c.Admit = n.cfg.Times.LeaderTTL, n.memory.admit
	if n.cfg.Memory {
		c.DataDir, c.LogStore = "", cluster.StoreMemory
	}
	c.Fatal = func(err error) {
		n.log.Error("the node must not go on", "error", err)
		if n.cfg.Fatal != nil {
			n.cfg.Fatal()
		}
	}
	n.cluster, err = cluster.Open(c, clusterPeers{n.peers})
	return err
}

func (n *Node) replicas() leader.Replicas {
	servers := n.cluster.Servers()
	r := leader.Replicas{IDs: make([]rota.NodeID, len(servers)), Format: ^uint16(0)}
	for i, s := range servers {
		r.IDs[i] = s.ID
		r.Format = min(r.Format, s.MaxFormat)
	}
	return r
}

func (n *Node) openAgent() error {
	layout := agent.Layout{Data: n.cfg.Data}
	n.keeper = newKeeperSide(keeper.StartConfig{
		Data: n.cfg.Data, Executable: n.cfg.Executable, Times: n.cfg.Times, Logger: n.cfg.Logger.Named("keeper"),
	}, func() []string { return targets(n.cluster) })
	d := exec.DefaultConfig()
	d.Layout, d.Logger = layout, n.cfg.Logger.Named("exec")
	d.Client = func() (*keeper.Client, error) {
		if c := n.keeper.Client(); c != nil {
			return c, nil
		}
		return nil, keeper.ErrGone
	}
	n.driver = exec.New(d)
	a := agent.DefaultConfig()
	a.Core.Node = rota.RegisterNode{Info: n.info(), Boot: n.host.BootID}
	a.Core.Times, a.Core.LeaveWithin = n.cfg.Times, leaveWithin
	a.Probe = layout.Probe
	a.Layout, a.Addr, a.Logger = layout, "http://"+n.door.Addr().String(), n.cfg.Logger
	a.Drivers = []agent.Driver{n.driver, noop.Driver{}}
	a.Peers, a.Keeper = agentPeers{n.peers}, n.keeper
	var err error
	n.agent, err = agent.New(a)
	return err
}

// info is what the node says of itself.
func (n *Node) info() rota.NodeInfo {
	addr, err := n.cfg.advertise(n.door.Addr())
	if err != nil {
		addr = n.door.Addr().String() // openCluster has refused what cannot be dialled
	}
	return rota.NodeInfo{
		ID: n.cluster.ID(), Name: n.cfg.Name, Roles: n.cfg.Roles, Address: addr, Pool: n.cfg.Pool,
		OS: n.host.OS, Arch: n.host.Arch, Kernel: n.host.Kernel, Version: n.cfg.Version, MaxFormat: fsm.DefaultLimits().MaxFormat,
		Drivers: []rota.Driver{rota.DriverExec, rota.DriverNoop}, Capabilities: n.cfg.Capabilities, Models: n.cfg.Models, Labels: n.cfg.Labels,
		Capacity: rota.Capacity{
			CPUMilli: n.host.CPUMilli, MemoryBytes: n.host.MemoryBytes, DiskBytes: n.host.DiskBytes, Slots: n.cfg.Slots, GPUs: n.cfg.GPUs,
		},
	}
}

// Close gives back what Open claimed, of a node that was not run.
func (n *Node) Close() error {
	var errs []error
	if n.door != nil {
		if err := n.door.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if n.keeper != nil {
		n.keeper.Close()
	}
	if n.cluster != nil {
		errs = append(errs, n.cluster.Close())
	}
	if n.peers != nil {
		n.peers.Close()
	}
	return errors.Join(errs...)
}

// hostname is the default name of a node.
func hostname() string {
	if h, err := os.Hostname(); err == nil && h != "" {
		return h
	}
	return "node"
}
