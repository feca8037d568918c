package keeper_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
)

// agentProcess is an agent in a process of its own.
type agentProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	up  keeper.BootTime // when its lease began
}

// newAgent starts an agent whose keeper runs a script, in a fresh data directory.
// The world has no client of its own until it starts one.
func newAgent(t *testing.T, level keeper.Level, script string) (*world, *agentProcess) {
	t.Helper()
	w := &world{t: t, data: t.TempDir(), level: level}
	a := &agentProcess{t: t}
	a.cmd = exec.Command(os.Args[0], "test-agent", w.data, script)
	a.cmd.Env = append(os.Environ(), "TEST_LEVEL="+string(level))
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		_, _ = a.cmd.Process.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "up ") {
		t.Fatalf("the agent says %q, %v", line, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line[3:]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	a.up = keeper.BootTime(n)
	return w, a
}

func (a *agentProcess) signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		_, _ = a.cmd.Process.Wait()
	}
}

// keeperPIDs finds the keeper of the data directory.
func (w *world) keeperPIDs() []string { return pidsWith(w.t, "--data\x00"+w.data+"\x00") }

func (w *world) awaitRelease(within time.Duration) released {
	w.t.Helper()
	eventually(w.t, within, "released", func() bool { return len(w.releases()) > 0 })
	rs := w.releases()
	if len(rs) != 1 {
		w.t.Fatalf("%d releases", len(rs))
	}
	return rs[0]
}

// everyLevel names the levels of containment that the stories of death are told on.
func everyLevel() []keeper.Level {
	return []keeper.Level{keeper.LevelPIDNS, keeper.LevelCgroup, keeper.LevelSubreaper}
}

// TestDeadAgentsTasksAreEndedAndReleased: SIGKILL of the agent, nobody comes back.
// (Source: RELIABILITY.md, section 2, rule 8.)
func TestDeadAgentsTasksAreEndedAndReleased(t *testing.T) {
	for _, level := range everyLevel() {
		t.Run(string(level), func(t *testing.T) {
			w, a := newAgent(t, level, "trap '' TERM; setsid sleep 4721 & while :; do sleep 4721; done")
			killed := keeper.Now()
			a.signal(syscall.SIGKILL)
			r := w.awaitRelease(5 * time.Second)
			if left := pidsWith(t, "4721"); len(left) > 0 {
				t.Errorf("released while %v live", left)
			}
			times := testTimes()
			took := r.At.Sub(killed)
			if took < times.Adopt || took > times.Adopt+times.Kill {
				t.Errorf("released after %v, want between %v and %v", took, times.Adopt, times.Adopt+times.Kill)
			}
			if r.Session != testSession || r.Left || len(r.Items) != 1 || !r.Items[0].Released || r.Items[0].Outcome != nil || r.Items[0].Fence != 1 {
				t.Errorf("the release says %+v", r)
			}
			eventually(t, 3*time.Second, "without a keeper", func() bool { return len(w.keeperPIDs()) == 0 })
		})
	}
}

