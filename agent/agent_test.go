package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/agent/noop"
	"github.com/rota-sched/rota/agenttest"
)

// node is a machine with a keeper, on which agents come and go.
type node struct {
	t       *testing.T
	cluster *agenttest.Cluster
	keeper  *agenttest.Keeper
	layout  agent.Layout
	agent   *agent.Agent
	kill    context.CancelFunc
	ended   chan error
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{
		t: t, cluster: agenttest.NewCluster(), keeper: agenttest.NewKeeper(rota.DefaultLeaseTimes()),
		layout: agent.Layout{Data: t.TempDir()},
	}
	n.cluster.Latency = 5 * time.Millisecond
	return n
}

// boot starts an agent; it is killed at the end of the test at the latest.
func (n *node) boot() {
	n.t.Helper()
	cfg := agent.DefaultConfig()
	cfg.Core.Node = rota.RegisterNode{Info: rota.NodeInfo{ID: storyNode, Name: "n1"}, Boot: "boot"}
	cfg.Probe = n.layout.Probe
	cfg.Layout, cfg.Addr = n.layout, "http://127.0.0.1:8420"
	cfg.Drivers = []agent.Driver{agenttest.Script{Keeper: n.keeper}, noop.Driver{}}
	cfg.Peers, cfg.Keeper, cfg.Clock = n.cluster, n.keeper, n.keeper.Clock
	a, err := agent.New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, kill := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended <- a.Run(ctx)
	}()
	n.agent, n.kill, n.ended = a, kill, ended
	n.t.Cleanup(func() {
		kill()
		<-gone
	})
}

// die ends the agent as SIGKILL does, for its keeper and cluster.
func (n *node) die() {
	n.t.Helper()
	n.kill()
	if err := <-n.ended; !errors.Is(err, context.Canceled) {
		n.t.Fatalf("an agent whose context ended returned %v", err)
	}
}

// place puts a task on the node that runs for d.
func (n *node) place(key string, d time.Duration, exit int) agent.Ref {
	n.t.Helper()
	r := parseRef(n.t, key)
	task := assignment(r, "exec", 0)
	task.Spec.Command = agenttest.Command(d, exit)
	n.eventually("a session", func() bool { return n.cluster.Place(task) == nil })
	return r
}

// eventually waits, in the bubble's time, until something is so.
func (n *node) eventually(what string, ok func() bool) {
	n.t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond) // of the bubble's clock
	}
	n.t.Fatalf("after a minute there is still not: %s (agent %+v)", what, n.agent.Status())
}

func (n *node) outcome(r agent.Ref) rota.Outcome {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Hour)
	defer cancel()
	told, err := n.cluster.Await(ctx, r, func(t agenttest.Told) bool { return len(t.Outcomes) > 0 && t.Released > 0 })
	if err != nil {
		n.t.Fatalf("the cluster heard of %s only %+v", r.Task, told)
	}
	return told.Outcomes[0]
}

func bubble(t *testing.T, f func(n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		f(newNode(t))
	})
}

func TestPlacedTaskRunsAndItsEndIsReported(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", 5*time.Second, 3)
		if out := n.outcome(r); out.Cause != rota.CauseExitNonzero || out.ExitCode != 3 {
			n.t.Fatalf("its outcome is %+v", out)
		}
		told := n.cluster.Told(r)
		if told.Started != 1 || len(told.Outcomes) != 1 || told.Released != 1 {
			n.t.Fatalf("the cluster heard %+v", told)
		}
		n.eventually("forgotten by the keeper", func() bool {
			kept, err := n.keeper.Hello(n.t.Context())
			return err == nil && len(kept.Attempts) == 0
		})
	})
}

func TestStopOrderEndsATask(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.cluster.Stop(r, rota.CauseCancelled)
		if out := n.outcome(r); out.Cause != rota.CauseCancelled {
			n.t.Fatalf("its outcome is %+v", out)
		}
	})
}

func TestUnknownDriverIsRefused(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		task := assignment(parseRef(n.t, "a#1"), "abacus", 0)
		n.eventually("a session", func() bool { return n.cluster.Place(task) == nil })
		if out := n.outcome(parseRef(n.t, "a#1")); out.Cause != rota.CauseRefused {
			n.t.Fatalf("its outcome is %+v", out)
		}
	})
}

// A restarted agent adopts what its keeper still runs. (RELIABILITY.md, section 2,
// rule 8.)
func TestRestartedAgentAdoptsItsTasks(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", 10*time.Second, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		before, _ := n.cluster.Session()
		n.die()
		time.Sleep(time.Second)
		n.boot()
		if out := n.outcome(r); out.Cause != rota.CauseNone {
			n.t.Fatalf("its outcome is %+v", out)
		}
		if after, _ := n.cluster.Session(); after != before {
			n.t.Fatalf("the session was %s, is %s", before, after)
		}
		if n.keeper.Begun(r) != 1 {
			n.t.Fatalf("it was started %d times", n.keeper.Begun(r))
		}
	})
}

