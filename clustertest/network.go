package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Network carries what nodes say to each other, by address. Lines between nodes
// can be cut, in one direction or both.
type Network struct {
	latency time.Duration

	mu      sync.Mutex // guards what follows
	cut     map[line]bool
	dead    map[int]bool  // says nothing to anybody
	deaf    map[int]bool  // neither sends nor hears gossip
	changed chan struct{} // closed and made anew when a line changes
	owner   map[string]int
	raft    map[string]*listener
	gossip  map[string]*gossipTransport
	conns   map[*link]struct{}
}

// line is a direction between two nodes.
type line struct{ from, to int }

var (
	errRefused error = &net.OpError{Op: "dial", Net: "test", Err: errors.New("connection refused")}
	errCut           = errors.New("connection timed out")
)

// NewNetwork makes a network whose every hop takes the latency.
func NewNetwork(latency time.Duration) *Network {
	return &Network{
		latency: latency, cut: map[line]bool{}, dead: map[int]bool{}, deaf: map[int]bool{}, changed: make(chan struct{}), owner: map[string]int{},
		raft: map[string]*listener{}, gossip: map[string]*gossipTransport{}, conns: map[*link]struct{}{},
	}
}

// Cut stops what one node says from reaching another.
func (n *Network) Cut(from, to int) { n.set(line{from, to}, true) }

// Mend lets it through again.
func (n *Network) Mend(from, to int) { n.set(line{from, to}, false) }

// Heal mends every line.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = map[line]bool{}
	n.turn()
}

func (n *Network) set(l line, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[l] = cut
	n.turn()
}

// silence stops all that a node says, or lets it speak again.
func (n *Network) silence(node int, dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead[node] = dead
	n.turn()
}

// Deafen cuts a node's gossip alone, or mends it.
func (n *Network) Deafen(node int, deaf bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf[node] = deaf
	n.turn()
}

// whispers reports whether gossip can pass between two nodes.
func (n *Network) whispers(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.deaf[from] && !n.deaf[to]
}

func (n *Network) turn() {
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Network) blocked(from, to int) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[line{from, to}] || n.dead[from], n.changed
}

// pass waits until the line is open.
func (n *Network) pass(ctx context.Context, from, to int) error {
	for {
		cut, changed := n.blocked(from, to)
		if !cut {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errCut
		}
	}
}

// claim gives an address to a node.
func (n *Network) claim(node int, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addrs {
		n.owner[a] = node
	}
}

func (n *Network) ownerOf(addr string) (int, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.owner[addr]
	return id, ok
}

// drop ends all streams of a node, as the death of its process does.
func (n *Network) drop(node int) {
	n.mu.Lock()
	var dead []*link
	for l := range n.conns {
		if l.from == node || l.to == node {
			dead = append(dead, l)
		}
	}
	n.mu.Unlock()
	for _, l := range dead {
		l.close()
	}
}

// link is a stream between two nodes: two pipes and what carries bytes across.
type link struct {
	net      *Network
	from, to int
	ends     [2]net.Conn // the inner ones
	quit     chan struct{}
	once     sync.Once
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.quit)
		_ = l.ends[0].Close()
		_ = l.ends[1].Close()
		l.net.mu.Lock()
		delete(l.net.conns, l)
		l.net.mu.Unlock()
	})
}

// connect makes a stream; the second end belongs to the node called.
func (n *Network) connect(from, to int, fromAddr, toAddr string) (caller, called net.Conn) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	l := &link{net: n, from: from, to: to, ends: [2]net.Conn{b, c}, quit: make(chan struct{})}
	n.mu.Lock()
	n.conns[l] = struct{}{}
	n.mu.Unlock()
	go l.carry(b, c, from, to)
	go l.carry(c, b, to, from)
	return &end{a, addr(fromAddr), addr(toAddr)}, &end{d, addr(toAddr), addr(fromAddr)}
}

