package cluster

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/rota-sched/rota"
)

const (
	deadKept      = time.Hour   // a member that is gone stays in the list
	reclaimAfter  = time.Second // a node that is dead may come back under another address
	updateTimeout = 2 * time.Second

	// exchangeEvery is how often whole lists are exchanged: a node that is back under
	// another address before the others miss it is heard then.
	exchangeEvery = 3 * time.Second
)

// rumour is what a node says of itself in gossip: at most 512 bytes, so nothing
// that registration could carry.
type rumour struct {
	Name    string `json:"n"`
	Roles   string `json:"r"` // s, w or sw
	HTTP    string `json:"h"`
	Raft    string `json:"f,omitempty"`
	Term    uint64 `json:"t,omitempty"` // leads in it
	Leaving bool   `json:"l,omitempty"`
	Format  uint16 `json:"v,omitempty"` // newest that it can read
	// Replaces is the ID under which the node took part before it put its log aside.
	Replaces rota.NodeID `json:"q,omitempty"`
}

// gossip keeps the list of nodes. It implements memberlist.Delegate and
// EventDelegate, whose methods run under memberlist's lock: they note and return.
type gossip struct {
	log  hclog.Logger
	list *memberlist.Memberlist
	ears *ears
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	// updating holds a token while news of this node go out: newer news would push
	// older ones out unsent. (A channel, since a mutex is not to be held for long in
	// a bubble of testing/synctest.)
	updating chan struct{}
	left     bool // guarded by updating
	stopped  bool // guarded by updating

	mu      sync.Mutex // guards what follows
	self    rumour
	members map[rota.NodeID]Member
	fresh   []Member // not yet told
}

// ears are who hears what gossip brings.
type ears struct {
	mu   sync.Mutex // guards what follows
	all  map[int]func(Member)
	next int
}

func (e *ears) add(f func(Member)) (cancel func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[int]func(Member){}
	}
	id := e.next
	e.next++
	e.all[id] = f
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.all, id)
	}
}

func (e *ears) tell(m Member) {
	e.mu.Lock()
	hear := make([]func(Member), 0, len(e.all))
	for _, f := range e.all {
		hear = append(hear, f)
	}
	e.mu.Unlock()
	for _, f := range hear {
		f(m)
	}
}

type gossipConfig struct {
	id        rota.NodeID
	self      rumour
	key       []byte
	transport memberlist.Transport
	advertise string
	tune      func(*memberlist.Config)
	ears      *ears
	log       hclog.Logger
}

// startGossip makes the node known to those it meets.
func startGossip(c gossipConfig) (*gossip, error) {
	g := &gossip{
		log: c.log, self: c.self, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		updating: make(chan struct{}, 1), members: map[rota.NodeID]Member{}, ears: c.ears,
	}
	longest := c.self
	longest.Term, longest.Leaving = ^uint64(0), true
	if b, err := json.Marshal(longest); err != nil || len(b) > memberlist.MetaMaxSize {
		return nil, &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf(
			"the node's name and addresses have %d bytes together, gossip carries %d: choose a shorter --name", len(b), memberlist.MetaMaxSize)}
	}
	host, port, err := net.SplitHostPort(c.advertise)
	if err != nil {
		return nil, fmt.Errorf("gossip address %q: %w", c.advertise, err)
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return nil, fmt.Errorf("gossip address %q: %w", c.advertise, err)
	}
	conf := memberlist.DefaultLANConfig()
	conf.Name = string(c.id)
	conf.Transport = c.transport
	conf.AdvertiseAddr = ip.String()
	if conf.AdvertisePort, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("gossip address %q: %w", c.advertise, err)
	}
	conf.BindAddr, conf.BindPort = conf.AdvertiseAddr, conf.AdvertisePort
	conf.SecretKey = c.key
	conf.Delegate, conf.Events = g, g
	conf.DeadNodeReclaimTime = reclaimAfter
	conf.PushPullInterval = exchangeEvery
	conf.LogOutput = nil
	conf.Logger = c.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	if c.tune != nil {
		c.tune(conf)
	}
	g.list, err = memberlist.Create(conf)
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	go g.tell()
	return g, nil
}

