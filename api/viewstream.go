package api

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// ViewStream is an open stream of views.
type ViewStream struct {
	body    io.ReadCloser
	cancel  context.CancelFunc
	silence *time.Timer
	quiet   time.Duration
	dumb    atomic.Bool // it was silent for too long
	buf     []byte
}

// Stream opens the leading node's stream of views for the session. Index and
// incarnation are of the newest view seen. It lives until ctx ends.
func (p *Peers) Stream(ctx context.Context, s rota.Session, incarnation uint16, index uint64) (*ViewStream, error) {
	session, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("open the stream of session %s: %w", s, err)
	}
	q := url.Values{
		"session": {string(session)}, "incarnation": {strconv.FormatUint(uint64(incarnation), 10)}, "index": {strconv.FormatUint(index, 10)},
	}
	var v *ViewStream
	err = p.anyServer(ctx, func(_ context.Context, address string) error {
		v, err = p.openStream(ctx, address, internalPrefix+"stream?"+q.Encode())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the stream of session %s: %w", s, err)
	}
	return v, nil
}

// openStream waits for the head of the answer no longer than for a silent stream.
func (p *Peers) openStream(ctx context.Context, address, target string) (*ViewStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	v := &ViewStream{cancel: cancel, quiet: p.cfg.Silence}
	v.silence = time.AfterFunc(v.quiet, func() {
		v.dumb.Store(true)
		cancel()
	})
	resp, err := p.send(ctx, address, http.MethodGet, target, nil) //nolint:bodyclose // Close does
	if err != nil {
		v.silence.Stop()
		cancel()
		return nil, err
	}
	v.body = resp.Body
	return v, nil
}

// maxFrame bounds a view: every placement of a node with its spec.
const maxFrame = 64 << 20

// Recv blocks until the next view. ErrStale: the session is over. Any other error:
// the stream has ended.
func (v *ViewStream) Recv() (*rota.View, error) {
	var head [4]byte
	for {
		if _, err := io.ReadFull(v.body, head[:]); err != nil {
			return nil, v.broken(err)
		}
		v.silence.Reset(v.quiet)
		n := binary.BigEndian.Uint32(head[:])
		switch {
		case n == 0:
			continue
		case n == staleFrame:
			return nil, rota.ErrStale
		case n > maxFrame:
			return nil, fmt.Errorf("stream of views: a frame of %d bytes", n)
		}
		if cap(v.buf) < int(n) {
			v.buf = make([]byte, n)
		}
		b := v.buf[:n]
		if _, err := io.ReadFull(v.body, b); err != nil {
			return nil, v.broken(err)
		}
		view, err := fsm.DecodeView(b)
		if err != nil {
			return nil, fmt.Errorf("stream of views: %w", err)
		}
		return &view, nil
	}
}

func (v *ViewStream) broken(err error) error {
	if v.dumb.Load() {
		return fmt.Errorf("stream of views: nothing was heard for %s", v.quiet)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("stream of views: the server ended it: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("stream of views: %w", err)
}

// Close ends the stream.
func (v *ViewStream) Close() error {
	v.silence.Stop()
	v.cancel()
	return v.body.Close()
}
