package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

const (
	maxAppendEntries = 16 // entries of up to 128 KiB in one message to a follower
	maxPooled        = 3
	saveEvery        = 5 * time.Second // the addresses of other nodes
	seedsKept        = 16
)

// Run takes part in the cluster until ctx ends or the node must not go on. It
// founds or joins one first where the data directory belongs to none.
func (c *Cluster) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return errors.New("run a cluster twice")
	}
	c.running = true
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := c.take(ctx)
	cancel()
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	select {
	case <-c.failed:
		return c.failure
	default:
		return err
	}
}

// take founds or joins a cluster, takes part in it, and returns when ctx ends or
// something failed.
func (c *Cluster) take(ctx context.Context) error {
	if c.ident.membership() == nil {
		if err := c.discover(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	strange := make(chan error, 2) // one of each that may write to it
	if len(c.cfg.Join) > 0 {
		c.tasks.Go(func() { c.meet(ctx, strange) })
	}
	if err := c.startGossip(); err != nil {
		return err
	}
	c.tasks.Go(func() { c.keepSeeds(ctx) })
	if c.cfg.server() {
		if err := c.startRaft(ctx, strange); err != nil {
			return err
		}
	}
	for range forwardsInFlight {
		c.tasks.Go(func() { c.forwardLoop(ctx) })
	}
	c.setNotReady("")
	close(c.started)
	select {
	case <-ctx.Done():
		return nil
	case err := <-strange:
		return err
	case <-c.failed:
		return c.failure
	}
}

func (c *Cluster) startGossip() error {
	roles := ""
	if c.cfg.server() {
		roles = "s"
	}
	if slices.Contains(c.cfg.Roles, rota.RoleWorker) {
		roles += "w"
	}
	g, err := startGossip(gossipConfig{
		id: c.id, key: c.ident.membership().Key, transport: c.transport, advertise: c.gossAt,
		self: rumour{Name: c.cfg.Name, Roles: roles, HTTP: c.cfg.HTTPAdvertise, Raft: c.raftAt, Format: fsm.DefaultLimits().MaxFormat, Replaces: c.ident.membership().Replaces},
		tune: c.cfg.Seams.GossipConfig, ears: &c.ears, log: c.log.Named("gossip"),
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.gossip = g
	c.mu.Unlock()
	return nil
}

// startRaft opens the log's machinery, founding the log if this node is the one to
// do that.
func (c *Cluster) startRaft(ctx context.Context, strange chan<- error) error {
	conf := c.raftConfig()
	notify := make(chan bool)
	conf.NotifyCh = notify
	mem := c.ident.membership()
	c.streams.start(pass{clusterID: mem.ClusterID, key: mem.Key, id: string(c.id)})
	trans := &gate{hung: c.watch.hung, contact: &c.contact, serves: c.serves, NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addressBook{c}, Logger: conf.Logger.Named("transport"), Stream: c.streams,
		MaxPool: maxPooled, Timeout: c.cfg.Timeouts.Raft, MsgpackUseNewTimeFormat: true,
	})}
	snaps := snapshotStore{c.stores.Snapshots, c.ledger, c.heedConfig}
	if err := c.found(conf, snaps, trans); err != nil {
		return errors.Join(err, trans.Close())
	}
	r, err := raft.NewRaft(conf, c.replica, c.ledger, c.ballot, snaps, trans)
	if err != nil {
		err = fmt.Errorf("start Raft: %w", unreadable(err))
		c.suspect(err)
		return errors.Join(err, trans.Close())
	}
	c.mu.Lock()
	c.raft = r
	c.mu.Unlock()
	stopped := make(chan struct{})
	c.tasks.Go(func() { c.heed(notify, stopped) })
	c.tasks.Go(func() {
		defer close(stopped)
		<-ctx.Done()
		c.shutRaft(r)
	})
	c.tasks.Go(func() { c.rule(ctx) })
	c.tasks.Go(func() { c.survey(ctx) })
	c.tasks.Go(func() { c.compact(ctx, r) })
	c.tasks.Go(func() { c.learnRemoval(ctx, strange) })
	return nil
}

// serves reports whether this node leads, and a server is one of the log's.
func (c *Cluster) serves(id raft.ServerID) bool {
	_, config := c.ledger.configuration()
	return c.raftLeads() && holds(config, rota.NodeID(id))
}

func (c *Cluster) raftConfig() *raft.Config {
	t := c.cfg.Timeouts
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.id)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = t.Heartbeat, t.Election, t.LeaderLease
	conf.MaxAppendEntries = maxAppendEntries
	conf.SnapshotThreshold, conf.TrailingLogs = math.MaxUint64, c.cfg.TrailingEntries // compaction decides when
	conf.ShutdownOnRemove = false
	conf.NoLegacyTelemetry = true
	conf.Logger = calm{c.log.Named("raft")}
	return conf
}

// shutRaft stops Raft. A disk that hangs may hold it up; the process ends anyway.
func (c *Cluster) shutRaft(r *raft.Raft) {
	if c.watch.hung() {
		// Raft may be about to answer with a vote that could not be stored: nobody is to
		// hear it.
		_ = c.streams.Close()
	}
	c.ballot.closed.Store(true)
	done := make(chan error, 1)
	go func() { done <- r.Shutdown().Error() }()
	select {
	case err := <-done:
		if err != nil {
			c.log.Warn("Raft did not stop cleanly", "error", err)
		}
	case <-time.After(stopTimeout):
		c.log.Warn("Raft does not stop", "after", stopTimeout)
	}
}

// stop waits for all that Run started and gives everything back. What waits for a
// disk that hangs is left behind: it would never end, and the process is about to.
func (c *Cluster) stop() error {
	c.setNotReady("this node is stopping")
	c.away.close(&rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node is stopping"})
	var err error
	if g := c.gossiping(); g != nil {
		err = g.stop()
		c.transport = nil
	}
	ended := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return errors.Join(err, c.release())
		case <-time.After(stopTimeout):
			if c.watch.hung() {
				return err
			}
		}
	}
}

