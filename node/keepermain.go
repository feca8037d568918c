package node

import (
	"context"
	"sync"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent/exec"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/keeper"
)

// KeeperMain is the body of the hidden command `rota keeper`: a process of its own
// that outlives its agent.
func KeeperMain(ctx context.Context, args []string) error {
	cfg, err := keeper.ParseArgs(args)
	if err != nil {
		return err
	}
	r := &releaser{data: cfg.Data}
	r.peers = api.NewPeers(api.PeersConfig{Targets: r.targets, Credentials: r.credentials})
	defer r.peers.Close()
	cfg.Releaser = r
	cfg.Outcome = exec.KeptOutcome
	return keeper.Main(ctx, cfg)
}

// releaser is the keeper's own way to the servers, for when its agent is gone.
type releaser struct {
	data  string
	peers *api.Peers

	mu    sync.Mutex // guards addrs
	addrs []string
}

var (
	_ keeper.Releaser   = (*releaser)(nil)
	_ keeper.PeerSetter = (*releaser)(nil)
)

// SetPeers implements keeper.PeerSetter.
func (r *releaser) SetPeers(addrs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = addrs
}

func (r *releaser) targets() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addrs
}

// credentials reads the directory each time: the node may have joined its cluster
// after its keeper was started.
func (r *releaser) credentials() (string, []byte) {
	id, key, err := cluster.ReadCredentials(r.data)
	if err != nil {
		return "", nil // the servers refuse the call and say why
	}
	return id, key
}

// Release implements keeper.Releaser.
func (r *releaser) Release(ctx context.Context, s rota.Session, left bool, items []rota.ReportItem) error {
	return r.peers.Release(ctx, s, left, items)
}
