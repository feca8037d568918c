package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	maxHandshakes = 64               // at once, inwards
	sayAgain      = 10 * time.Second // between two warnings about strangers
)

// streams is Raft's way to other servers: TCP, or what the seams put in its place,
// each connection beginning with a handshake in which both ends prove that they
// belong to the same cluster. It implements raft.StreamLayer.
type streams struct {
	listener  net.Listener
	advertise string
	pass      pass
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	timeout   time.Duration // of a handshake
	log       hclog.Logger

	accepted chan net.Conn
	quit     chan struct{}
	running  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[*tracked]struct{}
	warned time.Time
}

// start begins to accept connections of servers that show the pass.
func (s *streams) start(p pass) {
	s.pass = p
	s.accepted = make(chan net.Conn)
	s.quit = make(chan struct{})
	s.conns = map[*tracked]struct{}{}
	s.running.Go(s.listen)
}

func (s *streams) listen() {
	slots := make(chan struct{}, maxHandshakes)
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.quit:
				return
			case <-time.After(100 * time.Millisecond): // out of descriptors, perhaps
				continue
			}
		}
		select {
		case slots <- struct{}{}:
		case <-s.quit:
			_ = conn.Close()
			return
		}
		t := s.track(conn)
		s.running.Go(func() {
			defer func() { <-slots }()
			s.welcome(t)
		})
	}
}

// welcome shakes hands with who called and hands the connection to Raft.
func (s *streams) welcome(conn net.Conn) {
	err := conn.SetDeadline(time.Now().Add(s.timeout))
	if err == nil {
		err = s.pass.answer(conn)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		s.warn(conn.RemoteAddr(), err)
		return
	}
	select {
	case s.accepted <- conn:
	case <-s.quit:
		_ = conn.Close()
	}
}

// warn says that a stranger was turned away, not too often.
func (s *streams) warn(from net.Addr, err error) {
	var stranger *strangerError
	if !errors.As(err, &stranger) {
		return // a port scan, or a node that went away: nobody needs to know
	}
	s.mu.Lock()
	quiet := time.Since(s.warned) < sayAgain
	if !quiet {
		s.warned = time.Now()
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Warn("turned away a server that does not belong to this cluster", "from", from, "reason", err)
	}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.quit:
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener: the address others are told.
func (s *streams) Addr() net.Addr { return address(s.advertise) }

// Close implements net.Listener. It closes every connection, too: Raft's transport
// leaves those it accepted open.
func (s *streams) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	if s.quit != nil {
		close(s.quit)
	}
	err := s.listener.Close()
	for c := range conns {
		_ = c.Conn.Close()
	}
	s.running.Wait()
	return err
}

// Dial implements raft.StreamLayer.
func (s *streams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	id, at, named := strings.Cut(string(to), "@")
	if !named {
		id, at = "", string(to)
	}
	conn, err := s.dial(ctx, at)
	if err != nil {
		return nil, err
	}
	t := s.track(conn)
	err = t.SetDeadline(time.Now().Add(min(timeout, s.timeout)))
	if err == nil {
		err = s.pass.show(t, id)
	}
	if err == nil {
		err = t.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("connect to %s: %w", at, err)
	}
	return t, nil
}

// tracked is a connection that ends with the streams.
type tracked struct {
	net.Conn
	of *streams
}

func (s *streams) track(conn net.Conn) *tracked {
	t := &tracked{conn, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return t
	}
	s.conns[t] = struct{}{}
	return t
}

// Read implements net.Conn. To Raft's transport a connection that this end closed
// looks like one that the other end did, which it does not complain about.
func (t *tracked) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = io.EOF
	}
	return n, err
}

// Close implements net.Conn.
func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.conns, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}

// address is a host:port that the system has not seen.
type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

func (a address) String() string { return string(a) }
