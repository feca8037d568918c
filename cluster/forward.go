package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// What nodes say to each other when proposals are forwarded. A request is a version
// byte, the number of commands and each with its length; with none it asks for a
// barrier. A byte more says that the sender wants to know the moment of each result (a
// leader of an older version does not read it). A reply is a version byte and one of:
//
//	forwardDone      the leader's index, the number of answers and each: what it is,
//	                 its length, its bytes
//	forwardElsewhere this node does not lead; the ID and HTTP address of the one
//	                 that does, as far as it knows
const (
	forwardVersion   = 1
	forwardDone      = 0
	forwardElsewhere = 1

	answerResult      = 0
	answerNotProposed = 1
	answerRefusal     = 2
	answerAt          = 3 // a moment, then a result

	forwardWantsAt = 1

	forwardsInFlight = 4
	leaderLook       = 100 * time.Millisecond // whether another leads than the one that was asked
	maxForward       = MaxBatch*8 + MaxOpBytes + 1<<16
)

var errForward = errors.New("malformed forwarded proposals")

// forwardLoop carries what waits to the leader, in batches.
func (c *Cluster) forwardLoop(ctx context.Context) {
	for {
		batch := c.away.take(ctx)
		if batch == nil {
			return
		}
		c.forward(ctx, batch)
	}
}

func (c *Cluster) forward(ctx context.Context, batch []*proposal) {
	fail := func(err error) {
		for _, p := range batch {
			p.done <- answer{err: err}
		}
	}
	addr, ok := c.route()
	if !ok {
		fail(errNotProposed)
		return
	}
	body := []byte{forwardVersion}
	body = binary.AppendUvarint(body, uint64(len(batch)))
	for _, p := range batch {
		body = binary.AppendUvarint(body, uint64(len(p.raw)))
		body = append(body, p.raw...)
	}
	body = append(body, forwardWantsAt)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Raft)
	defer cancel()
	reply, err := c.ask(ctx, addr, body)
	if err != nil {
		if neverSent(err) {
			fail(errNotProposed)
			return
		}
		fail(&rota.Refusal{Kind: rota.KindUnknown, Detail: fmt.Sprintf("the operation was sent to the leader at %s, which did not answer: %v", addr, err)})
		return
	}
	if err := c.deliver(reply, batch); err != nil {
		fail(err)
	}
}

var errReplaced = errors.New("another node was elected before it answered")

// ask calls the leader at an address, until it answers or another node leads: one that
// was stopped, or whose disk hangs, keeps its connections and would be waited for in
// vain. The error is then errReplaced.
func (c *Cluster) ask(ctx context.Context, addr string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		for seen := false; sleep(ctx, leaderLook); {
			_, now, ok := c.Leader()
			if replaced := ok && now != addr; replaced && seen {
				cancel(errReplaced)
			} else {
				seen = replaced // one that works has until the next look to say what it knows
			}
		}
	})
	reply, err := c.peers.Forward(ctx, addr, body)
	if err != nil {
		c.forget(addr)
		if cause := context.Cause(ctx); errors.Is(cause, errReplaced) && !neverSent(err) {
			err = cause
		}
	}
	cancel(nil)
	watch.Wait()
	return reply, err
}

// neverSent reports whether a call failed before the other end could have seen it.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// deliver gives each proposal its answer, or an error for all of them.
func (c *Cluster) deliver(reply []byte, batch []*proposal) error {
	d, _, err := c.openReply(reply)
	if err != nil {
		return err
	}
	if n := d.uvarint(); d.err == nil && n != uint64(len(batch)) {
		d.err = errForward
	}
	answers := make([]answer, len(batch))
	for i := range answers {
		answers[i] = decodeAnswer(d)
	}
	if d.err != nil {
		return &rota.Refusal{Kind: rota.KindUnknown, Detail: "the leader's answer is not readable: " + d.err.Error()}
	}
	for i, p := range batch {
		p.done <- answers[i]
	}
	return nil
}

// openReply reads a reply's head: the leader's index, or that another leads.
func (c *Cluster) openReply(reply []byte) (*decoder, uint64, error) {
	d := &decoder{b: reply}
	version, what := d.byte(), d.byte()
	switch {
	case d.err == nil && version == forwardVersion && what == forwardElsewhere:
		c.hear(rota.NodeID(d.bytes()), string(d.bytes()))
		return nil, 0, errNotProposed
	case d.err != nil || version != forwardVersion || what != forwardDone:
		return nil, 0, &rota.Refusal{Kind: rota.KindUnknown, Detail: "the leader answered in another version of the protocol"}
	}
	return d, d.uvarint(), nil
}