// keepSeeds goes back to nodes seen before until one answers, and remembers where
// the others are, so that the node finds them again after a restart.
func (c *Cluster) keepSeeds(ctx context.Context) {
	g := c.gossiping()
	seeds := slices.Clone(c.ident.membership().Gossip)
	seeds = slices.DeleteFunc(seeds, func(a string) bool { return a == c.gossAt })
	wait := c.cfg.Timeouts.RetryJoin
	for tries := 0; len(seeds) > 0 && g.join(seeds) == 0; tries++ {
		if tries > 0 && tries%10 == 0 {
			c.log.Warn("no node of the cluster answers gossip; trying on", "addresses", seeds)
		}
		if !sleep(ctx, wait) {
			return
		}
		wait = min(wait*2, 3*time.Second)
	}
	// The first addresses are remembered at once: a node that is killed in its first
	// seconds and comes back under another address finds the others by nothing else.
	every := c.cfg.Timeouts.RetryJoin
	for sleep(ctx, every) {
		alone := true
		var now []string
		for _, m := range g.snapshot() {
			if m.ID != c.id && m.State == MemberAlive && len(now) < seedsKept {
				now = append(now, m.Gossip)
				alone = false
			}
		}
		slices.Sort(now)
		if !alone {
			every = saveEvery
		}
		if alone && len(seeds) > 0 {
			g.join(seeds)
			continue
		}
		mem := c.ident.membership()
		hadLog := mem.HadLog || (c.ledger != nil && c.ledger.end() > 0)
		member := mem.Member || c.member.Load()
		if len(now) == 0 {
			now = mem.Gossip
		}
		if slices.Equal(now, mem.Gossip) && mem.HadLog == hadLog && mem.Member == member {
			continue
		}
		seeds = now
		if err := c.ident.change(func(m *membership) {
			m.Gossip, m.HadLog, m.Member = now, hadLog, member
			if member {
				m.Quarantine = ""
			}
		}); err != nil {
			c.log.Warn("could not remember the other nodes' addresses", "error", err)
		}
	}
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return binary.BigEndian.Uint64(b[:])
}

// listenGossip opens gossip's port, TCP and UDP.
func listenGossip(bind string, log hclog.Logger) (memberlist.Transport, net.Addr, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return nil, nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, nil, fmt.Errorf("port %q: %w", port, err)
	}
	ip := net.IPv4zero
	if host != "" {
		a, err := net.ResolveIPAddr("ip", host)
		if err != nil {
			return nil, nil, err
		}
		ip = a.IP
	}
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{ip.String()}, BindPort: n,
		Logger: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	})
	if err != nil {
		return nil, nil, err
	}
	return t, &net.TCPAddr{IP: ip, Port: t.GetAutoBindPort()}, nil
}

// addressBook finds servers where gossip saw them last, which may be newer than
// what the log's configuration says.
type addressBook struct{ c *Cluster }

// addressOf names the node with its address, so that another one that has it now is not
// taken for it: a node that lost its log would acknowledge and vote in its own old name.
func addressOf(id raft.ServerID, at string) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + at)
}

// ServerAddr implements raft.ServerAddressProvider.
func (b addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if id == raft.ServerID(b.c.id) {
		return raft.ServerAddress(b.c.raftAt), nil
	}
	if g := b.c.gossiping(); g != nil {
		if m, ok := g.member(rota.NodeID(id)); ok && m.Raft != "" {
			return addressOf(id, m.Raft), nil
		}
	}
	_, config := b.c.ledger.configuration()
	for _, s := range config.Servers {
		if s.ID == id {
			return addressOf(id, string(s.Address)), nil
		}
	}
	return "", fmt.Errorf("server %s is not known", id)
}
