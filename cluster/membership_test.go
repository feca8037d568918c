package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// role gives a node a role by its number.
func role(worker ...int) func(int, *cluster.Config) {
	return func(i int, cfg *cluster.Config) {
		for _, w := range worker {
			if i == w {
				cfg.Roles = []rota.Role{rota.RoleWorker}
			}
		}
	}
}

// suffrage says how a server stands: voter, follower or absent.
func suffrage(c *cluster.Cluster, node int) string {
	for _, s := range c.Servers() {
		if s.ID == clustertest.ID(node) {
			if s.Voter {
				return "voter"
			}
			return "follower"
		}
	}
	return "absent"
}

func waitSuffrage(c *clustertest.Cluster, seenBy, node int, want string) {
	c.Wait(fmt.Sprintf("node %d to be %s", node, want), func() string {
		n := c.Node(seenBy)
		if n == nil {
			return "the witness is dead"
		}
		if got := suffrage(n, node); got != want {
			return got
		}
		return ""
	})
}

// TestTheFourthServerFollows: the first three vote, later ones hold a replica.
// (Source: DESIGN.md, section 5.)
func TestTheFourthServerFollows(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		mustSubmit(t, c, leader, 1)
		c.Add(3, 0)
		waitSuffrage(c, leader, 3, "follower")
		res := mustSubmit(t, c, 3, 2)
		if err := c.Node(3).Await(t.Context(), res.Index); err != nil {
			t.Fatal(err)
		}
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2, 3}, 1, 2)
		time.Sleep(time.Minute)
		if got := suffrage(c.Node(c.WaitLeader()), 3); got != "follower" {
			t.Errorf("after a minute it is a %s", got)
		}
	})
}

func TestAWorkerHasNoReplicaAndProposesAllTheSame(t *testing.T) {
	story(t, clustertest.Options{Config: role(3)}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Add(3, 0)
		c.WaitStarted(3)
		worker := c.Node(3)
		mustSubmit(t, c, 3, 1)
		if worker.Snapshot() != nil || worker.Servers() != nil {
			t.Error("the worker has a replica")
		}
		if err := worker.Await(t.Context(), 1); !errors.Is(err, rota.ErrUnavailable) {
			t.Errorf("await on a worker: %v", err)
		}
		index, err := worker.Barrier(t.Context())
		if err != nil || index == 0 {
			t.Errorf("a barrier through a worker: %d, %v", index, err)
		}
		c.Wait("the worker to know the leader", func() string {
			if id, addr, ok := worker.Leader(); !ok || id != clustertest.ID(leader) || addr != clustertest.HTTP(leader) {
				return fmt.Sprintf("it knows %q at %q", id, addr)
			}
			return ""
		})
		c.Kill(leader)
		mustSubmit(t, c, 3, 2)
		c.Restart(3)
		c.WaitStarted(3)
		mustSubmit(t, c, 3, 3)
		time.Sleep(10 * time.Second)
		if got := suffrage(c.Node(c.WaitLeader()), 3); got != "absent" {
			t.Errorf("the log's configuration has the worker as %s", got)
		}
	})
}

func TestOneServerGrowsToThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Empty(t, clustertest.Options{})
		c.Add(0, 1)
		if leader := c.WaitLeader(); leader != 0 {
			t.Fatal("another leads")
		}
		mustSubmit(t, c, 0, 1)
		c.Add(1, 0)
		waitSuffrage(c, 0, 1, "voter")
		c.Add(2, 0)
		waitSuffrage(c, 0, 2, "voter")
		c.Add(3, 0)
		waitSuffrage(c, 0, 3, "follower")
		mustSubmit(t, c, 2, 2)
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2, 3}, 1, 2)
		c.Kill(0)
		c.WaitLeader()
		mustSubmit(t, c, 3, 3)
	})
}