// carry moves bytes one way; on a cut line they wait, as a TCP stream's do.
func (l *link) carry(src, dst net.Conn, from, to int) {
	defer l.close()
	buf := make([]byte, 64<<10)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.quit:
		case <-ctx.Done():
		}
		cancel()
	}()
	for {
		k, err := src.Read(buf)
		if k > 0 {
			if l.net.latency > 0 {
				time.Sleep(l.net.latency)
			}
			if l.net.pass(ctx, from, to) != nil {
				return
			}
			if _, err := dst.Write(buf[:k]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// end is one end of a stream, with addresses.
type end struct {
	net.Conn
	local, remote addr
}

func (e *end) LocalAddr() net.Addr  { return e.local }
func (e *end) RemoteAddr() net.Addr { return e.remote }

type addr string

func (addr) Network() string  { return "test" }
func (a addr) String() string { return string(a) }

// listener is where a node hears Raft.
type listener struct {
	net   *Network
	at    string
	calls chan net.Conn
	quit  chan struct{}
	once  sync.Once
}

// Listen opens a node's Raft address.
func (n *Network) Listen(at string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.raft[at]; taken {
		return nil, fmt.Errorf("listen on %s: address already in use", at)
	}
	l := &listener{net: n, at: at, calls: make(chan net.Conn), quit: make(chan struct{})}
	n.raft[at] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.quit:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return addr(l.at) }

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.quit)
		l.net.mu.Lock()
		delete(l.net.raft, l.at)
		l.net.mu.Unlock()
	})
	return nil
}

// Dial connects a node to another's Raft address.
func (n *Network) Dial(ctx context.Context, from int, fromAddr, to string) (net.Conn, error) {
	owner, ok := n.ownerOf(to)
	if !ok {
		return nil, errRefused
	}
	if err := errors.Join(n.pass(ctx, from, owner), n.pass(ctx, owner, from)); err != nil {
		return nil, err
	}
	n.mu.Lock()
	l := n.raft[to]
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	caller, called := n.connect(from, owner, fromAddr, to) //nolint:contextcheck // the stream outlives its dialling
	select {
	case l.calls <- called:
		return caller, nil
	case <-l.quit:
		_, _ = caller.Close(), called.Close()
		return nil, errRefused
	case <-ctx.Done():
		_, _ = caller.Close(), called.Close()
		return nil, errCut
	}
}

// gossipTransport is a node's end of gossip. It implements memberlist.Transport.
type gossipTransport struct {
	net     *Network
	node    int
	at      string
	packets chan *memberlist.Packet
	streams chan net.Conn
	quit    chan struct{}
	once    sync.Once
}

const packetsKept = 1024

// Gossip opens a node's gossip address.
func (n *Network) Gossip(node int, at string) memberlist.Transport {
	t := &gossipTransport{net: n, node: node, at: at, packets: make(chan *memberlist.Packet, packetsKept), streams: make(chan net.Conn), quit: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gossip[at] = t
	return t
}

func (t *gossipTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	a, err := net.ResolveTCPAddr("tcp", t.at)
	if err != nil {
		return nil, 0, err
	}
	return a.IP, a.Port, nil
}

func (t *gossipTransport) peer(at string) (*gossipTransport, int, bool) {
	owner, ok := t.net.ownerOf(at)
	if !ok {
		return nil, 0, false
	}
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	p, ok := t.net.gossip[at]
	return p, owner, ok
}

// WriteTo loses the packet where the line is cut or nobody is there, as UDP does.
func (t *gossipTransport) WriteTo(b []byte, at string) (time.Time, error) {
	now := time.Now()
	p, owner, ok := t.peer(at)
	if cut, _ := t.net.blocked(t.node, owner); !ok || cut || !t.net.whispers(t.node, owner) {
		return now, nil
	}
	select {
	case p.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: addr(t.at), Timestamp: now}:
	default:
	}
	return now, nil
}

func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

func (t *gossipTransport) DialTimeout(at string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, owner, ok := t.peer(at)
	if !ok || !t.net.whispers(t.node, owner) {
		return nil, errRefused
	}
	if err := errors.Join(t.net.pass(ctx, t.node, owner), t.net.pass(ctx, owner, t.node)); err != nil {
		return nil, err
	}
	p, _, ok := t.peer(at)
	if !ok {
		return nil, errRefused
	}
	caller, called := t.net.connect(t.node, owner, t.at, at)
	select {
	case p.streams <- called:
		return caller, nil
	case <-p.quit:
	case <-ctx.Done():
	}
	_, _ = caller.Close(), called.Close()
	return nil, errCut
}

func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.streams }

func (t *gossipTransport) Shutdown() error {
	t.once.Do(func() {
		close(t.quit)
		t.net.mu.Lock()
		if t.net.gossip[t.at] == t {
			delete(t.net.gossip, t.at)
		}
		t.net.mu.Unlock()
	})
	return nil
}
