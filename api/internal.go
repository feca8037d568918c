package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// internalPrefix is where nodes talk to nodes.
const internalPrefix = "/v1/internal/"

// Headers of calls between nodes.
const (
	headerCluster = "Rota-Cluster"
	headerMAC     = "Rota-Mac"
)

// sign is the proof that a call comes from a node of the cluster: a MAC under the
// secret that its nodes share, over what is asked. It proves origin, not freshness:
// every call may be repeated without harm (renewals and reports name session and
// fence), and a clock that went wrong must not cost a node its lease.
func sign(key []byte, cluster, method, target string, body []byte) string {
	m := hmac.New(sha256.New, key)
	feed(m, []byte("rota call 1"))
	feed(m, []byte(cluster))
	feed(m, []byte(method))
	feed(m, []byte(target))
	feed(m, body)
	return hex.EncodeToString(m.Sum(nil))
}

// internalRoutes are for nodes. Bodies are those of the state machine's codec, or
// JSON where nothing is counted in thousands a second.
func (s *Server) internalRoutes() {
	handle := func(method, name string, h handler) {
		s.mux.Handle(method+" "+internalPrefix+name, s.metered("internal."+name, h))
	}
	handle("POST", "register", s.internal(s.register))
	handle("POST", "report", s.internal(s.report))
	handle("POST", "release", s.internal(s.release))
	handle("POST", "unfit", s.internal(s.unfit))
	handle("POST", "renew", s.internal(s.renew))
	handle("POST", "reasons", s.internal(s.giveReasons))
	handle("GET", "contact", s.internal(s.contact))
	handle("GET", "stream", s.internal(s.stream))
	for name, call := range s.deps.Calls {
		h := func(w http.ResponseWriter, r *http.Request, body []byte) error {
			ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
			defer cancel()
			b, err := call.Handle(ctx, body)
			if err != nil {
				return err
			}
			return binaryAnswer(w, b)
		}
		if call.Open {
			handle("POST", name, s.withBody(h))
		} else {
			handle("POST", name, s.internal(h))
		}
	}
}

type bodyHandler func(w http.ResponseWriter, r *http.Request, body []byte) error

func (s *Server) withBody(h bodyHandler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		s.armed(w, s.cfg.WriteWait)
		body, err := s.readBody(w, r, maxPeerBody)
		if err != nil {
			return err
		}
		return h(w, r, body)
	}
}

// internal wraps a route for nodes of this cluster only: anyone else could make up
// reports.
func (s *Server) internal(h bodyHandler) handler {
	return s.withBody(func(w http.ResponseWriter, r *http.Request, body []byte) error {
		var cluster string
		var key []byte
		if s.deps.Credentials != nil {
			cluster, key = s.deps.Credentials()
		}
		if cluster == "" || len(key) == 0 {
			return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node does not belong to a cluster yet"}
		}
		if theirs := r.Header.Get(headerCluster); theirs != cluster {
			return newProblem(TypeDenied, fmt.Sprintf("this node belongs to cluster %s, the caller to %q", cluster, clip(theirs, 64)))
		}
		want := sign(key, cluster, r.Method, r.URL.RequestURI(), body)
		if !hmac.Equal([]byte(want), []byte(r.Header.Get(headerMAC))) {
			return newProblem(TypeDenied, "the caller does not have this cluster's key")
		}
		return h(w, r, body)
	})
}

func binaryAnswer(w http.ResponseWriter, b []byte) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // a caller that went away
	return nil
}

// proposeFor proposes a node's command and answers with the result, refused or not.
func (s *Server) proposeFor(w http.ResponseWriter, r *http.Request, op rota.Op) error {
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	res, err := s.deps.State.Propose(ctx, rota.Command{Principal: "node", Op: op})
	if err != nil {
		if rota.KindOf(err) == rota.KindNone {
			err = &rota.Refusal{Kind: rota.KindUnknown, Detail: err.Error()}
		}
		return err
	}
	return binaryAnswer(w, fsm.AppendResult(nil, &res))
}

// opOf decodes a body that is to hold one operation of a type.
func opOf[T rota.Op](body []byte) (T, error) {
	var none T
	cmd, err := fsm.DecodeCommand(body)
	if err != nil {
		return none, newProblem(TypeInvalid, "the body is no operation: "+err.Error())
	}
	op, ok := cmd.Op.(T)
	if !ok {
		return none, newProblem(TypeInvalid, fmt.Sprintf("the body holds %T, not %T", cmd.Op, none))
	}
	return op, nil
}

func (s *Server) register(w http.ResponseWriter, r *http.Request, body []byte) error {
	op, err := opOf[rota.RegisterNode](body)
	if err != nil {
		return err
	}
	return s.proposeFor(w, r, op)
}

