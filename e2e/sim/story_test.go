package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

// calm makes a world without a nemesis and with default lease times, in which one
// run of long tasks is under way.
func calm(t *testing.T, tasks int, lasts time.Duration) *World {
	t.Helper()
	cfg := DefaultConfig(7)
	cfg.Calm, cfg.Runs, cfg.Whole = true, 0, true
	w := newWorld(cfg)
	for len(w.machines) < 5 || len(w.servers) != 3 { // room for what a dead machine leaves behind
		cfg.Seed++
		w = newWorld(cfg)
	}
	w.times = rota.DefaultLeaseTimes()
	w.leaderConfig.Times, w.leaderConfig.RenewEvery = w.times, 250*time.Millisecond
	w.begin()
	op := rota.SubmitRun{
		Run: "01J00000000000000000000100", Job: "work", Hash: "h1", Filename: "sim.hcl", Source: []byte("job"), Digest: "d", Total: tasks,
	}
	for i := range tasks {
		op.Tasks = append(op.Tasks, rota.NewTask{Key: rota.TaskKey("t" + string(rune('a'+i))), Spec: 0})
	}
	op.Specs = []*rota.TaskSpec{{
		Driver: rota.DriverExec, Command: behave(lasts, 0, false, false), Resources: rota.Resources{CPUMilli: 1500}, Retry: rota.Retry{MaxAttempts: 1},
	}}
	w.people.open[op.Run] = true
	w.after(3*time.Second, func() { w.people.submit(op) })
	w.until(t, 5*time.Second)
	if len(w.check.alive) != tasks {
		t.Fatalf("%d of %d tasks run\n%s", len(w.check.alive), tasks, strings.Join(w.story, "\n"))
	}
	return w
}

func (w *World) until(t *testing.T, d time.Duration) {
	t.Helper()
	w.run(moment(d))
	if w.failed != nil {
		t.Fatalf("%v\n%s", w.failed, strings.Join(w.story, "\n"))
	}
}

// A leaderless minute with servers reachable kills no task. (Source: RELIABILITY.md,
// section 2, rule 7.)
func TestLeaderlessMinuteKillsNothing(t *testing.T) {
	w := calm(t, 6, 2*time.Minute)
	l := w.leading().node.replica
	w.noElections = true
	l.follow(l.d.term, nil)
	w.until(t, 65*time.Second)
	if w.leading().node.replica.role == leads {
		t.Fatal("somebody leads")
	}
	w.noElections = false
	w.until(t, 90*time.Second)
	if w.check.signals != 0 || w.check.expired != 0 || w.check.starts != 6 || len(w.check.alive) != 6 {
		t.Errorf("%d signals, %d sessions expired, %d starts, %d alive\n%s", w.check.signals, w.check.expired, w.check.starts, len(w.check.alive), strings.Join(w.story, "\n"))
	}
}

// Without a majority of the servers nothing may go on: every node has killed by
// its deadline.
func TestMinuteWithoutServersKillsEverything(t *testing.T) {
	w := calm(t, 6, 2*time.Minute)
	for _, m := range w.servers[:2] {
		m.crash()
	}
	w.until(t, 5*time.Second+w.times.TTL*102/100)
	if len(w.check.alive) != 0 {
		t.Errorf("%d processes are alive\n%s", len(w.check.alive), strings.Join(w.story, "\n"))
	}
}

// Only a host that vanishes whole costs the leader's TTL; where it led, an
// election more. (Source: RELIABILITY.md, section 2, the table.)
func TestVanishedHostsTasksRunElsewhereAfterTheTTL(t *testing.T) {
	for _, led := range []bool{false, true} {
		w := calm(t, 6, 2*time.Minute)
		var victim *machine
		for _, x := range w.check.alive {
			if (x.m == w.leading()) == led {
				victim = x.m
			}
		}
		if victim == nil {
			t.Fatal("nothing runs there")
		}
		lost := 0
		for _, x := range w.check.alive {
			if x.m == victim {
				lost++
			}
		}
		victim.crash()
		limit := w.times.LeaderTTL*102/100 + 300*time.Millisecond
		if led {
			limit += time.Second
		}
		w.until(t, 5*time.Second+limit)
		if w.check.starts != 6+lost {
			t.Errorf("led %v: %d starts within %v, want %d more\n%s", led, w.check.starts, limit, lost, strings.Join(w.story, "\n"))
		}
	}
}

// A dead agent costs its keeper's patience and the politeness of its tasks, not a
// TTL. (Source: RELIABILITY.md, section 2, rule 8.)
func TestDeadAgentsTasksRunElsewhereInSeconds(t *testing.T) {
	w := calm(t, 6, 2*time.Minute)
	var victim *machine
	for _, x := range w.check.alive {
		if x.m != w.leading() {
			victim = x.m
		}
	}
	victim.killNode()
	began := w.check.starts
	w.until(t, 9*time.Second)
	if w.check.starts == began || w.check.expired != 0 {
		t.Errorf("%d new starts within 4 s, %d sessions expired\n%s", w.check.starts-began, w.check.expired, strings.Join(w.story, "\n"))
	}
}

// An agent that comes back in time adopts what its keeper still runs.
func TestAgentThatComesBackAdopts(t *testing.T) {
	w := calm(t, 6, 2*time.Minute)
	for _, m := range w.machines {
		m.killNode()
	}
	w.until(t, 6*time.Second)
	for _, m := range w.machines {
		m.startNode()
	}
	w.until(t, 30*time.Second)
	if w.check.signals != 0 || w.check.starts != 6 || len(w.check.alive) != 6 {
		t.Errorf("%d signals, %d starts, %d alive\n%s", w.check.signals, w.check.starts, len(w.check.alive), strings.Join(w.story, "\n"))
	}
}

// The same seed is the same history, to the bit.
func TestSeedReplays(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		a, b := Run(DefaultConfig(seed)), Run(DefaultConfig(seed))
		if a.Digest != b.Digest || a.Steps != b.Steps || a.Entries != b.Entries {
			t.Errorf("seed %d: %d steps, %d entries, digest %x; then %d, %d, %x", seed, a.Steps, a.Entries, a.Digest, b.Steps, b.Entries, b.Digest)
		}
	}
}
