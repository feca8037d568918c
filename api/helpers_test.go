package api_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/fsm"
)

// closed closes what was only read.
func closed(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Logf("close: %v", err)
	}
}

func fsmBytes(c *rota.Command) []byte { return fsm.AppendCommand(nil, c) }

// breaker is a node whose proposals get lost after the first few.
type breaker struct {
	*worldNode
	after int64
	done  atomic.Int64
}

func (b *breaker) Propose(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	if b.done.Add(1) > b.after {
		return rota.Result{}, errors.New("connection lost")
	}
	return b.worldNode.Propose(ctx, cmd)
}

func (b *breaker) ProposeMany(ctx context.Context, cmds []rota.Command) ([]rota.Result, []error) {
	results, errs := make([]rota.Result, len(cmds)), make([]error, len(cmds))
	for i, cmd := range cmds {
		results[i], errs[i] = b.Propose(ctx, cmd)
	}
	return results, errs
}

// newServer starts a server of its own over a state.
func newServer(t *testing.T, state api.State, n *worldNode) *httptest.Server {
	t.Helper()
	cfg := api.DefaultConfig()
	cfg.ID, cfg.Name = n.id, n.name
	s, err := api.New(cfg, api.Deps{State: state, Duties: duties{n}, History: history{n}})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return h
}
