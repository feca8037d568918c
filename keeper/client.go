package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
)

// Client is a connection to a keeper. Its methods may be called from several
// goroutines. After Done everything returns ErrGone.
type Client struct {
	conn  *net.UnixConn
	pid   int // of the keeper, as this process sees it
	hello Hello

	write sync.Mutex // one frame at a time

	mu       sync.Mutex // guards all below
	nextID   uint64
	pending  map[uint64]chan *frame
	attempts map[Ref]*followed
	over     chan rota.Session
	gone     error
	done     chan struct{} // closed when the connection is lost
}

// followed is what the client last heard of an attempt.
type followed struct {
	last    Attempt
	changed chan struct{} // closed and replaced with every change
}

// newClient says hello on a fresh connection and starts to read from it.
func newClient(ctx context.Context, conn *net.UnixConn, role string) (*Client, error) {
	c := &Client{
		conn: conn, pending: map[uint64]chan *frame{}, attempts: map[Ref]*followed{},
		over: make(chan rota.Session, 1), done: make(chan struct{}),
	}
	pid, err := peerPID(conn)
	if err != nil {
		return nil, err
	}
	c.pid = pid
	go c.read()
	var h Hello
	if err := c.call(ctx, opHello, helloBody{Newest: protocolNewest, Oldest: protocolOldest, Role: role}, &h); err != nil {
		c.Close()
		return nil, fmt.Errorf("say hello to the keeper: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello = h
	for _, a := range h.Attempts { // a push that came since is newer
		if c.attempts[a.Ref] == nil {
			c.follow(a.Ref).last = a
		}
	}
	return c, nil
}

// Greeting is the hello that the connection began with.
func (c *Client) Greeting() Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// Hello asks the keeper how it stands now.
func (c *Client) Hello(ctx context.Context) (Hello, error) {
	var h Hello
	err := c.call(ctx, opHello, helloBody{Newest: protocolNewest, Oldest: protocolOldest}, &h)
	return h, err
}

// Begin hands over a newly registered session; a zero deadline lets nothing start
// yet. Whatever an earlier session still runs is ended: until that is done the
// answer is of rota.KindUnavailable and Begin is to be tried again. A session that
// has ended here gives rota.KindStale.
func (c *Client) Begin(ctx context.Context, s rota.Session, deadline BootTime) error {
	return c.call(ctx, opBegin, sessionBody{Session: s, Deadline: deadline}, nil)
}

// Extend moves the deadline of the session, never back. rota.KindStale: the
// session is not served here, or has begun to be ended.
func (c *Client) Extend(ctx context.Context, s rota.Session, deadline BootTime) error {
	return c.call(ctx, opExtend, sessionBody{Session: s, Deadline: deadline}, nil)
}

// SetLease is Begin or Extend, whichever is due, and NoteView, in one message.
func (c *Client) SetLease(ctx context.Context, l Lease) error { return c.call(ctx, opLease, l, nil) }

// EndSession ends everything of the session; it does not wait for it. After
// PlannedStop the release says that the node left.
func (c *Client) EndSession(ctx context.Context, s rota.Session) error {
	return c.call(ctx, opEnd, sessionBody{Session: s}, nil)
}

// NoteView makes the keeper remember the newest view.
func (c *Client) NoteView(ctx context.Context, v ViewMark) error { return c.call(ctx, opView, v, nil) }

// SetPeers tells the keeper where the servers are that it may send its release to.
func (c *Client) SetPeers(ctx context.Context, addrs []string) error {
	return c.call(ctx, opPeers, addrs, nil)
}

// Spawn starts an attempt. ErrRefused: the command or the working directory is at
// fault. By kind: KindStale (session), KindConflict (the fence was started
// before), KindUnavailable (the lease is too short), KindOverloaded (the table is
// full, or the machine). After an error nothing of the attempt is alive, unless the error is
// ErrGone or the context's: then a later Hello says it.
func (c *Client) Spawn(ctx context.Context, r SpawnRequest) error {
	return c.call(ctx, opSpawn, r, nil)
}

// Stop sends the signal to everything the attempt started, SIGKILL after the
// grace, and returns without waiting. Asking again can only shorten the grace.
// The reason of the first asking is kept with the attempt. KindNotFound: the
// keeper does not know it.
func (c *Client) Stop(ctx context.Context, r Ref, sig syscall.Signal, grace time.Duration, reason string) error {
	return c.call(ctx, opStop, stopBody{Ref: r, Signal: sig, Grace: grace, Reason: reason}, nil)
}

// Ack lets the keeper forget exits. Unknown ones are ignored.
func (c *Client) Ack(ctx context.Context, refs []Ref) error {
	err := c.call(ctx, opAck, refs, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range refs {
		if f := c.attempts[r]; f != nil && !f.last.Running() {
			delete(c.attempts, r)
		}
	}
	return err
}

// PlannedStop announces that this agent goes on purpose: its tasks go on until
// D - K unless an agent returns.
func (c *Client) PlannedStop(ctx context.Context) error { return c.call(ctx, opPlanned, nil, nil) }

// Ping asks for a sign of life.
func (c *Client) Ping(ctx context.Context) error { return c.call(ctx, opPing, nil, nil) }

// Over gives the session that the keeper has begun to end by itself.
func (c *Client) Over() <-chan rota.Session { return c.over }

// Done is closed when the connection is lost.
func (c *Client) Done() <-chan struct{} { return c.done }

// PID is the keeper's process, as this process sees it.
func (c *Client) PID() int { return c.pid }

// Close ends the connection: for the keeper, the agent is gone.
func (c *Client) Close() { c.fail(ErrGone) }

// Wait returns when nothing of the attempt is alive; or, once, when the keeper
// calls it unreaped and the caller has not yet seen that.
func (c *Client) Wait(ctx context.Context, r Ref, seenUnreaped bool) (Attempt, error) {
	for {
		c.mu.Lock()
		f, gone := c.follow(r), c.gone
		last, changed := f.last, f.changed
		c.mu.Unlock()
		if last.State == StateExited || last.Unreaped && !seenUnreaped {
			return last, nil
		}
		if gone != nil {
			return last, gone
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-changed:
		case <-c.done:
		}
	}
}

// follow finds or makes the entry of an attempt; mu is held.
func (c *Client) follow(r Ref) *followed {
	f := c.attempts[r]
	if f == nil {
		f = &followed{last: Attempt{Ref: r}, changed: make(chan struct{})}
		c.attempts[r] = f
	}
	return f
}

func (c *Client) heard(a Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.follow(a.Ref)
	f.last = a
	close(f.changed)
	f.changed = make(chan struct{})
}

// call sends one request and waits for its answer.
func (c *Client) call(ctx context.Context, op string, in, out any) error {
	b, err := body(in)
	if err != nil {
		return err
	}
	answer := make(chan *frame, 1)
	c.mu.Lock()
	if c.gone != nil {
		c.mu.Unlock()
		return c.gone
	}
	c.nextID++
	id := c.nextID
	c.pending[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
	}()
	if err := c.send(ctx, &frame{ID: id, Op: op, Body: b}); err != nil {
		return err
	}
	select {
	case f := <-answer:
		return decodeAnswer(f, out)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case <-c.done:
		select {
		case f := <-answer:
			return decodeAnswer(f, out)
		default:
			return ErrGone
		}
	}
}

func decodeAnswer(f *frame, out any) error {
	if f.Reply != nil {
		if err := f.Reply.err(); err != nil {
			return err
		}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(f.Body, out); err != nil {
		return fmt.Errorf("decode the keeper's answer: %w", err)
	}
	return nil
}

// sendTimeout bounds the write of a frame to a keeper that does not read.
const sendTimeout = 5 * time.Second

func (c *Client) send(ctx context.Context, f *frame) error {
	c.write.Lock()
	defer c.write.Unlock()
	deadline := time.Now().Add(sendTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		c.fail(ErrGone)
		return ErrGone
	}
	err := writeFrame(c.conn, f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errFrame):
		return &rota.Refusal{Kind: rota.KindTooLarge, Detail: err.Error()}
	default: // half a frame may be out: the connection is of no use any more
		c.fail(ErrGone)
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
}

// read takes frames until the connection ends.
func (c *Client) read() {
	r := bufio.NewReaderSize(c.conn, 64<<10)
	for {
		f, err := readFrame(r)
		if err != nil {
			c.fail(ErrGone)
			return
		}
		c.take(f)
	}
}

func (c *Client) take(f *frame) {
	switch {
	case f.ID != 0:
		c.mu.Lock()
		answer := c.pending[f.ID]
		c.mu.Unlock()
		if answer != nil {
			answer <- f
		}
	case f.Op == pushState:
		var a Attempt
		if json.Unmarshal(f.Body, &a) == nil {
			c.heard(a)
		}
	case f.Op == pushOver:
		var s rota.Session
		if json.Unmarshal(f.Body, &s) == nil {
			select {
			case c.over <- s:
			default: // one that nobody has read yet says the same
			}
		}
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone != nil {
		return
	}
	c.gone = err
	close(c.done)
	_ = c.conn.Close() // it is given up
}

// Watch pings the keeper and kills one that is silent for too long. It returns
// when the keeper is gone (ErrGone) or ctx ends.
func (c *Client) Watch(ctx context.Context, every, silence time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		pctx, cancel := context.WithTimeout(ctx, silence)
		err := c.Ping(pctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrGone):
			return ErrGone
		case err != nil:
			if killErr := c.Kill(ctx); killErr != nil {
				return killErr
			}
			return ErrGone
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.done:
			return ErrGone
		case <-t.C:
		}
	}
}