func (s *Server) report(w http.ResponseWriter, r *http.Request, body []byte) error {
	op, err := opOf[rota.Report](body)
	if err != nil {
		return err
	}
	return s.proposeFor(w, r, op)
}

func (s *Server) unfit(w http.ResponseWriter, r *http.Request, body []byte) error {
	op, err := opOf[rota.MarkUnfit](body)
	if err != nil {
		return err
	}
	return s.proposeFor(w, r, op)
}

// release ends a session of which nothing is alive any more.
func (s *Server) release(w http.ResponseWriter, r *http.Request, body []byte) error {
	op, err := opOf[rota.ExpireSession](body)
	if err != nil {
		return err
	}
	op.Seen, op.Term, op.Released = math.MaxUint64, 0, true
	return s.proposeFor(w, r, op)
}

// renew is answered by the leading node only.
func (s *Server) renew(w http.ResponseWriter, r *http.Request, body []byte) error {
	if !s.leads() {
		return s.passWithBody(w, r, body)
	}
	var session rota.Session
	if err := decodeStrict(body, &session); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	renewal, err := s.deps.Duties.Renew(ctx, session)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, &renewal)
}

// passWithBody passes on to the leading node a request whose body has been read.
func (s *Server) passWithBody(w http.ResponseWriter, r *http.Request, body []byte) error {
	again := r.Clone(r.Context())
	again.Body, again.ContentLength = bodyOf(body), int64(len(body))
	again.GetBody = func() (io.ReadCloser, error) { return bodyOf(body), nil } // it may be repeated
	return s.passOn(w, again)
}

func (s *Server) giveReasons(w http.ResponseWriter, r *http.Request, body []byte) error {
	var ask reasonsAsked
	if err := decodeStrict(body, &ask); err != nil {
		return err
	}
	if len(ask.Keys) > maxReasons {
		return newProblem(TypeTooLarge, fmt.Sprintf("%d tasks, the limit is %d", len(ask.Keys), maxReasons))
	}
	if !s.leads() {
		return &rota.Refusal{Kind: rota.KindNoLeader, Detail: "this node does not lead"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), reasonWait)
	defer cancel()
	return answer(w, http.StatusOK, s.explainAll(ctx, ask))
}

func (s *Server) contact(w http.ResponseWriter, _ *http.Request, _ []byte) error {
	if s.deps.State.Snapshot() == nil {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node is no server"}
	}
	c := s.deps.State.Contact()
	return answer(w, http.StatusOK, &c)
}

// stream sends the views of a session, each as a frame: four bytes of length, then
// the view. A frame of length zero is a sign of life.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, body []byte) error {
	if !s.leads() {
		return s.passWithBody(w, r, body)
	}
	var session rota.Session
	if err := json.Unmarshal([]byte(r.URL.Query().Get("session")), &session); err != nil {
		return newProblem(TypeInvalid, "the query holds no session")
	}
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	f := &frames{w: w, c: http.NewResponseController(w), wait: s.cfg.SendWait}
	var beats sync.WaitGroup
	beats.Go(func() { s.beat(ctx, cancel, f) })
	err = s.deps.Duties.Attach(ctx, session, func(v *rota.View) error { return f.send(fsm.AppendView(make([]byte, 4, 512), v)) })
	cancel()
	beats.Wait()
	if f.begun() {
		if rota.KindOf(err) == rota.KindStale {
			_ = f.send([]byte{0xff, 0xff, 0xff, 0xff}) // the session is over; whoever still listens
		}
		return nil
	}
	return err
}

// staleFrame is the length that says that the session is over.
const staleFrame = math.MaxUint32

// beat sends signs of life until ctx ends; a reader that takes none ends the stream.
func (s *Server) beat(ctx context.Context, cancel context.CancelFunc, f *frames) {
	t := time.NewTicker(s.cfg.PeerBeat)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if f.begun() && f.send(make([]byte, 4)) != nil {
				cancel()
				return
			}
		case <-s.stopping:
			cancel()
			return
		case <-ctx.Done():
			return
		}
	}
}

// frames writes length-prefixed frames from several goroutines.
type frames struct {
	w    http.ResponseWriter
	c    *http.ResponseController
	wait time.Duration

	mu      sync.Mutex // guards w and what follows
	started bool
}

func (f *frames) begun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.started
}

// send writes a frame whose first four bytes are room for its length, or are a
// frame without content.
func (f *frames) send(frame []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(frame) > 4 {
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	}
	if !f.started {
		f.w.Header().Set("Content-Type", "application/octet-stream")
		f.w.WriteHeader(http.StatusOK)
		f.started = true
	}
	_ = f.c.SetWriteDeadline(time.Now().Add(f.wait)) // recorders have none
	if _, err := f.w.Write(frame); err != nil {
		return err
	}
	return f.c.Flush()
}