// TestANewServerIsSentASnapshot: what the log has dropped comes as a whole.
func TestANewServerIsSentASnapshot(t *testing.T) {
	small := func(_ int, cfg *cluster.Config) { cfg.SnapshotEntries, cfg.TrailingEntries = 50, 5 }
	for _, disk := range []bool{false, true} {
		t.Run(fmt.Sprintf("disk=%v", disk), func(t *testing.T) {
			story(t, clustertest.Options{Config: small, Disk: disk}, func(s scene) {
				t, c, leader := s.t, s.c, s.leader
				for n := range 200 {
					mustSubmit(t, c, leader, n)
				}
				time.Sleep(3 * time.Minute) // every node writes a snapshot
				restored := make(chan uint64, 10)
				c.OnOpen(func(_ int, n *cluster.Cluster) { n.OnRestore(func(_ uint16, index uint64) { restored <- index }) })
				c.Add(3, 0)
				waitSuffrage(c, leader, 3, "follower")
				mustSubmit(t, c, leader, 200)
				c.WaitDigestsEqual()
				wantRuns(t, c, []int{3}, 0, 100, 200)
				select {
				case index := <-restored:
					if index < 100 {
						t.Errorf("restored at %d", index)
					}
				default:
					t.Error("the new server was sent every entry, not a snapshot")
				}
				// It comes back with what it was sent, and so does an old one.
				for _, i := range []int{3, leader} {
					c.Restart(i)
					c.WaitStarted(i)
				}
				mustSubmit(t, c, 3, 201)
				c.WaitDigestsEqual()
				wantRuns(t, c, []int{0, 1, 2, 3}, 0, 200, 201)
			})
		})
	}
}

// TestALostVoterIsReplaced after ten minutes, never before. (Source: DESIGN.md,
// section 5.)
func TestALostVoterIsReplaced(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Add(3, 0)
		waitSuffrage(c, leader, 3, "follower")
		lost := (leader + 1) % 3
		c.Kill(lost)
		time.Sleep(9 * time.Minute)
		leader = c.WaitLeader()
		if suffrage(c.Node(leader), 3) != "follower" || suffrage(c.Node(leader), lost) != "voter" {
			t.Error("replaced too early")
		}
		time.Sleep(2 * time.Minute)
		waitSuffrage(c, leader, 3, "voter")
		waitSuffrage(c, leader, lost, "follower")
		if err := c.Start(lost); err != nil {
			t.Fatal(err)
		}
		c.WaitStarted(lost)
		mustSubmit(t, c, lost, 1)
		c.WaitDigestsEqual()
		if got := suffrage(c.Node(c.WaitLeader()), lost); got != "follower" {
			t.Errorf("the one that was replaced came back as a %s", got)
		}
	})
}

// TestAVoterThatOnlyGossipMissesKeepsItsVote: gossip may be cut alone.
func TestAVoterThatOnlyGossipMissesKeepsItsVote(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Add(3, 0)
		waitSuffrage(c, leader, 3, "follower")
		missed := (leader + 1) % 3
		c.Net.Deafen(missed, true)
		c.Wait("gossip to miss it", func() string {
			for _, m := range c.Node(leader).Members() {
				if m.ID == clustertest.ID(missed) && m.State == cluster.MemberDead {
					return ""
				}
			}
			return "not yet"
		})
		time.Sleep(15 * time.Minute)
		if suffrage(c.Node(leader), missed) != "voter" || suffrage(c.Node(leader), 3) != "follower" {
			t.Errorf("it is a %s, the other a %s", suffrage(c.Node(leader), missed), suffrage(c.Node(leader), 3))
		}
		c.Net.Deafen(missed, false)
	})
}

func TestAServerComesBackUnderAnotherAddress(t *testing.T) {
	skipMoves(t)
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		follower := (leader + 1) % 3
		mustSubmit(t, c, leader, 1)
		c.Kill(follower)
		c.Move(follower)
		if err := c.Start(follower); err != nil {
			t.Fatal(err)
		}
		c.Wait("the new address", func() string {
			for _, s := range c.Node(leader).Servers() {
				if s.ID == clustertest.ID(follower) && strings.HasPrefix(s.Raft, "10.0.1.") && strings.HasPrefix(s.HTTP, "10.0.1.") {
					return ""
				}
			}
			return fmt.Sprintf("%+v", c.Node(leader).Servers())
		})
		mustSubmit(t, c, follower, 2)
		c.WaitDigestsEqual()
	})
}

// skipMoves leaves out tests in which an address changes: raft v1.7.3 writes a
// follower's record then (startStopReplication) while its replication reads the ID in it
// without the lock (updateLastAppended). The ID stays the same.
func skipMoves(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("raft has a data race of its own when an address changes")
	}
}

