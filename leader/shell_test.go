package leader_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/leader"
)

// fakeLog is a log that commits after a while.
type fakeLog struct {
	delay   time.Duration
	began   time.Time
	changes chan rota.Applied
	start   *fsm.Snapshot

	mu     sync.Mutex // guards what follows
	state  *fsm.State
	down   bool // proposals fail
	closed bool
}

func newFakeLog(ops ...rota.Op) *fakeLog {
	l := &fakeLog{delay: 5 * time.Millisecond, began: time.Now(), changes: make(chan rota.Applied, 1000), state: fsm.New()}
	for _, op := range ops {
		l.apply(op)
	}
	l.start = l.state.Snapshot()
	for len(l.changes) > 0 {
		<-l.changes
	}
	return l
}

func (l *fakeLog) Term() uint64                 { return term }
func (l *fakeLog) Snapshot() *fsm.Snapshot      { return l.start }
func (l *fakeLog) Changes() <-chan rota.Applied { return l.changes }
func (l *fakeLog) Now() rota.Instant            { return rota.InstantOf(time.Now()) }

func (l *fakeLog) Propose(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	select {
	case <-time.After(l.delay):
	case <-ctx.Done():
		return rota.Result{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down || l.closed {
		return rota.Result{}, rota.ErrUnknown
	}
	return l.applyLocked(cmd.Op), nil
}

func (l *fakeLog) apply(op rota.Op) rota.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applyLocked(op)
}

func (l *fakeLog) applyLocked(op rota.Op) rota.Result {
	results, changes := l.state.Apply(rota.Entry{Format: l.state.Format(), Term: term, At: rota.InstantOf(time.Now()), Commands: []rota.Command{{Op: op}}})
	l.changes <- rota.Applied{
		Index: l.state.Index(), Term: term, At: l.state.Now(), NextDue: l.state.NextDue(), Format: l.state.Format(), Changes: changes,
	}
	return results[0]
}

func (l *fakeLog) snapshot() *fsm.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Snapshot()
}

func (l *fakeLog) depose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.changes)
}

type evaluator func(*rota.Task) (rota.Resolve, error)

func (e evaluator) Evaluate(_ context.Context, _ *fsm.Snapshot, t *rota.Task) (rota.Resolve, error) {
	return e(t)
}

// shell starts a leader in a bubble. It ends with the test.
func shell(t *testing.T, log *fakeLog, change ...func(*leader.Deps)) *leader.Leader {
	t.Helper()
	deps := leader.Deps{ID: "me", State: log.snapshot, Clock: func() time.Duration { return time.Since(log.began) }}
	for _, f := range change {
		f(&deps)
	}
	l, err := leader.New(leader.DefaultConfig(rota.DefaultLeaseTimes()), deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return l
}

func sessionOf(t *testing.T, log *fakeLog, name string) rota.Session {
	t.Helper()
	n, ok := log.snapshot().NodeByName(name)
	if !ok {
		t.Fatalf("no node %s", name)
	}
	return n.Session
}

func TestNodesThatRenewKeepTheirSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"), register("b"))
		l := shell(t, log)
		a := sessionOf(t, log, "a")
		for range 30 {
			r, err := l.Renew(t.Context(), a)
			if err != nil || !r.Current || r.Leader != "me" {
				t.Fatalf("renewal %+v, %v", r, err)
			}
			time.Sleep(time.Second)
		}
		if sessionOf(t, log, "a") != a {
			t.Error("a lost its session although it renewed")
		}
		if !sessionOf(t, log, "b").IsZero() {
			t.Error("b kept its session although it was silent for 30 s")
		}
	})
}

func TestRenewalEndsWithItsContextOrTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"))
		l := shell(t, log)
		log.mu.Lock()
		log.down = true
		log.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := l.Renew(ctx, sessionOf(t, log, "a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err %v, want the context's", err)
		}
		time.AfterFunc(time.Second, log.depose)
		if _, err := l.Renew(t.Context(), sessionOf(t, log, "a")); !errors.Is(err, rota.ErrNoLeader) {
			t.Fatalf("err %v, want no leader", err)
		}
		synctest.Wait()
		if _, err := l.Renew(t.Context(), sessionOf(t, log, "a")); !errors.Is(err, rota.ErrNoLeader) {
			t.Fatalf("err %v, want no leader", err)
		}
		if _, err := l.Explain(t.Context(), rota.TaskID{}); !errors.Is(err, rota.ErrNoLeader) {
			t.Fatalf("explain: err %v, want no leader", err)
		}
	})
}

func TestPlacementsReachTheNodeThatListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"))
		l := shell(t, log)
		ctx, cancel := context.WithCancel(t.Context())
		views := make(chan *rota.View, 10)
		ended := make(chan error, 1)
		go func() {
			ended <- l.Attach(ctx, sessionOf(t, log, "a"), func(v *rota.View) error { views <- v; return nil })
		}()
		if v := <-views; !v.Full || len(v.Start) != 0 {
			t.Fatalf("first view %+v", v)
		}
		log.apply(submit("A1", small(), small()))
		if v := <-views; v.Full || len(v.Start) != 2 {
			t.Fatalf("second view %+v", v)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("the stream ended with %v", err)
		}
	})
}

func TestStreamOfASlowNodeIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"))
		l := shell(t, log)
		stuck := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- l.Attach(t.Context(), sessionOf(t, log, "a"), func(*rota.View) error { <-stuck; return nil })
		}()
		for i := range 300 {
			id := string(rune('A'+i/100)) + string(rune('A'+i/10%10)) + string(rune('A'+i%10))
			op := submit("A1", &rota.TaskSpec{Driver: rota.DriverNoop, Retry: rota.Retry{MaxAttempts: 1}})
			op.Run = rota.RunID(string(op.Run[:20]) + id + "A00")
			if r := log.apply(op); r.Kind != rota.KindNone {
				t.Fatal(r.Detail)
			}
			time.Sleep(20 * time.Millisecond)
			for h := range log.snapshot().AllHolds() {
				log.apply(rota.Report{Session: h.Session, Items: []rota.ReportItem{{Task: h.Task, Fence: h.Fence, Outcome: &rota.Outcome{}, Released: true}}})
			}
		}
		close(stuck)
		if err := <-ended; !errors.Is(err, rota.ErrOverloaded) {
			t.Fatalf("the stream ended with %v", err)
		}
	})
}

func TestHintsFromBeforeTheLeadershipCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"))
		deps := leader.Deps{ID: "me", State: log.snapshot, Clock: func() time.Duration { return time.Since(log.began) }}
		l, err := leader.New(leader.DefaultConfig(rota.DefaultLeaseTimes()), deps)
		if err != nil {
			t.Fatal(err)
		}
		l.Gossip("id-a", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Serve(ctx, log); err != nil {
			t.Fatal(err)
		}
		if n, _ := log.snapshot().NodeByName("a"); !n.Suspect {
			t.Error("a is not suspect")
		}
	})
}

func TestEvaluatedTaskRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"))
		tries := 0
		shell(t, log, func(d *leader.Deps) {
			d.Evaluator = evaluator(func(*rota.Task) (rota.Resolve, error) {
				if tries++; tries == 1 {
					return rota.Resolve{}, rota.ErrUnavailable
				}
				return rota.Resolve{Spec: small()}, nil
			})
		})
		log.apply(submit("A1", late()))
		time.Sleep(3 * time.Second)
		if c := log.snapshot().Counts(); c[rota.StatusAssigned] != 1 || tries != 2 {
			t.Errorf("counts %v after %d tries", c, tries)
		}
	})
}

func TestWaitingTaskCanSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(register("a"))
		l := shell(t, log)
		big := small()
		big.Resources.CPUMilli = 64_000
		op := submit("A1", big, small())
		op.Tasks[1].DependsOn = []rota.Edge{{On: "t0"}}
		log.apply(op)
		time.Sleep(time.Second)
		for key, code := range map[rota.TaskKey]string{"t0": rota.ReasonNoNode, "t1": rota.ReasonDependencies} {
			e, err := l.Explain(t.Context(), rota.TaskID{Run: op.Run, Key: key})
			if err != nil || e.Reason.Code != code {
				t.Errorf("%s: %+v, %v; want %s", key, e.Reason, err, code)
			}
		}
		if _, err := l.Explain(t.Context(), rota.TaskID{Run: op.Run, Key: "no"}); !errors.Is(err, rota.ErrNotFound) {
			t.Errorf("err %v", err)
		}
		dry, err := l.Plan(t.Context(), &rota.Job{Name: "j", Specs: []*rota.TaskSpec{small(), big}, Tasks: []rota.NewTask{{Key: "x"}, {Key: "y", Spec: 1}}})
		if err != nil || dry.Ready[0].Node != "a" || len(dry.Impossible) != 1 || dry.Impossible[0].Key != "y" {
			t.Errorf("plan %+v, %v", dry, err)
		}
		n, err := l.ExplainNode(t.Context(), "id-a")
		if err != nil || n.Queued != 1 || n.Never != 1 {
			t.Errorf("node %+v, %v", n, err)
		}
	})
}
