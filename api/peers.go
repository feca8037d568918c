package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// PeersConfig says how a node finds and convinces the others.
type PeersConfig struct {
	// Targets are the HTTP addresses of servers, the one that most likely leads first.
	Targets func() []string
	// Credentials are the cluster's ID and the secret of its nodes.
	Credentials func() (cluster string, key []byte)
	// Try is the longest that one server is waited for while others are left. Zero: 2 s.
	Try time.Duration
	// Silence is how long a stream may be silent. Zero: 5 s.
	Silence time.Duration
	// Transport carries the calls; nil: one of its own.
	Transport http.RoundTripper
}

// Peers is a node's way to the other nodes. Errors wrap the kind of the refusal
// (rota.KindOf); one without a kind means that nothing is known. Every call ends
// with its context. It is safe for concurrent use.
type Peers struct {
	cfg   PeersConfig
	http  http.RoundTripper
	close func()
	good  atomic.Pointer[string] // the target that answered last
}

// NewPeers makes the calling side of the protocol between nodes.
func NewPeers(cfg PeersConfig) *Peers {
	if cfg.Try <= 0 {
		cfg.Try = 2 * time.Second
	}
	if cfg.Silence <= 0 {
		cfg.Silence = 5 * time.Second
	}
	p := &Peers{cfg: cfg, http: cfg.Transport, close: func() {}}
	if p.http == nil {
		t := newTransport()
		p.http, p.close = t, t.CloseIdleConnections
	}
	return p
}

// Close drops idle connections.
func (p *Peers) Close() { p.close() }

// caller is for calls of the server's own.
func (s *Server) caller() *Peers {
	return &Peers{cfg: PeersConfig{Credentials: s.deps.Credentials}, http: s.peers}
}

func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// request makes a signed call.
func (p *Peers) request(ctx context.Context, address, method, target string, body []byte) (*http.Request, error) {
	u, err := url.Parse("http://" + address + target)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	req := (&http.Request{Method: method, URL: u, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if method != http.MethodGet {
		req.Body, req.ContentLength = bodyOf(body), int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return bodyOf(body), nil }
	}
	if p.cfg.Credentials != nil {
		if cluster, key := p.cfg.Credentials(); cluster != "" {
			req.Header.Set(headerCluster, cluster)
			req.Header.Set(headerMAC, sign(key, cluster, method, u.RequestURI(), body))
		}
	}
	return req, nil
}

// send sends a call; an answer other than 200 is an error of its kind.
func (p *Peers) send(ctx context.Context, address, method, target string, body []byte) (*http.Response, error) {
	req, err := p.request(ctx, address, method, target, body)
	if err != nil {
		return nil, err
	}
	resp, err := carry(p.http.RoundTrip, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		err := readProblem(address, resp)
		drain(resp.Body)
		return nil, err
	}
	return resp, nil
}

func (p *Peers) call(ctx context.Context, address, name string, body []byte) ([]byte, error) {
	resp, err := p.send(ctx, address, http.MethodPost, internalPrefix+name, body) //nolint:bodyclose // drain closes it
	if err != nil {
		return nil, err
	}
	defer drain(resp.Body)
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	return b, nil
}

// Call makes a call that the other node's Deps.Calls answers.
func (p *Peers) Call(ctx context.Context, address, name string, body []byte) ([]byte, error) {
	b, err := p.call(ctx, address, name, body)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", name, address, err)
	}
	return b, nil
}

// Ask makes a call with JSON both ways.
func Ask[Out any](ctx context.Context, p *Peers, address, name string, in any) (Out, error) {
	var out Out
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("call %s at %s: %w", name, address, err)
	}
	b, err := p.Call(ctx, address, name, body)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("call %s at %s: the answer is not what this version expects: %w", name, address, err)
	}
	return out, nil
}

// Answer makes the answering side of Ask. What the function is given may come from
// anyone where the call is open.
func Answer[In, Out any](open bool, f func(ctx context.Context, in In) (Out, error)) Call {
	return Call{Open: open, Handle: func(ctx context.Context, body []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, badJSON(err)
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}}
}

// targets are the servers to try, the one that answered last first.
func (p *Peers) targets() []string {
	targets := slices.Clone(p.cfg.Targets())
	if good := p.good.Load(); good != nil {
		if i := slices.Index(targets, *good); i > 0 {
			targets[0], targets[i] = targets[i], targets[0]
		}
	}
	return targets
}

// anyServer tries the servers in turn until one answers. A refusal that another
// server would not give is final.
func (p *Peers) anyServer(ctx context.Context, f func(ctx context.Context, address string) error) error {
	targets := p.targets()
	if len(targets) == 0 {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "no server is known"}
	}
	var last error
	for i, address := range targets {
		err := p.tryOne(ctx, i == len(targets)-1, address, f)
		if err == nil {
			p.good.Store(&address)
			return nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
		switch rota.KindOf(err) { // the others are answers
		case rota.KindNone, rota.KindNoLeader, rota.KindUnavailable, rota.KindOverloaded:
		default:
			return err
		}
	}
	p.good.Store(nil)
	return last
}

