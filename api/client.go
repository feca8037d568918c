package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Options of a Client; the zero value is fine.
type Options struct {
	Namespace string // sent with submissions and filters that name none; empty: default
	Token     string // sent as a bearer token where not empty
	UserAgent string
	// Patience is how long a request is tried again while there is no leader or an
	// outcome is unknown, and how long a stream is opened again after it broke.
	// Zero: 5 s, enough for an election; negative: not at all.
	Patience time.Duration
	// Transport carries the requests; nil: one of its own.
	Transport http.RoundTripper
}

// DefaultPatience is enough for an election.
const DefaultPatience = 5 * time.Second

// Client talks to a cluster for people and programs. It tries its addresses in
// turn until one answers and stays with that one. Every POST carries an
// idempotency key, so that it may be sent again. Errors are *Error (a node
// refused; wraps its *Problem and the rota error of its kind) or
// *UnreachableError (wraps rota.ErrUnavailable), or the context's own. It is safe for
// concurrent use.
type Client struct {
	bases   []*url.URL
	current atomic.Int64 // index of the base that answered last
	http    *http.Client
	opts    Options
}

// NewClient makes a client for HOST:PORT or http://HOST:PORT addresses. It does
// not connect. An address that is none, and an empty list, are errors.
func NewClient(addresses []string, opts Options) (*Client, error) {
	if len(addresses) == 0 {
		return nil, fmt.Errorf("no address of a node was given")
	}
	if opts.Patience == 0 {
		opts.Patience = DefaultPatience
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "rota-client"
	}
	c := &Client{opts: opts}
	for _, a := range addresses {
		u, err := parseAddress(a)
		if err != nil {
			return nil, err
		}
		c.bases = append(c.bases, u)
	}
	transport := opts.Transport
	if transport == nil {
		transport = newTransport()
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: noRedirect}
	return c, nil
}

// Address is the address of the node that answered last (the first one before
// anything was asked).
func (c *Client) Address() string { return c.base(0).String() }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) base(turn int) *url.URL {
	return c.bases[(int(c.current.Load())+turn)%len(c.bases)]
}

func parseAddress(a string) (*url.URL, error) {
	full := strings.TrimSpace(a)
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("address %q: want HOST:PORT or http://HOST:PORT", a)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("address %q: the scheme %q is not spoken here; want http", a, u.Scheme)
	}
	if u.Port() == "" && u.Scheme == "http" {
		u.Host = net.JoinHostPort(u.Hostname(), DefaultPort)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// DefaultPort is the HTTP port of a node.
const DefaultPort = "8420"

// newTransport makes a transport that keeps its connections and never waits long
// for a new one. It uses no proxy: the addresses are those of nodes.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		WriteBufferSize:       16 << 10,
		ReadBufferSize:        16 << 10,
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// requestTimeout bounds one try of an ordinary request.
const requestTimeout = 35 * time.Second

// withTimeout bounds an ordinary request where the caller set no deadline.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
