package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// Times of the dealings with drivers.
const (
	stopAgain   = time.Second // before a stop that failed is tried again
	unreapedGap = time.Second // between looks at what cannot be killed
	startBurst  = 32          // attempts that a starter takes at once
)

// startLoop hands attempts to their drivers.
func (a *Agent) startLoop(ctx context.Context) {
	for {
		batch := a.starts.take(ctx, startBurst)
		if batch == nil {
			return
		}
		for i := range batch {
			a.start(ctx, &batch[i])
		}
	}
}

// start hands one attempt to its driver and posts what came of it.
func (a *Agent) start(ctx context.Context, s *start) {
	ref := s.task.Ref()
	now := a.cfg.Clock()
	if !s.adopt {
		if now >= s.before {
			a.post(ctx, NotStarted{Ref: ref})
			return
		}
		s.task.StartedAt = now
	}
	h, err := a.drive(ctx, ref, s)
	switch f, finished := h.(Finished); {
	case err == nil && finished:
		a.forget(ref)
		a.post(ctx, Ended{Ref: ref, Began: true, Outcome: f.Outcome})
	case err == nil:
		a.mu.Lock()
		if r := a.running[ref]; r != nil {
			r.handle = h
		}
		a.mu.Unlock()
		a.post(ctx, Started{Ref: ref})
		a.wg.Go(func() { a.wait(ctx, ref, h) })
	case ctx.Err() != nil:
	default:
		a.forget(ref)
		a.post(ctx, a.startFailed(ref, s.adopt, err))
	}
}

// drive calls the driver, within the time of a call.
func (a *Agent) drive(ctx context.Context, ref Ref, s *start) (Handle, error) {
	d := a.drivers[s.task.Spec.Driver]
	if d == nil {
		return nil, Refuse(rota.CauseRefused, fmt.Errorf("this node has no driver %q", s.task.Spec.Driver))
	}
	if !plainName(string(ref.Task.Run)) || !plainName(string(ref.Task.Key)) {
		return nil, Refuse(rota.CauseRefused, fmt.Errorf("task %q: the name cannot be a directory", ref.Task.String()))
	}
	a.mu.Lock()
	a.running[ref] = &running{since: s.task.StartedAt}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Call)
	defer cancel()
	if s.adopt {
		return d.Adopt(ctx, s.task, sink{agent: a, ref: ref})
	}
	return d.Start(ctx, s.task, sink{agent: a, ref: ref})
}

// plainName reports whether s is one element of a path.
func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

func (a *Agent) startFailed(ref Ref, adopt bool, err error) Event {
	switch {
	case errors.Is(err, ErrLost), adopt:
		a.log.Warn("cannot adopt an attempt", "task", ref.Task.String(), "error", err)
		return Lost{Ref: ref}
	case errors.Is(err, ErrNoLease):
		return NotStarted{Ref: ref}
	case errors.Is(err, ErrUnfit):
		return NotStarted{Ref: ref, Unfit: clip(err.Error(), MaxMessageBytes)}
	default:
		return Ended{Ref: ref, Outcome: StartOutcome(err)}
	}
}

// wait follows one attempt to its end.
func (a *Agent) wait(ctx context.Context, ref Ref, h Handle) {
	defer a.forget(ref)
	ended := false
	for {
		out, err := h.Wait(ctx)
		switch {
		case err == nil && ended:
			a.post(ctx, Reaped{Ref: ref})
			return
		case err == nil:
			a.post(ctx, Ended{Ref: ref, Began: true, Outcome: out})
			return
		case ctx.Err() != nil:
			return
		case !errors.Is(err, ErrUnreaped):
			a.log.Warn("cannot follow an attempt", "task", ref.Task.String(), "error", err)
			a.post(ctx, Lost{Ref: ref})
			return
		case !ended:
			ended = true
			a.post(ctx, Ended{Ref: ref, Began: true, Outcome: out, Unreaped: true})
		default:
			pause(ctx, unreapedGap)
		}
	}
}

// stop asks an attempt's driver to end it, until it has heard.
func (a *Agent) stop(ctx context.Context, act StopTask) {
	for ctx.Err() == nil {
		a.mu.Lock()
		r := a.running[act.Ref]
		var h Handle
		if r != nil {
			h = r.handle
		}
		a.mu.Unlock()
		if h == nil {
			return // ended meanwhile
		}
		cctx, cancel := context.WithTimeout(ctx, a.cfg.Call)
		err := h.Stop(cctx, act.How, act.Cause)
		cancel()
		if err == nil || errors.Is(err, ErrLost) {
			return
		}
		a.log.Warn("cannot stop an attempt, trying again", "task", act.Ref.Task.String(), "error", err)
		pause(ctx, stopAgain)
	}
}

func (a *Agent) forget(ref Ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, ref)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// sink takes what an attempt says.
type sink struct {
	agent *Agent
	ref   Ref
}

// Usage implements Sink.
func (s sink) Usage(u rota.Usage) {
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	if r := s.agent.running[s.ref]; r != nil {
		r.usage = u
	}
}

// Note implements Sink.
func (s sink) Note(text string) {
	s.agent.log.Info("attempt", "task", s.ref.Task.String(), "attempt", s.ref.Fence.Attempt(), "says", clip(text, MaxMessageBytes))
}
