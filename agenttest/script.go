package agenttest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// Script is a driver in the place of exec: an attempt's command is how long it
// runs and the exit code it then has. Its attempts live in the Keeper.
type Script struct{ Keeper *Keeper }

// Command is the command of an attempt that runs for d, or for ever if negative.
func Command(d time.Duration, exit int) []string { return []string{d.String(), strconv.Itoa(exit)} }

// Name implements agent.Driver.
func (Script) Name() rota.Driver { return rota.DriverExec }

// Start implements agent.Driver.
func (s Script) Start(_ context.Context, t agent.Task, _ agent.Sink) (agent.Handle, error) {
	if len(t.Spec.Command) != 2 {
		return nil, agent.Refuse(rota.CauseRefused, fmt.Errorf("%q is no script", t.Spec.Command))
	}
	runs, err := time.ParseDuration(t.Spec.Command[0])
	if err != nil {
		return nil, agent.Refuse(rota.CauseRefused, err)
	}
	exit, err := strconv.Atoi(t.Spec.Command[1])
	if err != nil {
		return nil, agent.Refuse(rota.CauseRefused, err)
	}
	if t.Dir != "" {
		if err := t.Prepare(); err != nil {
			return nil, fmt.Errorf("%w: %w", agent.ErrUnfit, err)
		}
	}
	return s.Keeper.start(t, runs, exit)
}

func (k *Keeper) start(t agent.Task, runs time.Duration, exit int) (agent.Handle, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead || k.over || k.Clock() >= k.lease.Deadline.Add(-k.Times.Kill-k.Times.Renew) && !k.lease.Session.IsZero() {
		return nil, agent.ErrNoLease
	}
	ref := t.Ref()
	k.begun[ref]++
	if k.begun[ref] > 1 {
		return nil, fmt.Errorf("%s was started before", ref.Task)
	}
	p := &proc{task: t, done: make(chan struct{}), lost: make(chan struct{})}
	out := rota.Outcome{ExitCode: exit, Ran: runs}
	if exit != 0 {
		out.Cause = rota.CauseExitNonzero
	}
	if runs < 0 {
		runs = 1 << 62
	}
	p.timer = time.AfterFunc(runs, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		p.finish(out)
	})
	k.procs[ref] = p
	return &scriptHandle{keeper: k, proc: p}, nil
}

// Adopt implements agent.Driver.
func (s Script) Adopt(_ context.Context, t agent.Task, _ agent.Sink) (agent.Handle, error) {
	s.Keeper.mu.Lock()
	defer s.Keeper.mu.Unlock()
	p := s.Keeper.procs[t.Ref()]
	if p == nil {
		return nil, agent.ErrLost
	}
	return &scriptHandle{keeper: s.Keeper, proc: p}, nil
}

type scriptHandle struct {
	keeper *Keeper
	proc   *proc
}

// Wait implements agent.Handle.
func (h *scriptHandle) Wait(ctx context.Context) (rota.Outcome, error) {
	select {
	case <-h.proc.done:
		h.keeper.mu.Lock()
		defer h.keeper.mu.Unlock()
		return h.proc.outcome, nil
	case <-h.proc.lost:
		return rota.Outcome{}, agent.ErrLost
	case <-ctx.Done():
		return rota.Outcome{}, ctx.Err()
	}
}

// Stop implements agent.Handle: a script ends as soon as it is asked.
func (h *scriptHandle) Stop(_ context.Context, _ rota.Stop, cause rota.Cause) error {
	h.keeper.mu.Lock()
	defer h.keeper.mu.Unlock()
	if h.keeper.dead {
		return agent.ErrLost
	}
	h.proc.finish(rota.Outcome{Cause: cause})
	return nil
}
