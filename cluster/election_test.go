package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// scene is what a story happens on.
type scene struct {
	t      *testing.T
	c      *clustertest.Cluster
	leader int
}

// story runs f on three servers in a bubble, once they have a leader.
func story(t *testing.T, opts clustertest.Options, f func(s scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.New(t, 3, opts)
		leader := c.WaitLeader()
		c.WaitStarted(0, 1, 2)
		f(scene{t, c, leader})
	})
}

func TestThreeServersFindEachOtherAndElectOne(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		mustSubmit(t, c, leader, 1)
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2}, 1)
		voters := 0
		for _, s := range c.Node(leader).Servers() {
			if s.Voter && s.Alive {
				voters++
			}
		}
		if voters != 3 {
			t.Errorf("%d servers vote and are alive, want 3: %+v", voters, c.Node(leader).Servers())
		}
	})
}

func TestAnyNodeTakesAProposal(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		for i := range 3 {
			res := mustSubmit(t, c, i, i)
			if err := c.Node(i).Await(t.Context(), res.Index); err != nil {
				t.Fatal(err)
			}
			if _, ok := c.Node(i).Snapshot().Run(runID(i)); !ok {
				t.Errorf("node %d does not read its own write at index %d", i, res.Index)
			}
		}
	})
}

func TestARefusalIsAResult(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		for _, i := range []int{leader, (leader + 1) % 3} {
			res := c.Propose(i, rota.Command{Op: rota.CancelRun{Run: runID(99)}})
			if err := res.Err(); !errors.Is(err, rota.ErrNotFound) {
				t.Errorf("node %d: cancelling a run that does not exist gives %v", i, err)
			}
		}
	})
}

func TestAnotherLeadsWhenTheLeaderDies(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		mustSubmit(t, c, leader, 1)
		c.Kill(leader)
		began := time.Now()
		next := c.WaitLeader()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the election took %s", took)
		}
		mustSubmit(t, c, (leader+1)%3, 2)
		if err := c.Start(leader); err != nil {
			t.Fatal(err)
		}
		c.WaitStarted(leader)
		mustSubmit(t, c, leader, 3)
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2}, 1, 2, 3)
		if next == leader {
			t.Error("the dead node leads")
		}
	})
}

func TestAProposalWaitsForTheNextLeader(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Kill(leader)
		mustSubmit(t, c, (leader+1)%3, 1) // nobody leads yet
	})
}

func TestACutOffLeaderStopsLeading(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Isolate(leader)
		old := c.Node(leader)
		at, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer stop()
		if index, err := old.Barrier(at); err == nil {
			t.Errorf("cut off, it still gives a barrier, at %d", index)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := old.Propose(ctx, submit(1))
		if k := rota.KindOf(err); k != rota.KindNoLeader && k != rota.KindUnknown {
			t.Errorf("a proposal on a leader that is cut off: %v", err)
		}
		if old.Status().Leads {
			t.Error("it still leads")
		}
		next := c.WaitLeader()
		mustSubmit(t, c, next, 2)
		c.Heal()
		c.Wait("the old leader to follow", func() string {
			if id, _, ok := old.Leader(); !ok || id == clustertest.ID(leader) {
				return fmt.Sprintf("it follows %q", id)
			}
			return ""
		})
		mustSubmit(t, c, leader, 3)
		c.WaitDigestsEqual()
	})
}

// TestOneWayCuts: a leader that is not heard steps down, although it hears the
// others.
func TestALeaderThatIsNotHeardStepsDown(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		for i := range 3 {
			if i != leader {
				c.Net.Cut(leader, i)
			}
		}
		c.Wait("another leader", func() string {
			for i := range 3 {
				if i != leader && c.Node(i).Status().Leads && !c.Node(leader).Status().Leads {
					return ""
				}
			}
			return "none yet"
		})
		c.Heal()
		mustSubmit(t, c, leader, 1)
		c.WaitDigestsEqual()
	})
}

func TestWithoutAMajorityNothingIsAcknowledged(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Kill((leader + 1) % 3)
		c.Kill((leader + 2) % 3)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.Node(leader).Propose(ctx, submit(1))
		if k := rota.KindOf(err); k != rota.KindNoLeader && k != rota.KindUnknown {
			t.Errorf("proposed to a minority: %v", err)
		}
		if err := c.Start((leader + 1) % 3); err != nil {
			t.Fatal(err)
		}
		mustSubmit(t, c, leader, 2)
	})
}

