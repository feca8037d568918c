package exec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// handle follows one attempt in the keeper.
type handle struct {
	d    *Driver
	c    *keeper.Client
	sink agent.Sink
	ref  keeper.Ref
	meta meta

	mu      sync.Mutex // guards all below
	unsure  bool       // whether it was started is not known
	timeout rota.Cause // for an attempt asked to end without a reason of its own
	seen    bool       // that it is unreaped
	ended   bool
	final   rota.Outcome
}

// usageEvery is how often ROTA_USAGE is looked at while the attempt runs.
const usageEvery = 2 * time.Second

// Wait implements agent.Handle.
func (h *handle) Wait(ctx context.Context) (rota.Outcome, error) {
	h.mu.Lock()
	ended, final, seen, unsure := h.ended, h.final, h.seen, h.unsure
	h.mu.Unlock()
	if ended {
		return final, nil
	}
	if unsure {
		known, err := h.known(ctx)
		if err != nil {
			return rota.Outcome{}, h.lost(ctx, err)
		}
		if !known {
			return h.end(rota.Outcome{Cause: rota.CauseInternal, Message: "the keeper did not start it"}), nil
		}
		h.mu.Lock()
		h.unsure = false
		h.mu.Unlock()
	}
	a, err := h.follow(ctx, seen)
	if err != nil {
		return rota.Outcome{}, h.lost(ctx, err)
	}
	h.mu.Lock()
	out := outcome(&a, &h.meta, h.timeout)
	h.mu.Unlock()
	if a.Running() {
		h.mu.Lock()
		h.seen = true
		h.mu.Unlock()
		return out, agent.ErrUnreaped
	}
	h.d.leave(&a, h.meta.Dir, out.Cause == rota.CauseNone)
	return h.end(out), nil
}

// follow waits for the end, and passes on what the attempt says of its usage.
func (h *handle) follow(ctx context.Context, seen bool) (keeper.Attempt, error) {
	var last rota.Usage
	for {
		wctx, cancel := context.WithTimeout(ctx, usageEvery)
		a, err := h.c.Wait(wctx, h.ref, seen)
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return a, err
		}
		if u, ok, usageErr := readUsage(h.meta.Dir); ok && usageErr == nil && u != last {
			last = u
			h.sink.Usage(u)
		}
	}
}

func (h *handle) end(o rota.Outcome) rota.Outcome {
	h.d.release(h.meta.Dir)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended, h.final = true, o
	return o
}

// lost says why an attempt cannot be followed: by ctx, or for good.
func (h *handle) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	h.d.release(h.meta.Dir)
	return fmt.Errorf("%w: %w", agent.ErrLost, err)
}

// known asks the keeper whether it holds the attempt. What was sent before on the
// same connection has been dealt with when it answers.
func (h *handle) known(ctx context.Context) (bool, error) {
	hello, err := h.c.Hello(ctx)
	if err != nil {
		return false, err
	}
	for i := range hello.Attempts {
		if hello.Attempts[i].Ref == h.ref {
			return true, nil
		}
	}
	return false, nil
}

// Stop implements agent.Handle.
func (h *handle) Stop(ctx context.Context, how rota.Stop, cause rota.Cause) error {
	sig, err := keeper.ParseSignal(how.Signal)
	if err != nil {
		h.sink.Note(err.Error() + ", SIGTERM is used")
		sig, _ = keeper.ParseSignal("") // empty is SIGTERM
	}
	h.mu.Lock()
	h.timeout = cause
	h.mu.Unlock()
	err = h.c.Stop(ctx, h.ref, sig, how.Grace, cause.String())
	switch {
	case err == nil, errors.Is(err, rota.ErrNotFound):
		return nil
	case errors.Is(err, keeper.ErrGone):
		return fmt.Errorf("%w: %w", agent.ErrLost, err)
	}
	return fmt.Errorf("stop %s: %w", h.ref, err)
}