// TestAllServersComeBackUnderOtherAddresses: nobody is where the log's
// configuration says, but gossip finds them.
func TestAllServersComeBackUnderOtherAddresses(t *testing.T) {
	skipMoves(t)
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		mustSubmit(t, c, leader, 1)
		time.Sleep(time.Minute)
		for i := range 3 {
			c.Kill(i)
			c.Move(i)
		}
		for i := range 3 {
			c.Retarget(i, 0, 1, 2)
			if err := c.Start(i); err != nil {
				t.Fatal(err)
			}
		}
		c.WaitLeader()
		mustSubmit(t, c, 0, 2)
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2}, 1, 2)
	})
}

// TestAnotherClustersDataIsRefused when its node meets this cluster.
func TestAnotherClustersDataIsRefused(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		c.Add(7, 1)
		c.WaitStarted(7)
		c.Kill(7)
		c.Retarget(7, 0, 1, 2)
		if err := c.Start(7); err != nil {
			t.Fatal(err)
		}
		err := <-c.Done(7)
		c.Buried(7)
		if !errors.Is(err, rota.ErrConflict) || !strings.Contains(err.Error(), "belongs to cluster") || !strings.Contains(err.Error(), "--data") {
			t.Errorf("it ended with: %v", err)
		}
	})
}

// TestFewerServersThanExpectedWait, and say for whom.
func TestFewerServersThanExpectedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Empty(t, clustertest.Options{})
		c.Add(0, 3)
		c.Add(1, 3)
		time.Sleep(time.Minute)
		err := c.Node(0).Ready()
		if !errors.Is(err, rota.ErrUnavailable) || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), clustertest.HTTP(2)) {
			t.Errorf("ready: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Node(0).Propose(ctx, submit(1)); !errors.Is(err, rota.ErrNoLeader) {
			t.Errorf("a proposal: %v", err)
		}
		c.Add(2, 3)
		c.WaitLeader()
		mustSubmit(t, c, 1, 1)
		c.WaitDigestsEqual()
	})
}

func TestMoreServersThanExpectedSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Empty(t, clustertest.Options{Config: func(_ int, cfg *cluster.Config) {
			cfg.Join = []string{clustertest.HTTP(0), clustertest.HTTP(1), clustertest.HTTP(2), clustertest.HTTP(3)}
		}})
		for i := range 4 {
			c.Add(i, 3)
			c.Isolate(i)
		}
		c.Partition([]int{0}, []int{1}, []int{2}, []int{3})
		c.Heal()
		time.Sleep(20 * time.Second)
		if err := c.Node(0).Ready(); err == nil || !strings.Contains(err.Error(), "4 servers were started to found a cluster of 3") {
			t.Errorf("ready: %v", err)
		}
	})
}

// TestServersStartedInAnyOrderFoundOneCluster, also where they can only see some of
// each other at first.
func TestServersStartedInAnyOrderFoundOneCluster(t *testing.T) {
	for _, gaps := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			c := clustertest.Empty(t, clustertest.Options{})
			c.Net.Cut(0, 1)
			for _, i := range gaps {
				c.Add(i, 3)
				time.Sleep(700 * time.Millisecond)
			}
			time.Sleep(5 * time.Second)
			c.Heal()
			c.WaitLeader()
			c.WaitStarted(0, 1, 2)
			mustSubmit(t, c, 0, 1)
			c.WaitDigestsEqual()
			id := c.Node(0).Status().ClusterID
			for i := range 3 {
				if got := c.Node(i).Status().ClusterID; got != id {
					t.Errorf("node %d is of cluster %s, node 0 of %s", i, got, id)
				}
			}
		})
	}
}

func TestAJoinTriesUntilSomebodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Empty(t, clustertest.Options{})
		c.Add(5, 0)
		time.Sleep(20 * time.Second)
		if err := c.Node(5).Ready(); err == nil || !strings.Contains(err.Error(), "no answer from "+clustertest.HTTP(0)) {
			t.Errorf("ready: %v", err)
		}
		for i := range 3 {
			c.Add(i, 3)
		}
		c.WaitStarted(5)
		mustSubmit(t, c, 5, 1)
	})
}

func TestGossipTellsOfDeaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		news := make(chan cluster.Member, 1000)
		c := clustertest.New(t, 3, clustertest.Options{Open: func(i int, n *cluster.Cluster) {
			if i == 0 {
				n.OnMember(func(m cluster.Member) { news <- m })
			}
		}})
		c.WaitStarted(0, 1, 2)
		time.Sleep(5 * time.Second)
		c.Kill(1)
		began := time.Now()
		for m := range news {
			if m.ID == clustertest.ID(1) && m.State == cluster.MemberDead {
				break
			}
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