// TestNextAgentAdopts: SIGKILL of the agent, another one comes in time.
func TestNextAgentAdopts(t *testing.T) {
	w, a := newAgent(t, "", "while :; do sleep 0.05; echo beat; done")
	a.signal(syscall.SIGKILL)
	w.start()
	h := w.c.Greeting()
	if h.Session != testSession || h.Phase != keeper.PhaseServing || len(h.Attempts) != 1 || h.Attempts[0].State != keeper.StateRunning {
		t.Fatalf("the next agent is told %+v", h)
	}
	if err := w.c.Extend(t.Context(), testSession, keeper.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	heard := func() int { return len(read(t, w.data+"/a.out")) }
	eventually(t, 5*time.Second, "beating", func() bool { b, _, _ := keeper.Tail(w.data+"/a.out", 10); return len(b) > 0 })
	was := heard()
	past := keeper.Now().Add(testTimes().TTL)
	eventually(t, 10*time.Second, "past the first deadline", func() bool { return keeper.Now() > past })
	if heard() == was {
		t.Error("the adopted task does not go on")
	}
	if rs := w.releases(); len(rs) > 0 {
		t.Errorf("released although adopted: %+v", rs)
	}
	if err := w.c.Stop(t.Context(), ref("a", 1), syscall.SIGTERM, time.Second, "test"); err != nil {
		t.Fatal(err)
	}
	if got := w.wait(ref("a", 1)); got.Reason != "test" {
		t.Errorf("it ended as %+v", got)
	}
}

// TestTooLateToAdopt: once the keeper has begun to end, an agent that comes back
// finds the session over and begins another.
func TestTooLateToAdopt(t *testing.T) {
	w, a := newAgent(t, "", "trap '' TERM; while :; do sleep 4722; done")
	a.signal(syscall.SIGKILL)
	gone := keeper.Now()
	eventually(t, 5*time.Second, "past the time to adopt", func() bool { return keeper.Now() > gone.Add(testTimes().Adopt+100*time.Millisecond) })
	w.start()
	if h := w.c.Greeting(); h.Phase == keeper.PhaseServing {
		t.Fatalf("after the time to adopt: %+v", h)
	}
	if err := w.c.Extend(t.Context(), testSession, keeper.Now().Add(time.Minute)); !errors.Is(err, rota.ErrStale) {
		t.Errorf("a session that is over was extended: %v", err)
	}
	next := testSession
	next.Counter++
	var err error
	eventually(t, 5*time.Second, "ready for the next session", func() bool {
		err = w.c.Begin(t.Context(), next, keeper.Now().Add(time.Minute))
		return !errors.Is(err, rota.ErrUnavailable)
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := pidsWith(t, "4722"); len(left) > 0 {
		t.Errorf("the next session began while %v live", left)
	}
	r := shell(w.data, "b", 1, "true")
	r.Session = next
	if err := w.c.Spawn(t.Context(), r); err != nil {
		t.Errorf("the next session cannot start anything: %v", err)
	}
	w.wait(r.Ref)
}

// TestPlannedStopKeepsTasksUntilTheDeadline. (Source: RELIABILITY.md, section 2,
// rule 8.)
func TestPlannedStopKeepsTasksUntilTheDeadline(t *testing.T) {
	w, a := newAgent(t, "", "exec sleep 4723")
	a.signal(syscall.SIGTERM)
	times := testTimes()
	r := w.awaitRelease(times.TTL + time.Second)
	if !r.Left {
		t.Error("the release does not say that the node left")
	}
	if took := r.At.Sub(a.up); took < times.TTL-times.Kill || took > times.TTL {
		t.Errorf("ended after %v, want between %v and %v", took, times.TTL-times.Kill, times.TTL)
	}
}

// TestPlannedStopEndsWithTheLastTask: nobody waits for the deadline then.
func TestPlannedStopEndsWithTheLastTask(t *testing.T) {
	w, a := newAgent(t, "", "sleep 1; exit 5")
	a.signal(syscall.SIGTERM)
	r := w.awaitRelease(testTimes().TTL)
	if !r.Left || len(r.Items) != 1 || r.Items[0].Outcome == nil || r.Items[0].Outcome.ExitCode != 5 {
		t.Errorf("the release says %+v", r)
	}
	eventually(t, time.Second, "without a keeper", func() bool { return len(w.keeperPIDs()) == 0 })
}

// TestHungAgentsTasksDieByTheDeadline: SIGSTOP of the agent. (Source:
// RELIABILITY.md, section 2, rule 3.)
func TestHungAgentsTasksDieByTheDeadline(t *testing.T) {
	for _, script := range []string{"exec sleep 4724", "trap '' TERM; while :; do sleep 4724; done"} {
		w, a := newAgent(t, "", script)
		a.signal(syscall.SIGSTOP)
		eventually(t, time.Second, "alive", func() bool { return len(pidsWith(t, "sleep\x004724")) > 0 })
		times := testTimes()
		deadline := a.up.Add(times.TTL)
		eventually(t, times.TTL+time.Second, "dead", func() bool { return len(pidsWith(t, "sleep\x004724")) == 0 })
		if now := keeper.Now(); now > deadline {
			t.Errorf("%v after the deadline", now.Sub(deadline))
		} else if now < a.up.Add(times.TTL-times.Kill) {
			t.Errorf("%v before its time", a.up.Add(times.TTL-times.Kill).Sub(now))
		}
		w.awaitRelease(2 * time.Second)
		a.signal(syscall.SIGKILL)
		eventually(t, 3*time.Second, "without a keeper", func() bool { return len(w.keeperPIDs()) == 0 })
	}
}

// TestDeadKeepersTasksDieWithItOrAreSwept: SIGKILL of the keeper.
func TestDeadKeepersTasksDieWithItOrAreSwept(t *testing.T) {
	for _, level := range append(everyLevel(), keeper.LevelNone) {
		t.Run(string(level), func(t *testing.T) {
			w := newWorld(t, level)
			w.spawn("a", "echo up; setsid sleep 4725 & ( ( setsid sleep 4725 & ) & ); exec sleep 4725")
			eventually(t, 5*time.Second, "up", func() bool { return len(pidsWith(t, "sleep\x004725")) == 3 })
			if err := w.c.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := pidsWith(t, "sleep\x004725"); level == keeper.LevelPIDNS && len(left) > 0 {
				t.Errorf("the keeper is dead, %v live", left)
			}
			was := w.c.Greeting()
			w.start()
			if left := pidsWith(t, "sleep\x004725"); len(left) > 0 {
				t.Errorf("the next keeper is up, %v live", left)
			}
			h := w.c.Greeting()
			if h.ID == was.ID || !h.Session.IsZero() || len(h.Attempts) != 0 {
				t.Errorf("the next keeper is %+v", h)
			}
			weak := level == keeper.LevelSubreaper || level == keeper.LevelNone
			if h.Remains != weak {
				t.Errorf("the next keeper says remains = %v", h.Remains)
			}
		})
	}
}

// stopKeeper stops the keeper and waits until it is.
func (w *world) stopKeeper() {
	w.t.Helper()
	if err := syscall.Kill(w.c.PID(), syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	status := "/proc/" + strconv.Itoa(w.c.PID()) + "/status"
	eventually(w.t, 5*time.Second, "stopped", func() bool { return strings.Contains(read(w.t, status), "State:\tT") })
}

// TestSilentKeeperIsKilled: SIGSTOP of the keeper.
func TestSilentKeeperIsKilled(t *testing.T) {
	w := newWorld(t, "")
	w.spawn("a", "exec sleep 4726")
	w.stopKeeper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := w.c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stopped keeper answers: %v", err)
	}
	cfg := testConfig(w.data)
	cfg.Timeout = 500 * time.Millisecond
	was := w.c.Greeting().ID
	c, err := keeper.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.c = c
	if c.Greeting().ID == was {
		t.Error("it is the silent keeper still")
	}
	if left := pidsWith(t, "4726"); len(left) > 0 && c.Greeting().Containment.Level == keeper.LevelPIDNS {
		t.Errorf("its tasks are alive: %v", left)
	}
}

// TestPingsFindASilentKeeper.
func TestPingsFindASilentKeeper(t *testing.T) {
	w := newWorld(t, "")
	done := make(chan error, 1)
	go func() { done <- w.c.Watch(t.Context(), 50*time.Millisecond, 300*time.Millisecond) }()
	w.stopKeeper()
	select {
	case err := <-done:
		if !errors.Is(err, keeper.ErrGone) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a silent keeper is not found")
	}
	eventually(t, time.Second, "dead", func() bool { return syscall.Kill(w.c.PID(), 0) != nil })
}

// TestNewestAgentWins: one that hangs does not keep the next one out.
func TestNewestAgentWins(t *testing.T) {
	w := newWorld(t, "")
	r := w.spawn("a", "exec sleep 4727")
	first := w.c
	w.start()
	select {
	case <-first.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the first agent keeps its connection")
	}
	if a := w.c.Greeting().Attempts; len(a) != 1 || a[0].Ref != r || a[0].State != keeper.StateRunning {
		t.Errorf("the second is told %+v", a)
	}
}

// TestTasksCannotHarmTheirInit: a keeper that is the init of its tasks survives
// every signal that they send.
func TestTasksCannotHarmTheirInit(t *testing.T) {
	w := newWorld(t, keeper.LevelPIDNS)
	script := `for i in $(seq 1 64); do kill -$i 1 2>/dev/null; done; kill -9 -1 2>/dev/null; echo survived`
	w.wait(w.spawn("a", script))
	if err := w.c.Ping(t.Context()); err != nil {
		t.Fatalf("the keeper: %v", err)
	}
	if !w.c.Greeting().Containment.Proc {
		t.Skipf("tasks have no /proc of their own here: %v", w.c.Greeting().Containment.Why)
	}
	if a := w.wait(w.spawn("b", "[ $$ = $(readlink /proc/self/../$$ >/dev/null; cut -d' ' -f1 /proc/$$/stat) ]")); a.Exit.Code != 0 {
		t.Errorf("a task's /proc is not its own: %+v", a)
	}
}

// TestManyProcessesOfOneTask: a stop reaches all of them.
func TestManyProcessesOfOneTask(t *testing.T) {
	levels(t, func(t *testing.T, w *world) {
		t.Helper()
		r := w.spawn("a", `i=0; while [ $i -lt 100 ]; do setsid sleep 4728 & i=$((i+1)); done; echo up; wait`)
		eventually(t, 10*time.Second, "up", func() bool { b, _, _ := keeper.Tail(w.data+"/a.out", 10); return strings.Contains(string(b), "up") })
		if err := w.c.Stop(t.Context(), r, syscall.SIGTERM, 0, ""); err != nil {
			t.Fatal(err)
		}
		w.wait(r)
		if left := pidsWith(t, "4728"); len(left) > 0 {
			t.Errorf("%d processes are alive", len(left))
		}
	})
}
