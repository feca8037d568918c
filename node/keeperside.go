package node

import (
	"context"
	"sync"

	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// keeperSide is the agent's view of the node's keeper, and the exec driver's way
// to the same connection.
type keeperSide struct {
	cfg    keeper.StartConfig
	peers  func() []string // where the keeper may send its release to
	events chan agent.KeeperEvent

	wg sync.WaitGroup // watchers, one per connection

	mu      sync.Mutex // guards what follows
	client  *keeper.Client
	leaving bool
	told    []string // the servers that the keeper was last told of
}

func newKeeperSide(cfg keeper.StartConfig, peers func() []string) *keeperSide {
	return &keeperSide{cfg: cfg, peers: peers, events: make(chan agent.KeeperEvent, 4)}
}

// Client is the present connection; nil before the first Hello.
func (k *keeperSide) Client() *keeper.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

// Hello implements agent.Keeper.
func (k *keeperSide) Hello(ctx context.Context) (agent.Kept, error) {
	c := k.Client()
	if c == nil || isDone(c) {
		var err error
		if c, err = keeper.Start(ctx, k.cfg); err != nil {
			return agent.Kept{}, err
		}
		k.mu.Lock()
		k.client, k.told = c, nil
		k.mu.Unlock()
		k.wg.Go(func() { k.watch(c) })
	}
	h, err := c.Hello(ctx)
	if err != nil {
		return agent.Kept{}, err
	}
	kept := agent.Kept{
		ID: h.ID, Boot: h.Boot, Containment: string(h.Containment.Level), Remains: h.Remains, Over: h.Over(),
		Lease: agent.Lease{Session: h.Session, Deadline: agent.BootTime(h.Deadline), Incarnation: h.Newest.Incarnation, Index: h.Newest.Index},
	}
	for _, a := range h.Attempts {
		kept.Attempts = append(kept.Attempts, agent.KeptAttempt{Ref: agent.Ref(a.Ref), Running: a.Running()})
	}
	return kept, nil
}

func isDone(c *keeper.Client) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// watch passes on what the keeper says by itself, until its connection ends.
func (k *keeperSide) watch(c *keeper.Client) {
	for {
		select {
		case session := <-c.Over():
			k.say(c, agent.KeeperEvent{Keeper: c.Greeting().ID, Kind: agent.KeeperOver, Session: session})
		case <-c.Done():
			k.mu.Lock()
			leaving := k.leaving
			k.mu.Unlock()
			if !leaving {
				k.say(c, agent.KeeperEvent{Keeper: c.Greeting().ID, Kind: agent.KeeperGone})
			}
			return
		}
	}
}

// say never blocks for ever: an agent that does not listen has ended, and then
// Close ends the connection.
func (k *keeperSide) say(c *keeper.Client, ev agent.KeeperEvent) {
	select {
	case k.events <- ev:
	case <-c.Done():
		select {
		case k.events <- ev:
		default:
		}
	}
}

// Extend implements agent.Keeper; it also tells the keeper where the servers are
// when that has changed.
func (k *keeperSide) Extend(ctx context.Context, l agent.Lease) error {
	c := k.Client()
	if c == nil {
		return keeper.ErrGone
	}
	if err := k.tellPeers(ctx, c); err != nil {
		return err
	}
	return c.SetLease(ctx, keeper.Lease{
		Session: l.Session, Deadline: keeper.BootTime(l.Deadline), View: keeper.ViewMark{Incarnation: l.Incarnation, Index: l.Index},
	})
}

func (k *keeperSide) tellPeers(ctx context.Context, c *keeper.Client) error {
	peers := k.peers()
	k.mu.Lock()
	same := k.told != nil && equal(k.told, peers)
	k.mu.Unlock()
	if same || len(peers) == 0 {
		return nil
	}
	if err := c.SetPeers(ctx, peers); err != nil {
		return err
	}
	k.mu.Lock()
	k.told = peers
	k.mu.Unlock()
	return nil
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Ack implements agent.Keeper.
func (k *keeperSide) Ack(ctx context.Context, refs []agent.Ref) error {
	c := k.Client()
	if c == nil {
		return keeper.ErrGone
	}
	out := make([]keeper.Ref, len(refs))
	for i, r := range refs {
		out[i] = keeper.Ref(r)
	}
	return c.Ack(ctx, out)
}

// Leave implements agent.Keeper.
func (k *keeperSide) Leave(ctx context.Context) error {
	k.mu.Lock()
	k.leaving = true
	c := k.client
	k.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.PlannedStop(ctx)
}

// Kill implements agent.Keeper.
func (k *keeperSide) Kill() error {
	c := k.Client()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), k.cfg.Timeout)
	defer cancel()
	return c.Kill(ctx)
}

// Events implements agent.Keeper.
func (k *keeperSide) Events() <-chan agent.KeeperEvent { return k.events }

// Close ends the connection and waits for its watcher.
func (k *keeperSide) Close() {
	k.mu.Lock()
	k.leaving = true
	c := k.client
	k.mu.Unlock()
	if c != nil {
		c.Close()
	}
	k.wg.Wait()
}
