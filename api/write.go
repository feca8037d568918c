package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/rota-sched/rota"
)

// principal is who every caller is until there are tokens.
const principal = "anonymous"

// write wraps a route that proposes something.
func (s *Server) write(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.deps.State.Snapshot() == nil {
			return s.passToServer(w, r)
		}
		s.armed(w, s.cfg.WriteWait)
		return h(w, r)
	}
}

// propose replicates an operation and waits until this node has applied it too, so
// that the answer shows what it did.
func (s *Server) propose(ctx context.Context, r *http.Request, namespace string, op rota.Op) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WriteWait)
	defer cancel()
	res, err := s.submit(ctx, rota.Command{RequestID: key, Namespace: namespace, Principal: principal, Op: op})
	if err != nil {
		return err
	}
	s.settle(ctx, res.Index)
	return nil
}

// submit proposes a command; its refusal is an error. An error without a kind
// becomes KindUnknown.
func (s *Server) submit(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	return outcome(s.deps.State.Propose(ctx, cmd))
}

func outcome(res rota.Result, err error) (rota.Result, error) {
	if err == nil {
		return res, res.Err()
	}
	if rota.KindOf(err) != rota.KindNone {
		return res, err
	}
	return res, &rota.Refusal{Kind: rota.KindUnknown, Detail: fmt.Sprintf("it was proposed, but whether it took effect is not known (%v); send the same request again with the same %s", err, headerIdempotency)}
}

// settle waits a little until this node has applied the index: only what is shown
// depends on it.
func (s *Server) settle(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = s.deps.State.Await(ctx, index) // the answer is then a little old
}