// join contacts nodes by their gossip addresses and returns how many answered.
func (g *gossip) join(addrs []string) int {
	if len(addrs) == 0 {
		return 0
	}
	n, err := g.list.Join(addrs)
	if err != nil && n == 0 {
		g.log.Debug("gossip found nobody", "addresses", addrs, "error", err)
	}
	return n
}

// update changes what the node says of itself, and waits until it is said.
func (g *gossip) update(change func(*rumour)) {
	g.updating <- struct{}{}
	defer func() { <-g.updating }()
	if !g.left {
		g.publish(change)
	}
}

func (g *gossip) publish(change func(*rumour)) {
	g.mu.Lock()
	before := g.self
	change(&g.self)
	same := before == g.self
	g.mu.Unlock()
	if same {
		return
	}
	if err := g.list.UpdateNode(updateTimeout); err != nil {
		g.log.Debug("nobody confirmed this node's news", "error", err)
	}
}

// leave says goodbye.
func (g *gossip) leave(timeout time.Duration) error {
	g.updating <- struct{}{}
	defer func() { <-g.updating }()
	if g.stopped { // the node fails: nobody is told any more
		return nil
	}
	g.left = true
	g.publish(func(r *rumour) { r.Leaving, r.Term = true, 0 })
	return g.list.Leave(timeout)
}

func (g *gossip) stop() error {
	g.updating <- struct{}{}
	g.stopped, g.left = true, true
	<-g.updating
	err := g.list.Shutdown()
	close(g.quit)
	<-g.done
	return err
}

// snapshot gives all members, sorted by name, then ID.
func (g *gossip) snapshot() []Member {
	g.mu.Lock()
	all := make([]Member, 0, len(g.members))
	for _, m := range g.members {
		all = append(all, m)
	}
	g.mu.Unlock()
	slices.SortFunc(all, func(a, b Member) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return all
}

func (g *gossip) member(id rota.NodeID) (Member, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.members[id]
	return m, ok
}

// tell brings news to the ears, outside memberlist's lock.
func (g *gossip) tell() {
	defer close(g.done)
	for {
		select {
		case <-g.quit:
			return
		case <-g.wake:
		}
		g.mu.Lock()
		news := g.fresh
		g.fresh = nil
		g.mu.Unlock()
		for _, m := range news {
			g.ears.tell(m)
		}
	}
}

func (g *gossip) note(n *memberlist.Node, alive bool) {
	var r rumour
	if err := json.Unmarshal(n.Meta, &r); err != nil && alive {
		g.log.Debug("a node's gossip is not readable", "node", n.Name, "error", err)
		return
	}
	m := Member{
		ID: rota.NodeID(n.Name), Name: r.Name, HTTP: r.HTTP, Raft: r.Raft, Gossip: n.Address(),
		State: MemberAlive, Since: time.Now(), LeadTerm: r.Term, Replaces: r.Replaces, MaxFormat: r.Format,
	}
	if strings.Contains(r.Roles, "s") {
		m.Roles = append(m.Roles, rota.RoleServer)
	}
	if strings.Contains(r.Roles, "w") {
		m.Roles = append(m.Roles, rota.RoleWorker)
	}
	if !alive {
		m.LeadTerm = 0
		m.State = MemberDead
		if r.Leaving {
			m.State = MemberLeft
		}
	}
	g.mu.Lock()
	if old, ok := g.members[m.ID]; ok && old.State == m.State {
		m.Since = old.Since
	}
	g.members[m.ID] = m
	for id, old := range g.members {
		if old.State != MemberAlive && time.Since(old.Since) > deadKept {
			delete(g.members, id)
		}
	}
	g.fresh = append(g.fresh, m)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (g *gossip) NotifyJoin(n *memberlist.Node) { g.note(n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (g *gossip) NotifyUpdate(n *memberlist.Node) { g.note(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (g *gossip) NotifyLeave(n *memberlist.Node) { g.note(n, false) }

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(limit int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, err := json.Marshal(g.self)
	if err != nil || len(b) > limit {
		return nil
	}
	return b
}

// NotifyMsg implements memberlist.Delegate.
func (g *gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}
