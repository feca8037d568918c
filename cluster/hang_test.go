package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// soon is enough for an election, and much less than one message to another server may
// take.
const soon = 2 * time.Second

// within proposes with far more time than it may take, and says what came back.
func within(t *testing.T, most time.Duration, n *cluster.Cluster, cmd rota.Command) (rota.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	res, err := n.Propose(ctx, cmd)
	if took := time.Since(began); took > most {
		t.Errorf("%T took %s, want %s at most", cmd.Op, took, most)
	}
	return res, err
}

// withAWorker adds a node without a replica as the last.
func withAWorker(_ int, cfg *cluster.Config) {
	if cfg.Name == clustertest.Name(3) {
		cfg.Roles = []rota.Role{rota.RoleWorker}
	}
}

// TestAWriteSentToALeaderThatHangsGoesToTheNext: a stopped process keeps its connections
// open and answers nothing. What may be repeated is sent to the next leader as soon as
// there is one; for everything else the answer is that its outcome is not known.
func TestAWriteSentToALeaderThatHangsGoesToTheNext(t *testing.T) {
	story(t, clustertest.Options{Config: withAWorker}, func(s scene) {
		t, c := s.t, s.c
		c.Add(3, 0)
		c.WaitStarted(3)
		for n := range 3 {
			mustSubmit(t, c, 3, n)
		}
		c.Isolate(s.leader)
		other := (s.leader + 1) % 3
		for _, via := range []int{other, 3} {
			if _, err := within(t, soon, c.Node(via), submit(10+via)); err != nil {
				t.Errorf("through node %d: %v", via, err)
			}
			if via == other {
				c.Heal()
				c.Isolate(c.WaitLeader())
			}
		}
	})
}

// TestAWriteThatMayNotBeRepeatedIsToldThatNothingIsKnown, not after the client's patience
// but as soon as another leads.
func TestAWriteThatMayNotBeRepeatedIsToldThatNothingIsKnown(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		mustSubmit(t, c, s.leader, 1)
		c.WaitDigestsEqual()
		c.Isolate(s.leader)
		_, err := within(t, soon, c.Node((s.leader+1)%3), rota.Command{Op: rota.CancelRun{Run: runID(1)}})
		if !errors.Is(err, rota.ErrUnknown) {
			t.Errorf("a cancel: %v", err)
		}
	})
}

// TestAConsistentReadDoesNotWaitForALeaderThatHangs.
func TestAConsistentReadDoesNotWaitForALeaderThatHangs(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		c.Isolate(s.leader)
		began := time.Now()
		if _, err := c.Node((s.leader + 1) % 3).Barrier(t.Context()); err != nil || time.Since(began) > soon {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestADiskThatHangsDoesNotHoldUpTheLeadersOwnDoor: once the watchdog has made it give up
// the lead, what waits there goes to the next leader, or is told.
func TestADiskThatHangsDoesNotHoldUpTheLeadersOwnDoor(t *testing.T) {
	disks := map[int]*slowDisk{}
	story(t, clustertest.Options{Config: onSlowDisks(disks)}, func(s scene) {
		t, c := s.t, s.c
		mustSubmit(t, c, s.leader, 1)
		c.WaitDigestsEqual()
		disks[s.leader].stop()
		const seen = 2500 * time.Millisecond // by the watchdog: StoreSlow and an eighth
		told := make(chan error, 1)
		go func() {
			_, err := within(t, seen+soon, c.Node(s.leader), rota.Command{Op: rota.CancelRun{Run: runID(1)}})
			told <- err
		}()
		read := make(chan error, 1)
		go func() {
			began := time.Now()
			_, err := c.Node(s.leader).Barrier(t.Context())
			if took := time.Since(began); took > seen+soon {
				t.Errorf("a consistent read took %s", took)
			}
			read <- err
		}()
		if _, err := within(t, seen+soon, c.Node(s.leader), submit(2)); err != nil {
			t.Errorf("a submission: %v", err)
		}
		if err := <-told; !errors.Is(err, rota.ErrUnknown) {
			t.Errorf("a cancel: %v", err)
		}
		if err := <-read; err != nil {
			t.Errorf("a consistent read: %v", err)
		}
		disks[s.leader].start()
		c.WaitDigestsEqual()
	})
}

// TestADrainIsNeverRepeatedByItself: sent again late, it would undo the undrain of
// somebody who came in between. The same holds for a job that is stored.
func TestADrainIsNeverRepeatedByItself(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		drain := true
		for _, op := range []rota.Op{
			rota.MarkNode{Node: clustertest.ID(0), Drain: &drain},
			rota.StoreJob{Job: "job", Hash: "hash", Filename: "job.hcl", Source: []byte("source")},
		} {
			leader := c.WaitLeader()
			other := (leader + 1) % 3
			mustSubmitFresh(t, c, other) // it knows who leads
			c.Isolate(leader)
			if _, err := within(t, soon, c.Node(other), rota.Command{Op: op}); !errors.Is(err, rota.ErrUnknown) {
				t.Errorf("%T: %v", op, err)
			}
			c.Heal()
			c.WaitDigestsEqual()
		}
	})
}