// barrierAway asks the leader for its index after a barrier.
func (c *Cluster) barrierAway(ctx context.Context) (uint64, error) {
	addr, ok := c.route()
	if !ok {
		return 0, errNotProposed
	}
	reply, err := c.ask(ctx, addr, []byte{forwardVersion, 0})
	if err != nil {
		return 0, errors.Join(errNotProposed, err)
	}
	_, index, err := c.openReply(reply)
	return index, err
}

// HandleForward is the leader's side of a forwarded batch. An error: the body is
// malformed, or ctx ended.
func (c *Cluster) HandleForward(ctx context.Context, body []byte) ([]byte, error) {
	batch, wantsAt, err := decodeForward(body)
	if err != nil {
		return nil, &rota.Refusal{Kind: rota.KindInvalid, Detail: err.Error()}
	}
	re, _ := c.current()
	if re == nil {
		return c.elsewhere(), nil
	}
	if len(batch) == 0 {
		index, err := c.barrierHere(ctx, re)
		if errors.Is(err, errNotProposed) {
			return c.elsewhere(), nil
		}
		if err != nil {
			return nil, err
		}
		return binary.AppendUvarint([]byte{forwardVersion, forwardDone}, index), nil
	}
	wait := func(p *proposal) answer { return way{re.queue, re}.answerOf(ctx, p) }
	if refused := re.queue.add(batch...); refused != nil {
		wait = func(*proposal) answer { return answer{err: refused} }
	}
	return encodeAnswers(c.replica.applied.Load(), wantsAt, batch, wait), nil
}

func (c *Cluster) elsewhere() []byte {
	id, addr, _ := c.Leader()
	b := []byte{forwardVersion, forwardElsewhere}
	b = appendBytes(b, []byte(id))
	return appendBytes(b, []byte(addr))
}

func encodeAnswers(index uint64, withAt bool, batch []*proposal, wait func(*proposal) answer) []byte {
	b := binary.AppendUvarint([]byte{forwardVersion, forwardDone}, index)
	b = binary.AppendUvarint(b, uint64(len(batch)))
	for _, p := range batch {
		a := wait(p)
		switch {
		case a.err == nil && withAt:
			b = append(b, answerAt)
			b = appendBytes(b, fsm.AppendResult(binary.AppendUvarint(nil, uint64(a.result.At)), &a.result))
		case a.err == nil:
			b = append(b, answerResult)
			b = appendBytes(b, fsm.AppendResult(nil, &a.result))
		case errors.Is(a.err, errNotProposed):
			b = append(b, answerNotProposed)
			b = appendBytes(b, nil)
		default:
			kind := rota.KindOf(a.err)
			if kind == rota.KindNone {
				kind = rota.KindUnknown
			}
			b = append(b, answerRefusal)
			b = appendBytes(b, append([]byte{byte(kind)}, a.err.Error()...))
		}
	}
	return b
}

func decodeAnswer(d *decoder) answer {
	what, raw := d.byte(), d.bytes()
	if d.err != nil {
		return answer{}
	}
	switch {
	case what == answerAt:
		inner := &decoder{b: raw}
		at := inner.uvarint()
		res, err := fsm.DecodeResult(inner.b)
		if d.err = errors.Join(inner.err, err); d.err != nil {
			return answer{}
		}
		res.At = rota.Instant(at)
		return answer{result: res}
	case what == answerResult:
		res, err := fsm.DecodeResult(raw)
		if err != nil {
			d.err = err
		}
		return answer{result: res}
	case what == answerNotProposed:
		return answer{err: errNotProposed}
	case what == answerRefusal && len(raw) > 0:
		return answer{err: &rota.Refusal{Kind: rota.Kind(raw[0]), Detail: string(raw[1:])}}
	default:
		d.err = errForward
		return answer{}
	}
}

func decodeForward(body []byte) (batch []*proposal, wantsAt bool, err error) {
	d := &decoder{b: body}
	if version := d.byte(); d.err == nil && version != forwardVersion {
		return nil, false, fmt.Errorf("%w: version %d of the protocol is not known", errForward, version)
	}
	n := d.uvarint()
	if len(body) > maxForward || n > MaxBatch {
		return nil, false, fmt.Errorf("%w: %d commands in %d bytes", errForward, n, len(body))
	}
	batch = make([]*proposal, 0, n)
	for range n {
		raw := d.bytes()
		if d.err != nil {
			return nil, false, d.err
		}
		if len(raw) > MaxOpBytes {
			return nil, false, fmt.Errorf("%w: a command of %d bytes", errForward, len(raw))
		}
		cmd, err := fsm.DecodeCommand(raw)
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", errForward, err)
		}
		batch = append(batch, newProposal(cmd, raw))
	}
	return batch, len(d.b) > 0 && d.b[0] == forwardWantsAt, d.err
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// decoder reads what is appended above; the first error stays.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) byte() byte {
	if d.err != nil || len(d.b) == 0 {
		d.err = errForward
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errForward
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.err != nil || n > uint64(len(d.b)) {
		d.err = errForward
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}
