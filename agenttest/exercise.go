package agenttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// Subject is a driver under test, with what it can be asked to do. The functions
// make a new attempt each time, with a directory that does not exist yet.
type Subject struct {
	Driver agent.Driver
	// Quick ends well by itself within a second.
	Quick func(t *testing.T) agent.Task
	// Endless runs until it is stopped, and ends politely; nil: the driver has none.
	Endless func(t *testing.T) agent.Task
	// Stubborn ignores being asked; nil: the driver has none.
	Stubborn func(t *testing.T) agent.Task
	// Refused is one that the driver will not start; nil: it starts everything.
	Refused func(t *testing.T) agent.Task
	// Again gives the driver as the next agent of the same node has it, when the
	// present one is gone; nil: attempts do not outlive their agent.
	Again func(t *testing.T) agent.Driver
}

// patience bounds every wait of the suite.
const patience = 20 * time.Second

// Exercise runs the conformance suite that every driver has to pass.
func Exercise(t *testing.T, s Subject) {
	t.Helper()
	for _, c := range []struct {
		name string
		can  bool
		run  func(*testing.T, Subject)
	}{
		{"HasAName", true, hasAName},
		{"EndsByItself", true, endsByItself},
		{"ManyAtOnce", true, manyAtOnce},
		{"AdoptsNothingUnknown", true, adoptsNothingUnknown},
		{"RefusesWithACause", s.Refused != nil, refusesWithACause},
		{"OutlivesTheCallThatStartedIt", s.Endless != nil, outlivesItsStart},
		{"WaitEndsWithItsContext", s.Endless != nil, waitEndsWithContext},
		{"StopGivesItsCause", s.Endless != nil, stopGivesItsCause},
		{"StopsTwice", s.Endless != nil, stopsTwice},
		{"StopAfterTheEndDoesNothing", true, stopAfterTheEnd},
		{"KillsTheStubborn", s.Stubborn != nil, killsTheStubborn},
		{"NextAgentAdopts", s.Again != nil && s.Endless != nil, nextAgentAdopts},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.can {
				t.Skip("the driver has no such attempts")
			}
			c.run(t, s)
		})
	}
}

func hasAName(t *testing.T, s Subject) {
	t.Helper()
	if s.Driver.Name() == "" {
		t.Fatal("the driver has no name")
	}
	if task := s.Quick(t); task.Spec.Driver != s.Driver.Name() {
		t.Fatalf("its tasks are for driver %q, its name is %q", task.Spec.Driver, s.Driver.Name())
	}
}

func endsByItself(t *testing.T, s Subject) {
	t.Helper()
	h := start(t, s.Driver, s.Quick(t))
	if out := wait(t, h); out.Cause != rota.CauseNone || out.ExitCode != 0 {
		t.Fatalf("a task that ends well gave %+v", out)
	}
}

func manyAtOnce(t *testing.T, s Subject) {
	t.Helper()
	const n = 20
	tasks := make([]agent.Task, n)
	for i := range tasks {
		tasks[i] = s.Quick(t)
	}
	var wg sync.WaitGroup
	for i := range tasks {
		wg.Go(func() {
			h, err := s.Driver.Start(t.Context(), tasks[i], Quiet{})
			if err != nil {
				t.Errorf("start the %d-th of %d at once: %v", i, n, err)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if out, err := h.Wait(ctx); err != nil || out.Cause != rota.CauseNone {
				t.Errorf("the %d-th of %d at once: %+v, %v", i, n, out, err)
			}
		})
	}
	wg.Wait()
}

func adoptsNothingUnknown(t *testing.T, s Subject) {
	t.Helper()
	_, err := s.Driver.Adopt(t.Context(), s.Quick(t), Quiet{})
	if !errors.Is(err, agent.ErrLost) {
		t.Fatalf("adopting an attempt that never was gave %v, want ErrLost", err)
	}
}

func refusesWithACause(t *testing.T, s Subject) {
	t.Helper()
	h, err := s.Driver.Start(t.Context(), s.Refused(t), Quiet{})
	var out rota.Outcome
	if err != nil {
		out = agent.StartOutcome(err)
	} else {
		out = wait(t, h)
	}
	if out.Cause != rota.CauseRefused {
		t.Fatalf("what it will not start gave %+v, want the cause refused", out)
	}
	if out.Message == "" || len(out.Message) > agent.MaxMessageBytes {
		t.Fatalf("the refusal says %q", out.Message)
	}
}

func outlivesItsStart(t *testing.T, s Subject) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h, err := s.Driver.Start(ctx, s.Endless(t), Quiet{})
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	cancel()
	stillRuns(t, h)
	stop(t, h, rota.CauseCancelled)
	wait(t, h)
}

