package cluster_test

import (
	"testing"
	"time"

	"github.com/rota-sched/rota/clustertest"
)

// slower makes each store of entries and each vote of a disk take so long.
func (s *slowDisk) slower(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each = d
}

func (s *slowDisk) drag() {
	s.mu.Lock()
	d := s.each
	s.mu.Unlock()
	time.Sleep(d)
}

// submitFor keeps the log going and says how long the slowest of the second half took.
func submitFor(t *testing.T, c *clustertest.Cluster, node int, d time.Duration) time.Duration {
	t.Helper()
	var slowest time.Duration
	for began := time.Now(); time.Since(began) < d; time.Sleep(50 * time.Millisecond) {
		at := time.Now()
		mustSubmitFresh(t, c, node)
		if time.Since(began) > d/2 {
			slowest = max(slowest, time.Since(at))
		}
	}
	return slowest
}

// TestALeaderWithASlowDiskHandsOverTheLead, also for those that come to its own door,
// and does not get it back.
func TestALeaderWithASlowDiskHandsOverTheLead(t *testing.T) {
	disks := map[int]*slowDisk{}
	story(t, clustertest.Options{Config: onSlowDisks(disks)}, func(s scene) {
		t, c := s.t, s.c
		submitFor(t, c, s.leader, time.Second)
		disks[s.leader].slower(800 * time.Millisecond)
		if slowest := submitFor(t, c, s.leader, 20*time.Second); slowest > 100*time.Millisecond {
			t.Errorf("with a slow disk at the old leader a submission took %s", slowest)
		}
		if now := c.WaitLeader(); now == s.leader {
			t.Error("it leads still")
		}
		disks[s.leader].slower(0)
		c.WaitDigestsEqual()
	})
}

// TestWhereEveryDiskIsSlowTheLeadStays.
func TestWhereEveryDiskIsSlowTheLeadStays(t *testing.T) {
	disks := map[int]*slowDisk{}
	story(t, clustertest.Options{Config: onSlowDisks(disks)}, func(s scene) {
		t, c := s.t, s.c
		term := c.Node(s.leader).Status().Term
		for _, d := range disks {
			d.slower(400 * time.Millisecond)
		}
		submitFor(t, c, s.leader, 20*time.Second)
		if now := c.Node(s.leader).Status(); !now.Leads || now.Term != term {
			t.Errorf("the lead did not stay: %+v", now)
		}
		for _, d := range disks {
			d.slower(0)
		}
		c.WaitDigestsEqual()
	})
}
