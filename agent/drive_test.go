package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
)

// only is a driver with one answer.
type only struct {
	handle Handle
	err    error
	calls  int
}

func (*only) Name() rota.Driver { return rota.DriverExec }

func (o *only) Start(context.Context, Task, Sink) (Handle, error) {
	o.calls++
	return o.handle, o.err
}

func (o *only) Adopt(context.Context, Task, Sink) (Handle, error) { return o.handle, o.err }

// shell makes an agent that does not run, for one driver.
func shell(d Driver) *Agent {
	return &Agent{
		cfg: Config{Clock: func() BootTime { return BootTime(time.Hour) }, Call: time.Second}, log: hclog.NewNullLogger(),
		drivers: map[rota.Driver]Driver{rota.DriverExec: d}, events: make(chan Event, 16), running: map[Ref]*running{},
	}
}

func aTask() Task {
	return Task{Assignment: rota.Assignment{Task: rota.TaskID{Run: "R", Key: "a"}, Fence: 1, Spec: &rota.TaskSpec{Driver: rota.DriverExec}}}
}

// Between the core's decision and the driver lies a queue: the moment is looked at
// once more. (RELIABILITY.md, section 2, rule 2.)
func TestStartThatWaitedTooLongIsGivenBack(t *testing.T) {
	d := &only{handle: Finished{}}
	a := shell(d)
	a.start(t.Context(), &start{task: aTask(), before: BootTime(time.Hour)})
	if ev := <-a.events; ev != (NotStarted{Ref: Ref{Task: rota.TaskID{Run: "R", Key: "a"}, Fence: 1}}) || d.calls != 0 {
		t.Fatalf("its driver was called %d times, the core hears %#v", d.calls, ev)
	}
}

func TestWhatDriversSayOfAStart(t *testing.T) {
	for _, c := range []struct {
		name string
		d    only
		want Event
	}{
		{"finished", only{handle: Finished{Outcome: rota.Outcome{ExitCode: 0}}}, Ended{Began: true}},
		{"refused", only{err: Refuse(rota.CauseRefused, errors.New("no such command"))}, Ended{Outcome: rota.Outcome{Cause: rota.CauseRefused, Message: "no such command"}}},
		{"broken", only{err: errors.New("broken")}, Ended{Outcome: rota.Outcome{Cause: rota.CauseInternal, Message: "broken"}}},
		{"no lease", only{err: ErrNoLease}, NotStarted{}},
	} {
		a := shell(&c.d)
		a.start(t.Context(), &start{task: aTask(), before: BootTime(2 * time.Hour)})
		got := <-a.events
		ref := Ref{Task: rota.TaskID{Run: "R", Key: "a"}, Fence: 1}
		switch want := c.want.(type) {
		case Ended:
			e, ok := got.(Ended)
			if !ok || e.Ref != ref || e.Began != want.Began || e.Outcome.Cause != want.Outcome.Cause || e.Outcome.Message != want.Outcome.Message {
				t.Errorf("%s: the core hears %#v, want %#v", c.name, got, want)
			}
		default:
			if got != (NotStarted{Ref: ref}) {
				t.Errorf("%s: the core hears %#v", c.name, got)
			}
		}
		if len(a.running) != 0 {
			t.Errorf("%s: it still counts as running", c.name)
		}
	}
}

// waits is a handle whose waits give one answer after the other.
type waits struct {
	Finished
	errs []error
}

func (w *waits) Wait(context.Context) (rota.Outcome, error) {
	if len(w.errs) == 0 {
		return rota.Outcome{Cause: rota.CauseTimeoutRun}, nil
	}
	err := w.errs[0]
	w.errs = w.errs[1:]
	return rota.Outcome{Cause: rota.CauseTimeoutRun}, err
}

func TestUnreapedAttemptEndsTwice(t *testing.T) {
	a := shell(&only{})
	ref := Ref{Task: rota.TaskID{Run: "R", Key: "a"}, Fence: 1}
	a.wait(t.Context(), ref, &waits{errs: []error{ErrUnreaped}})
	first, second := <-a.events, <-a.events
	if e, ok := first.(Ended); !ok || !e.Unreaped || e.Outcome.Cause != rota.CauseTimeoutRun {
		t.Errorf("first %#v", first)
	}
	if second != (Reaped{Ref: ref}) {
		t.Errorf("then %#v", second)
	}
	a.wait(t.Context(), ref, &waits{errs: []error{ErrLost}})
	if ev := <-a.events; ev != (Lost{Ref: ref}) {
		t.Errorf("lost: %#v", ev)
	}
}

func TestNameThatIsNoDirectoryIsRefused(t *testing.T) {
	d := &only{handle: Finished{}}
	a := shell(d)
	task := aTask()
	task.Task.Key = "../../etc"
	a.start(t.Context(), &start{task: task, before: BootTime(2 * time.Hour)})
	if e, ok := (<-a.events).(Ended); !ok || e.Outcome.Cause != rota.CauseRefused || d.calls != 0 {
		t.Fatalf("the core hears %#v", e)
	}
}

func TestMessageIsCutAtACharacter(t *testing.T) {
	if got := clip("aäöü", 4); got != "aä" {
		t.Fatalf("cut to %q", got)
	}
}