// An exit that the agent before did not report is not lost with it.
func TestExitWithoutAgentIsReportedByTheNext(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", 2*time.Second, 7)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.die()
		time.Sleep(3 * time.Second)
		n.boot()
		if out := n.outcome(r); out.ExitCode != 7 {
			n.t.Fatalf("its outcome is %+v", out)
		}
	})
}

// Rule 7: a control plane in trouble must not kill work.
func TestLeaderlessMinuteKillsNothing(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", 90*time.Second, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.cluster.SetLeader(false)
		time.Sleep(time.Minute)
		if n.keeper.Running() != 1 {
			n.t.Fatalf("the task was killed: %+v", n.agent.Status())
		}
		n.cluster.SetLeader(true)
		if out := n.outcome(r); out.Cause != rota.CauseNone {
			n.t.Fatalf("its outcome is %+v", out)
		}
	})
}

// The leader's host vanished: one of three voters never answers, and the poll
// waits for it.
func TestVotersWordCountsWithoutTheVanishedOne(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.cluster.CrashVoter()
		n.cluster.SetLeader(false)
		time.Sleep(time.Minute)
		if n.keeper.Running() != 1 {
			n.t.Fatalf("the task was killed: %+v", n.agent.Status())
		}
	})
}

// Rules 2 and 3: cut off from everybody, the keeper has ended everything before
// the deadline, which counts from the last renewal that was sent and answered.
func TestCutOffNodeEndsItsTasksInTime(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		time.Sleep(5 * time.Second)
		n.cluster.SetCutOff(true)
		cut := n.keeper.Clock()
		deadline := n.keeper.Lease().Deadline
		if left := deadline.Sub(cut); left > 10*time.Second {
			n.t.Fatalf("cut off, the lease still lasts %v", left)
		}
		n.eventually("its end", func() bool { return n.keeper.Running() == 0 })
		if now := n.keeper.Clock(); now > deadline {
			n.t.Fatalf("killed %v after the deadline", now.Sub(deadline))
		}
		n.cluster.Expire()
		n.cluster.SetCutOff(false)
		n.eventually("a new session", func() bool { s, _ := n.cluster.Session(); return s.Counter == 2 })
		if told := n.cluster.Told(r); len(told.Outcomes) != 0 {
			n.t.Fatalf("a task that was killed with its session reported %+v", told)
		}
		if out := n.outcome(n.place("a#2", time.Second, 0)); out.Cause != rota.CauseNone {
			n.t.Fatalf("the next attempt ended with %+v", out)
		}
	})
}

func TestExpiredSessionEndsItsTasksBeforeTheNext(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.cluster.Expire()
		n.eventually("a new session", func() bool { s, _ := n.cluster.Session(); return s.Counter == 2 })
		if n.keeper.Running() != 0 {
			n.t.Fatal("the new session began while the old one's task runs")
		}
	})
}

func TestDeadKeeperIsAnotherSession(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.keeper.Die()
		n.eventually("a new session", func() bool { s, _ := n.cluster.Session(); return s.Counter == 2 })
		if out := n.outcome(n.place("a#2", time.Second, 0)); out.Cause != rota.CauseNone {
			n.t.Fatalf("the next attempt ended with %+v", out)
		}
	})
}

func TestSilentKeeperIsKilled(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.keeper.Silence()
		n.eventually("a new session", func() bool { s, _ := n.cluster.Session(); return s.Counter == 2 })
		if n.keeper.Running() != 0 {
			n.t.Fatal("its task runs on")
		}
	})
}

func TestPlannedStopLeavesTasksToTheKeeper(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		r := n.place("a#1", 4*time.Second, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.agent.Leave(n.t.Context(), false)
		if err := <-n.ended; err != nil {
			n.t.Fatalf("a planned stop ended with %v", err)
		}
		if n.keeper.Running() != 1 {
			n.t.Fatal("the task did not go on")
		}
		n.boot()
		if out := n.outcome(r); out.Cause != rota.CauseNone {
			n.t.Fatalf("its outcome is %+v", out)
		}
	})
}

func TestPlannedStopWithoutTasksGivesTheSessionBack(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		n.outcome(n.place("a#1", time.Second, 0))
		n.agent.Leave(n.t.Context(), false)
		if err := <-n.ended; err != nil {
			n.t.Fatalf("a planned stop ended with %v", err)
		}
		if s, left := n.cluster.Session(); !s.IsZero() || !left {
			n.t.Fatalf("session %s, left %t", s, left)
		}
	})
}

func TestSecondSignalStopsTheTasks(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		n.place("a#1", -1, 0)
		n.eventually("a running task", func() bool { return n.keeper.Running() == 1 })
		n.agent.Leave(n.t.Context(), true)
		if err := <-n.ended; err != nil {
			n.t.Fatalf("a planned stop ended with %v", err)
		}
		if s, left := n.cluster.Session(); n.keeper.Running() != 0 || !s.IsZero() || !left {
			n.t.Fatalf("%d tasks run, session %s, left %t", n.keeper.Running(), s, left)
		}
	})
}

