package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

// maxQueued bounds the frames that wait for a client that does not read: one per
// attempt of the table fits, and the answers to what it asked.
const maxQueued = 1 << 16

// serverConn is one client's connection. Its reader carries requests to the shell,
// one at a time; its writer sends what is queued, so that a hung agent never
// holds up the table.
type serverConn struct {
	number uint64
	conn   *net.UnixConn
	agent  bool // said hello as the agent

	mu     sync.Mutex // guards all below
	queue  []*frame
	wake   chan struct{}
	done   chan struct{} // closed with the connection
	closed bool
}

// serve accepts connections until the listener is closed.
func (s *shell) serve(ctx context.Context, l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Warn("accepting a connection failed", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if _, err := peerPID(conn); err != nil {
			s.log.Warn("a connection was turned away", "error", err)
			_ = conn.Close()
			continue
		}
		s.connect(ctx, conn)
	}
}

func (s *shell) connect(ctx context.Context, conn *net.UnixConn) {
	s.mu.Lock()
	s.lastConn++
	c := &serverConn{number: s.lastConn, conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.conns[c.number] = c
	s.mu.Unlock()
	s.work.Go(c.writeAll)
	s.work.Go(func() {
		s.readAll(ctx, c)
		c.close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c.number)
		if c.agent {
			s.step(AgentGone{Conn: c.number})
		}
	})
}

func (s *shell) readAll(ctx context.Context, c *serverConn) {
	r := bufio.NewReaderSize(c.conn, 64<<10)
	for ctx.Err() == nil {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		if err := s.request(c, f); err != nil {
			c.send(&frame{ID: f.ID, Reply: &wireReply{Kind: rota.KindInvalid.String(), Detail: err.Error()}})
		}
	}
}

// request carries one request to the core.
func (s *shell) request(c *serverConn, f *frame) error {
	switch f.Op {
	case opHello:
		return s.hello(c, f)
	case opPing:
		c.send(&frame{ID: f.ID, Reply: &wireReply{}})
		return nil
	case opSpawn:
		return s.spawnRequest(c, f)
	case opPeers:
		var addrs []string
		if err := json.Unmarshal(f.Body, &addrs); err != nil {
			return err
		}
		if p, ok := s.cfg.Releaser.(PeerSetter); ok {
			p.SetPeers(addrs)
		}
		c.send(&frame{ID: f.ID, Reply: &wireReply{}})
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	evs, err := s.events(c, f)
	if err != nil {
		delete(s.asked, s.lastToken)
		return err
	}
	for _, ev := range evs {
		s.step(ev)
	}
	return nil
}

// events says what a request means to the core; mu is held.
func (s *shell) events(c *serverConn, f *frame) ([]Event, error) {
	var sb sessionBody
	switch f.Op {
	case opBegin:
		err := json.Unmarshal(f.Body, &sb)
		return []Event{Begin{Token: s.token(c, f), Session: sb.Session, Deadline: sb.Deadline}}, err
	case opExtend:
		err := json.Unmarshal(f.Body, &sb)
		return []Event{Extend{Token: s.token(c, f), Session: sb.Session, Deadline: sb.Deadline}}, err
	case opLease:
		var l Lease
		err := json.Unmarshal(f.Body, &l)
		return []Event{NoteView{View: l.View}, Begin{Token: s.token(c, f), Session: l.Session, Deadline: l.Deadline}}, err
	case opEnd:
		err := json.Unmarshal(f.Body, &sb)
		return []Event{EndAsked{Token: s.token(c, f), Session: sb.Session}}, err
	case opView:
		var v ViewMark
		err := json.Unmarshal(f.Body, &v)
		return []Event{NoteView{Token: s.token(c, f), View: v}}, err
	case opStop:
		var b stopBody
		err := json.Unmarshal(f.Body, &b)
		return []Event{StopAsked{Token: s.token(c, f), Ref: b.Ref, Signal: b.Signal, Grace: b.Grace, Reason: b.Reason}}, err
	case opAck:
		var refs []Ref
		err := json.Unmarshal(f.Body, &refs)
		return []Event{AckAsked{Token: s.token(c, f), Refs: refs}}, err
	case opPlanned:
		return []Event{PlannedStop{Token: s.token(c, f), Conn: c.number}}, nil
	}
	return nil, fmt.Errorf("the keeper does not know the request %q", f.Op)
}

// hello makes a connection the agent's, or only answers. Adoption is decided
// here: taking the connection and copying the state is one step.
func (s *shell) hello(c *serverConn, f *frame) error {
	var b helloBody
	if err := json.Unmarshal(f.Body, &b); err != nil {
		return err
	}
	version := min(b.Newest, protocolNewest)
	if version < b.Oldest || version < protocolOldest {
		return fmt.Errorf("the client speaks protocol %d to %d, the keeper %d to %d", b.Oldest, b.Newest, protocolOldest, protocolNewest)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Role == roleAgent && !c.agent {
		c.agent = true
		s.step(AgentBack{Conn: c.number})
	}
	h := s.self
	h.Protocol, h.Snapshot = version, s.core.Snapshot()
	raw, err := body(h)
	if err != nil {
		return err
	}
	c.send(&frame{ID: f.ID, Reply: &wireReply{}, Body: raw})
	return nil
}

// token names a request for the core's Reply; mu is held.
func (s *shell) token(c *serverConn, f *frame) uint64 {
	s.lastToken++
	s.asked[s.lastToken] = asker{conn: c, id: f.ID}
	return s.lastToken
}

type asker struct {
	conn *serverConn
	id   uint64
}

// answer sends the core's reply to whoever asked; mu is held.
func (s *shell) answer(r Reply) {
	a, ok := s.asked[r.Token]
	if !ok {
		return
	}
	delete(s.asked, r.Token)
	w := &wireReply{Detail: r.Detail, Refused: r.Refused}
	if r.Kind != rota.KindNone {
		w.Kind = r.Kind.String()
	}
	a.conn.send(&frame{ID: a.id, Reply: w})
}

// tell sends a push to the agent; mu is held.
func (s *shell) tell(op string, v any) {
	raw, err := body(v)
	if err != nil {
		s.log.Error("a push could not be written", "error", err)
		return
	}
	for _, c := range s.conns {
		if c.agent {
			c.send(&frame{Op: op, Body: raw})
		}
	}
}

// send queues a frame and never blocks. A client that lets the queue fill up loses
// its connection: it can say hello again and sees everything.
func (c *serverConn) send(f *frame) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.queue = append(c.queue, f)
	full := len(c.queue) > maxQueued
	c.mu.Unlock()
	if full {
		c.close()
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *serverConn) writeAll() {
	w := bufio.NewWriterSize(c.conn, 64<<10)
	for {
		select {
		case <-c.done:
			return
		case <-c.wake:
		}
		for {
			c.mu.Lock()
			out := c.queue
			c.queue = nil
			c.mu.Unlock()
			if len(out) == 0 {
				break
			}
			for _, f := range out {
				if err := writeFrame(w, f); err != nil {
					c.close()
					return
				}
			}
			if err := w.Flush(); err != nil {
				c.close()
				return
			}
		}
	}
}

func (c *serverConn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	close(c.done)
	_ = c.conn.Close()
}