func (p *Peers) tryOne(ctx context.Context, final bool, address string, f func(ctx context.Context, address string) error) error {
	if !final {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Try)
		defer cancel()
	}
	return f(ctx, address)
}

// propose sends an operation to a route that proposes it.
func (p *Peers) propose(ctx context.Context, name string, op rota.Op) (rota.Result, error) {
	body := fsm.AppendCommand(nil, &rota.Command{Op: op})
	var res rota.Result
	err := p.anyServer(ctx, func(ctx context.Context, address string) error {
		b, err := p.call(ctx, address, name, body)
		if err != nil {
			return err
		}
		res, err = fsm.DecodeResult(b)
		return err
	})
	if err != nil {
		return res, err
	}
	return res, res.Err()
}

// Register begins a session of this node. With ErrStale the session's counter is
// the newest that the cluster knows of.
func (p *Peers) Register(ctx context.Context, r rota.RegisterNode) (rota.Session, error) {
	res, err := p.propose(ctx, "register", r)
	if err != nil {
		return res.Session, fmt.Errorf("register node %q: %w", r.Info.Name, err)
	}
	return res.Session, nil
}

// Report says what became of attempts; one answer per item.
func (p *Peers) Report(ctx context.Context, r rota.Report) ([]rota.Kind, error) {
	res, err := p.propose(ctx, "report", r)
	if err != nil {
		return nil, fmt.Errorf("report %d items: %w", len(r.Items), err)
	}
	return res.Items, nil
}

// MarkUnfit says why this node can start nothing, or with an empty why that it can.
func (p *Peers) MarkUnfit(ctx context.Context, s rota.Session, why string) error {
	if _, err := p.propose(ctx, "unfit", rota.MarkUnfit{Session: s, Why: why}); err != nil {
		return fmt.Errorf("say that the node is fit or not: %w", err)
	}
	return nil
}

// maxReleaseItems bounds the attempts that one release speaks of; more are reported
// before it.
const maxReleaseItems = 256

// Release ends the session, of which nothing is alive, with what is known of its
// attempts, in one step. A session that is over already is no error.
func (p *Peers) Release(ctx context.Context, s rota.Session, left bool, items []rota.ReportItem) error {
	for len(items) > maxReleaseItems {
		if _, err := p.Report(ctx, rota.Report{Session: s, Items: items[:maxReleaseItems]}); err != nil && rota.KindOf(err) != rota.KindStale {
			return fmt.Errorf("release session %s: %w", s, err)
		}
		items = items[maxReleaseItems:]
	}
	_, err := p.propose(ctx, "release", rota.ExpireSession{Session: s, Released: true, Left: left, Items: items})
	if err != nil && rota.KindOf(err) != rota.KindStale {
		return fmt.Errorf("release session %s: %w", s, err)
	}
	return nil
}

// Renew asks for this node's lease.
func (p *Peers) Renew(ctx context.Context, s rota.Session) (rota.Renewal, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return rota.Renewal{}, fmt.Errorf("renew session %s: %w", s, err)
	}
	var r rota.Renewal
	err = p.anyServer(ctx, func(ctx context.Context, address string) error {
		b, err := p.call(ctx, address, "renew", body)
		if err != nil {
			return err
		}
		r = rota.Renewal{}
		return json.Unmarshal(b, &r)
	})
	if err != nil {
		return r, fmt.Errorf("renew session %s: %w", s, err)
	}
	return r, nil
}

// Forward carries commands to the leading node and their results back; what they
// are is between the two.
func (p *Peers) Forward(ctx context.Context, address string, commands []byte) ([]byte, error) {
	return p.Call(ctx, address, "forward", commands)
}

// Contacts asks every server at once and returns what had been answered when ctx
// ended or all had answered.
func (p *Peers) Contacts(ctx context.Context) ([]rota.Contact, error) {
	targets := p.targets()
	var mu sync.Mutex // guards contacts
	var contacts []rota.Contact
	var calls sync.WaitGroup
	for _, address := range targets {
		calls.Go(func() {
			c, err := p.contactOf(ctx, address)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			contacts = append(contacts, c)
		})
	}
	calls.Wait()
	if len(contacts) == 0 {
		return nil, &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf("none of %d servers answered", len(targets))}
	}
	return contacts, nil
}

func (p *Peers) contactOf(ctx context.Context, address string) (rota.Contact, error) {
	var c rota.Contact
	resp, err := p.send(ctx, address, http.MethodGet, internalPrefix+"contact", nil)
	if err != nil {
		return c, err
	}
	defer func() { _ = resp.Body.Close() }() // nothing was written
	return c, json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&c)
}
