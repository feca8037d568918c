package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
)

// Config of a Server. Start from DefaultConfig.
type Config struct {
	ID        rota.NodeID
	Name      string
	Version   string // of the binary
	MaxFormat uint16
	// Loopback says that the node listens on a loopback address only: then requests
	// are answered only under the names of the machine itself, so that a page of
	// another site cannot reach the node by pointing its own name here.
	Loopback bool
	// Hosts are further names, without port, that requests may be sent to.
	Hosts []string

	WriteWait time.Duration // for a write to be acknowledged
	ReadWait  time.Duration // for a consistent read
	MaxWait   time.Duration // longest blocking read
	BodyWait  time.Duration // for a request's body to arrive
	SendWait  time.Duration // for a peer to take a piece of an answer
	Heartbeat time.Duration // between signs of life on an idle stream to a person
	PeerBeat  time.Duration // the same on a stream to a node
	LogPoll   time.Duration // between two looks at a log that is followed

	MaxRequests int // at the same time
	MaxStreams  int // streams and blocking reads at the same time
	MaxParses   int // job files being read at the same time
	MaxItems    int // of arrays of submissions under way at the same time
	MaxWaiting  int // of job files and of arrays for their turn
	// MaxBodies is the bytes of submissions under way at the same time.
	MaxBodies int64

	Logger hclog.Logger
}

// DefaultConfig is for a node on loopback.
func DefaultConfig() Config {
	return Config{
		Version: "dev", MaxFormat: 1, Loopback: true,
		WriteWait: 15 * time.Second, ReadWait: 5 * time.Second, MaxWait: time.Minute, BodyWait: 30 * time.Second,
		SendWait: 15 * time.Second, Heartbeat: 10 * time.Second, PeerBeat: time.Second, LogPoll: 100 * time.Millisecond,
		MaxRequests: 4096, MaxStreams: 4096, MaxParses: 2 * runtime.GOMAXPROCS(0),
		MaxItems: 2 * maxItems, MaxWaiting: 256, MaxBodies: 64 << 20,
	}
}

// Server answers on a node's HTTP door.
type Server struct {
	cfg     Config
	deps    Deps
	log     hclog.Logger
	mux     *http.ServeMux
	handler http.Handler
	openapi []byte
	peers   *http.Transport
	ids     minter
	jobs    jobCache
	meters  meters
	waits   waits

	requests chan struct{} // one token for each request under way
	streams  chan struct{}
	parses   *turns // job files being read
	items    *turns // of arrays of submissions, under way
	reading  *turns // arrays being read
	bodies   bytesUnderWay

	leaderHint atomic.Pointer[string] // address of the server that last answered for us

	stopOnce sync.Once
	stopping chan struct{} // closed when streams are to end
}

// New makes the server. It serves nothing until its Handler is used or Run called.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.State == nil || deps.Duties == nil {
		return nil, errors.New("api: a server needs a state and a leader")
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.MaxRequests < 1 || cfg.MaxStreams < 1 || cfg.MaxParses < 1 || cfg.MaxItems < maxItems || cfg.MaxBodies < maxSubmitBody {
		return nil, errors.New("api: the bounds of a server must allow something; start from DefaultConfig")
	}
	s := &Server{
		cfg: cfg, deps: deps, log: cfg.Logger.Named("api"), mux: http.NewServeMux(), peers: newTransport(),
		requests: make(chan struct{}, cfg.MaxRequests), streams: make(chan struct{}, cfg.MaxStreams),
		parses:  newTurns(cfg.MaxParses, cfg.MaxWaiting, cfg.WriteWait, "many job files are being read on this node"),
		items:   newTurns(cfg.MaxItems, cfg.MaxWaiting, cfg.WriteWait/2, "many arrays of submissions are under way on this node"),
		reading: newTurns(runtime.GOMAXPROCS(0), cfg.MaxWaiting, cfg.WriteWait/2, "many arrays of submissions are being read on this node"),
		jobs:    newJobCache(), stopping: make(chan struct{}),
	}
	s.peers.ResponseHeaderTimeout = cfg.MaxWait + cfg.WriteWait
	if err := s.route(); err != nil {
		return nil, err
	}
	s.handler = s.guard(s.mux)
	return s, nil
}

// Handler answers everything below /.
func (s *Server) Handler() http.Handler { return s.handler }

// OpenAPI is the description of the public routes, JSON.
func (s *Server) OpenAPI() []byte { return s.openapi }

// Run serves on the listener until ctx ends, then ends the streams, gives requests
// a few seconds, and returns when all have ended. It closes the listener.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	s.stopOnce.Do(func() { close(s.stopping) })
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // what is still open is cut off
	}
	s.peers.CloseIdleConnections()
	if err == nil {
		err = <-served
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP on %s: %w", ln.Addr(), err)
}

// newHuma makes the part that holds the routes' descriptions.
func (s *Server) newHuma() huma.API {
	registry := newRegistry()
	return humago.New(s.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: "Rota", Version: s.cfg.Version, Description: "Runs work on machines you own. Every node answers."},
			Components: &huma.Components{Schemas: registry},
		},
		Formats: map[string]huma.Format{"application/json": huma.DefaultJSONFormat},
	})
}