// TestAnUnknownOutcomeMayBeAskedForAgain: the answer is lost, the operation is not;
// the same request again gives the same run. (Source: CONTRACT.md, "HTTP".)
func TestAnUnknownOutcomeMayBeAskedForAgain(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		follower := (leader + 1) % 3
		cancelRun := rota.Command{Op: rota.CancelRun{Run: runID(7)}} // never repeated by itself
		mustSubmit(t, c, leader, 7)
		c.Net.Cut(leader, follower) // the request goes through, the answer does not
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := c.Node(follower).Propose(ctx, cancelRun)
		if !errors.Is(err, rota.ErrUnknown) {
			t.Errorf("the answer was lost, the error is %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := c.Node(follower).Propose(ctx, submit(8)); !errors.Is(err, rota.ErrUnknown) {
			t.Errorf("the answer was lost, the error is %v", err)
		}
		c.Heal()
		res := mustSubmit(t, c, follower, 8)
		if !res.Existed {
			t.Error("the submission whose answer was lost made no run, or the second made another")
		}
		c.WaitDigestsEqual()
	})
}

func TestWorkOfTheLeaderEndsWithTheLeadership(t *testing.T) {
	type event struct {
		node int
		what string
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 3)
		events := make(chan event, 100)
		c := clustertest.New(t, 3, clustertest.Options{Open: func(i int, n *cluster.Cluster) {
			go func() {
				done <- n.Lead(ctx, func(ctx context.Context, l *cluster.Leadership) error {
					events <- event{i, "begin"}
					for range l.Changes() {
						continue
					}
					<-ctx.Done()
					if _, err := l.Propose(context.WithoutCancel(ctx), submit(77)); !errors.Is(err, rota.ErrNoLeader) {
						t.Errorf("a proposal after the leadership: %v", err)
					}
					events <- event{i, "end"}
					return errors.New("not heard: the leadership is over")
				})
			}()
		}})
		leader := c.WaitLeader()
		if e := <-events; e != (event{leader, "begin"}) {
			t.Errorf("first %v", e)
		}
		c.Isolate(leader)
		if e := <-events; e != (event{leader, "end"}) {
			t.Errorf("then %v", e)
		}
		if e := <-events; e.what != "begin" || e.node == leader {
			t.Errorf("then %v", e)
		}
		c.Heal()
		stop()
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestTheLeaderSeesEveryEntryOnce: a leadership's changes follow its snapshot
// without a hole.
func TestTheLeaderSeesEveryEntryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var done []chan error
		seen := map[rota.RunID]int{}
		c := clustertest.New(t, 3, clustertest.Options{Open: func(_ int, n *cluster.Cluster) {
			ended := make(chan error, 1)
			done = append(done, ended)
			go func() {
				ended <- n.Lead(ctx, func(_ context.Context, l *cluster.Leadership) error {
					last := l.Snapshot().Index()
					for a := range l.Changes() {
						if a.Index <= last {
							t.Errorf("entry %d after %d", a.Index, last)
						}
						last = a.Index
						for _, ch := range a.Changes {
							if ch.Type == rota.ChangeRunCreated {
								seen[ch.Run.ID]++
							}
						}
					}
					return nil
				})
			}()
		}})
		leader := c.WaitLeader()
		for n := range 100 {
			mustSubmit(t, c, n%3, n)
		}
		c.WaitDigestsEqual()
		stop()
		for _, d := range done {
			if err := <-d; err != nil {
				t.Error(err)
			}
		}
		_ = leader
		for n := range 100 {
			if seen[runID(n)] != 1 {
				t.Errorf("run %d was seen %d times", n, seen[runID(n)])
			}
		}
	})
}

func TestABarrierShowsWhatWasAcknowledgedAnywhere(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		res := mustSubmit(t, c, leader, 1)
		for i := range 3 {
			index, err := c.Node(i).Barrier(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if index < res.Index {
				t.Errorf("node %d: barrier at %d, the write before was at %d", i, index, res.Index)
			}
			if err := c.Node(i).Await(t.Context(), index); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestTheLeadIsHandedOver(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := c.Node(leader).Leave(ctx); err != nil {
			t.Fatal(err)
		}
		c.Wait("another leader", func() string {
			if next := c.WaitLeader(); next == leader {
				return "the same"
			}
			return ""
		})
		t.Logf("handed over after %s", time.Since(began))
		c.Kill(leader)
		mustSubmit(t, c, (leader+1)%3, 1)
		c.Wait("the member to have left", func() string {
			for _, m := range c.Node((leader + 1) % 3).Members() {
				if m.ID == clustertest.ID(leader) && m.State == cluster.MemberLeft {
					return ""
				}
			}
			return fmt.Sprintf("%+v", c.Node((leader+1)%3).Members())
		})
	})
}

// TestAServerThatWasAwayForLongCatchesUpAtOnce: Raft alone would leave it behind for up
// to ten seconds after its return.
func TestAServerThatWasAwayForLongCatchesUpAtOnce(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		away := (leader + 1) % 3
		c.Kill(away)
		for n := range 60 {
			mustSubmit(t, c, leader, n)
			time.Sleep(time.Second)
		}
		if err := c.Start(away); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.WaitStarted(away)
		c.WaitDigestsEqual()
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("it caught up after %s", took)
		}
		if now := c.WaitLeader(); now != leader {
			t.Errorf("its return changed the leader from %d to %d", leader, now)
		}
	})
}