// A goal of 30,000 no-op tasks a second rules out a call, or a goroutine, for
// each: they travel by the hundred. (Here only that all arrive, once.)
func TestThousandsOfNoopsAreReportedOnce(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		const count = 5000
		tasks := make([]rota.Assignment, count)
		for i := range tasks {
			r := agent.Ref{Task: rota.TaskID{Run: storyRun, Key: rota.TaskKey(fmt.Sprint("t", i))}, Fence: 1}
			tasks[i] = assignment(r, "noop", 0)
		}
		n.eventually("a session", func() bool { return n.cluster.Place(tasks...) == nil })
		began := time.Now()
		for _, task := range tasks {
			r := agent.Ref{Task: task.Task, Fence: task.Fence}
			n.outcome(r)
			if told := n.cluster.Told(r); told.Started != 1 || len(told.Outcomes) != 1 || told.Released != 1 {
				n.t.Fatalf("of %s the cluster heard %+v", task.Task, told)
			}
		}
		// Ten reports of 512 and some small ones in between, 5 ms each.
		if took := time.Since(began); took > 200*time.Millisecond {
			n.t.Fatalf("reporting took %v of the bubble's time", took)
		}
	})
}

// BenchmarkNoop measures what the agent itself costs an attempt: in a view, out
// in a report.
func BenchmarkNoop(b *testing.B) {
	cluster, keeper := agenttest.NewCluster(), agenttest.NewKeeper(rota.DefaultLeaseTimes())
	cfg := agent.DefaultConfig()
	cfg.Core.Node = rota.RegisterNode{Info: rota.NodeInfo{ID: storyNode, Name: "n1"}, Boot: "boot"}
	cfg.Layout = agent.Layout{Data: b.TempDir()}
	cfg.Drivers, cfg.Peers, cfg.Keeper, cfg.Clock = []agent.Driver{noop.Driver{}}, cluster, keeper, keeper.Clock
	a, err := agent.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	for cluster.Place() != nil {
		time.Sleep(time.Millisecond)
	}
	const batch = 500
	next := 0
	for b.Loop() {
		tasks := make([]rota.Assignment, batch)
		for i := range tasks {
			next++
			tasks[i] = assignment(agent.Ref{Task: rota.TaskID{Run: storyRun, Key: rota.TaskKey(fmt.Sprint("t", next))}, Fence: 1}, "noop", 0)
		}
		if err := cluster.Place(tasks...); err != nil {
			b.Fatal(err)
		}
		last := tasks[batch-1]
		if _, err := cluster.Await(ctx, agent.Ref{Task: last.Task, Fence: 1}, func(t agenttest.Told) bool { return t.Released > 0 }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "attempts/s")
}

// TestFullDiskIsTheNodesFault: what cannot be prepared is given back unstarted, the
// node says why and takes nothing more, what runs goes on, and when the disk is well
// again so is the node.
func TestFullDiskIsTheNodesFault(t *testing.T) {
	bubble(t, func(n *node) {
		n.boot()
		runs := n.place("runs#1", time.Minute, 0)
		n.eventually("it runs", func() bool { return n.agent.Running(runs.Task, 1) })
		aside := n.layout.Root() + ".aside"
		if err := errors.Join(os.Rename(n.layout.Root(), aside), os.WriteFile(n.layout.Root(), nil, 0o600)); err != nil {
			n.t.Fatal(err)
		}
		for _, key := range []string{"a#1", "b#1"} {
			r := n.place(key, time.Second, 0)
			told, err := n.cluster.Await(n.t.Context(), r, func(told agenttest.Told) bool { return told.Released > 0 })
			if err != nil || len(told.Outcomes) > 0 || told.Started > 0 {
				n.t.Fatalf("the cluster heard of %s: %+v, %v", key, told, err)
			}
			if why := n.cluster.Unfit(); !strings.Contains(why, "directory") {
				n.t.Fatalf("it was given back, and the node is unfit because of %q", why)
			}
		}
		if !n.agent.Running(runs.Task, 1) {
			n.t.Fatal("what ran was harmed")
		}
		if err := errors.Join(os.Remove(n.layout.Root()), os.Rename(aside, n.layout.Root())); err != nil {
			n.t.Fatal(err)
		}
		well := time.Now()
		n.eventually("it is fit again", func() bool { return n.cluster.Unfit() == "" })
		if took := time.Since(well); took < 10*time.Second || took > 20*time.Second {
			n.t.Errorf("it came back after %v", took)
		}
		if out := n.outcome(n.place("c#1", time.Second, 0)); out.Cause != rota.CauseNone {
			n.t.Errorf("afterwards: %+v", out)
		}
		if out := n.outcome(runs); out.Cause != rota.CauseNone {
			n.t.Errorf("what ran meanwhile: %+v", out)
		}
	})
}