func waitEndsWithContext(t *testing.T, s Subject) {
	t.Helper()
	h := start(t, s.Driver, s.Endless(t))
	stillRuns(t, h)
	stop(t, h, rota.CauseCancelled)
	if out := wait(t, h); out.Cause != rota.CauseCancelled {
		t.Fatalf("after a wait that was given up: %+v", out)
	}
}

func stopGivesItsCause(t *testing.T, s Subject) {
	t.Helper()
	for _, cause := range []rota.Cause{rota.CauseTimeoutRun, rota.CausePreempted} {
		h := start(t, s.Driver, s.Endless(t))
		began := time.Now()
		stop(t, h, cause)
		out := wait(t, h)
		if out.Cause != cause {
			t.Fatalf("stopped with %s, ended with %+v", cause, out)
		}
		if took := time.Since(began); took > politely.Grace {
			t.Fatalf("a task that ends when asked took %v", took)
		}
	}
}

func stopsTwice(t *testing.T, s Subject) {
	t.Helper()
	h := start(t, s.Driver, s.Endless(t))
	stop(t, h, rota.CauseCancelled)
	stop(t, h, rota.CauseTimeoutRun)
	if out := wait(t, h); out.Cause == rota.CauseNone {
		t.Fatalf("stopped twice, ended with %+v", out)
	}
}

func stopAfterTheEnd(t *testing.T, s Subject) {
	t.Helper()
	h := start(t, s.Driver, s.Quick(t))
	wait(t, h)
	stop(t, h, rota.CauseCancelled)
}

func killsTheStubborn(t *testing.T, s Subject) {
	t.Helper()
	h := start(t, s.Driver, s.Stubborn(t))
	began := time.Now()
	how := rota.Stop{Signal: "SIGTERM", Grace: 200 * time.Millisecond}
	if err := h.Stop(t.Context(), how, rota.CauseCancelled); err != nil {
		t.Fatalf("stop: %v", err)
	}
	out := wait(t, h)
	if out.Cause != rota.CauseCancelled {
		t.Fatalf("killed, ended with %+v", out)
	}
	if took := time.Since(began); took < how.Grace {
		t.Fatalf("killed after %v, its grace is %v", took, how.Grace)
	}
}

func nextAgentAdopts(t *testing.T, s Subject) {
	t.Helper()
	task := s.Endless(t)
	start(t, s.Driver, task)
	next := s.Again(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h, err := next.Adopt(ctx, task, Quiet{})
	if err != nil {
		t.Fatalf("adopt: %v", err)
	}
	stillRuns(t, h)
	stop(t, h, rota.CauseCancelled)
	if out := wait(t, h); out.Cause != rota.CauseCancelled {
		t.Fatalf("an adopted attempt that was stopped ended with %+v", out)
	}
}

func start(t *testing.T, d agent.Driver, task agent.Task) agent.Handle {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h, err := d.Start(ctx, task, Quiet{})
	if err != nil {
		t.Fatalf("start %s: %v", task.Task, err)
	}
	return h
}

func wait(t *testing.T, h agent.Handle) rota.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := h.Wait(ctx)
	if err != nil {
		t.Fatalf("wait: %v", err)
	}
	return out
}

// stillRuns gives up a wait and takes that for a sign of life.
func stillRuns(t *testing.T, h agent.Handle) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if out, err := h.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it ought to run; its wait gave %+v, %v", out, err)
	}
}

var politely = rota.Stop{Signal: "SIGTERM", Grace: 5 * time.Second} //nolint:gochecknoglobals // a table

func stop(t *testing.T, h agent.Handle, cause rota.Cause) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Stop(ctx, politely, cause); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// Quiet is a sink that throws away what it is told.
type Quiet struct{}

// Usage implements agent.Sink.
func (Quiet) Usage(rota.Usage) {}

// Note implements agent.Sink.
func (Quiet) Note(string) {}
