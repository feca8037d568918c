package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// slowDisk is a log store that a test can stop.
type slowDisk struct {
	*raft.InmemStore
	mu   sync.Mutex // guards what follows
	gate chan struct{}
	full bool
	each time.Duration // of a call that writes
}

func (s *slowDisk) fill(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// room is nil while the disk has some.
func (s *slowDisk) room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}
	}
	return nil
}

func (s *slowDisk) Set(k, v []byte) error {
	s.drag()
	if err := s.room(); err != nil {
		return err
	}
	return s.InmemStore.Set(k, v)
}

func (s *slowDisk) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *slowDisk) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate)
	s.gate = nil
}

func (s *slowDisk) StoreLogs(l []*raft.Log) error {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.drag()
	if err := s.room(); err != nil {
		return err
	}
	return s.InmemStore.StoreLogs(l)
}

func (s *slowDisk) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// onSlowDisks gives every node a disk that can be stopped.
func onSlowDisks(disks map[int]*slowDisk) func(int, *cluster.Config) {
	return func(i int, cfg *cluster.Config) {
		if disks[i] == nil {
			disks[i] = &slowDisk{InmemStore: raft.NewInmemStore()}
		}
		snaps := raft.NewInmemSnapshotStore()
		cfg.Seams.Stores = func() (cluster.Stores, error) {
			return cluster.Stores{Log: disks[i], Stable: disks[i], Snapshots: snaps}, nil
		}
	}
}

// TestALeaderWhoseDiskHangsStopsLeading: it would send heartbeats for ever and
// commit nothing. (Source: DESIGN.md, section 5.)
func TestALeaderWhoseDiskHangsStopsLeading(t *testing.T) {
	disks := map[int]*slowDisk{}
	story(t, clustertest.Options{Config: onSlowDisks(disks)}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		disks[leader].stop()
		began := time.Now()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, _ = c.Node(leader).Propose(ctx, submit(1))
		}()
		c.Wait("another leader", func() string {
			for i := range 3 {
				if i != leader && c.Node(i).Status().Leads {
					return ""
				}
			}
			return "none"
		})
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
		if c.Node(leader).Status().Leads {
			t.Error("two lead")
		}
		mustSubmit(t, c, (leader+1)%3, 2)
		if k := c.Node(leader).Contact(); !k.Voter || len(k.Voters) != 3 {
			t.Errorf("the hung node does not answer for its contact: %+v", k)
		}
		disks[leader].start()
		c.Wait("the old leader to follow", func() string {
			if _, _, ok := c.Node(leader).Leader(); !ok || c.Node(leader).Status().Leads {
				return "not yet"
			}
			return ""
		})
		mustSubmit(t, c, leader, 3)
		c.WaitDigestsEqual()
	})
}

// TestANodeWhoseDiskStaysHungEnds, with a clear word.
func TestANodeWhoseDiskStaysHungEnds(t *testing.T) {
	disks := map[int]*slowDisk{}
	story(t, clustertest.Options{Config: onSlowDisks(disks)}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		disks[leader].stop()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, _ = c.Node(leader).Propose(ctx, submit(1))
		}()
		began := time.Now()
		err := <-c.Done(leader)
		t.Logf("after %s: %v", time.Since(began), err)
		if err == nil || time.Since(began) < 10*time.Second || time.Since(began) > 30*time.Second {
			t.Errorf("after %s it ended with: %v", time.Since(began), err)
		}
		disks[leader].start()
		c.Buried(leader)
		mustSubmit(t, c, (leader+1)%3, 2)
	})
}

// TestASlowDiskOfOneServerAloneKeepsItsLead: it comes back to lead by itself.
func TestTheOnlyServerLeadsAgainWhenItsDiskIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disks := map[int]*slowDisk{}
		c := clustertest.Empty(t, clustertest.Options{Config: onSlowDisks(disks)})
		c.Add(0, 1)
		c.WaitLeader()
		mustSubmit(t, c, 0, 1)
		disks[0].stop()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Node(0).Propose(ctx, submit(2)); !errors.Is(err, rota.ErrUnknown) {
			t.Errorf("on a hung disk: %v", err)
		}
		if c.Node(0).Status().Leads {
			t.Error("it leads with a hung disk")
		}
		disks[0].start()
		res := mustSubmit(t, c, 0, 2)
		if !res.Existed {
			t.Log("the first try had not reached the log")
		}
	})
}

// TestAServerWithAFullDiskStepsDownAndComesBack when there is room. (Source:
// RELIABILITY.md, section 3.)
func TestAServerWithAFullDiskStepsDownAndComesBack(t *testing.T) {
	disks := map[int]*slowDisk{}
	story(t, clustertest.Options{Config: onSlowDisks(disks)}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		mustSubmit(t, c, leader, 1)
		disks[leader].fill(true)
		mustSubmit(t, c, (leader+1)%3, 2)
		time.Sleep(time.Minute)
		if next := c.WaitLeader(); next == leader {
			t.Error("it leads with a full disk")
		}
		mustSubmit(t, c, leader, 3)
		disks[leader].fill(false)
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{leader}, 1, 2, 3)
	})
}

// TestAReplicaThatDivergedStops: its state is not what the others' is, although it
// applied the same entries. (Source: RELIABILITY.md, section 3.)
func TestAReplicaThatDivergedStops(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		bad := (leader + 1) % 3
		c.Mislead(bad)
		var wg sync.WaitGroup
		for who := range 2 {
			wg.Go(func() {
				for n := who; n < 2200; n += 2 {
					c.Propose(leader, rota.Command{Op: rota.RenewLeases{}})
				}
			})
		}
		wg.Wait()
		select {
		case err := <-c.Done(bad):
			if !errors.Is(err, cluster.ErrDamaged) {
				t.Errorf("it ended with: %v", err)
			}
			t.Log(err)
			c.Buried(bad)
		case <-time.After(time.Minute):
			t.Error("it goes on")
		}
		mustSubmit(t, c, c.WaitLeader(), 1)
		for _, i := range []int{leader, (leader + 2) % 3} {
			if c.Node(i).Ready() != nil {
				t.Errorf("node %d stopped, too", i)
			}
		}
	})
}

// TestReplicasThatDifferWithoutAMajorityTakeNoWrites: nobody knows which is right, and
// to go on would make it worse. (Source: RELIABILITY.md, section 3.)
func TestReplicasThatDifferWithoutAMajorityTakeNoWrites(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		c.Quarrel(true)
		for range 1200 {
			c.Propose(leader, rota.Command{Op: rota.RenewLeases{}})
		}
		time.Sleep(30 * time.Second)
		leader = c.WaitLeader()
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := c.Node(i).Propose(ctx, submit(1))
			cancel()
			if rota.KindOf(err) != rota.KindUnavailable || !strings.Contains(err.Error(), "no majority has the same") {
				t.Errorf("node %d took a write, or says little: %v", i, err)
			}
			if err := c.Node(i).Ready(); err == nil || !strings.Contains(err.Error(), "differ at entry") {
				t.Errorf("node %d says that it is ready: %v", i, err)
			}
		}
		if c.Node(leader).Snapshot() == nil {
			t.Error("it cannot be read either")
		}
		c.Quarrel(false)
		time.Sleep(30 * time.Second)
		mustSubmit(t, c, c.WaitLeader(), 2)
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2}, 2)
	})
}

// TestALeaderWithAWrongClockGivesUpTheLead. (Source: DESIGN.md, section 4.)
func TestALeaderWithAWrongClockGivesUpTheLead(t *testing.T) {
	wrong := map[int]time.Duration{}
	var mu sync.Mutex
	story(t, clustertest.Options{Config: func(i int, cfg *cluster.Config) {
		cfg.Seams.Wall = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(wrong[i])
		}
	}}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		mu.Lock()
		wrong[leader] = -time.Hour
		mu.Unlock()
		time.Sleep(30 * time.Second)
		if next := c.WaitLeader(); next == leader {
			t.Error("it leads on")
		}
	})
}

// TestOverloadIsRefusedAtOnce and the cluster goes on.
func TestOverloadIsRefusedAtOnce(t *testing.T) {
	disks := map[int]*slowDisk{}
	stop := onSlowDisks(disks)
	story(t, clustertest.Options{Config: func(i int, cfg *cluster.Config) {
		stop(i, cfg)
		cfg.Queue = 10
	}}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		disks[leader].stop()
		errs := make(chan error, 100)
		for n := range 100 {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				_, err := c.Node(leader).Propose(ctx, submit(n))
				errs <- err
			}()
		}
		time.Sleep(time.Second)
		disks[leader].start()
		refused := 0
		for range 100 {
			switch err := <-errs; {
			case errors.Is(err, rota.ErrOverloaded):
				refused++
			case err != nil:
				t.Error(err)
			}
		}
		if refused == 0 || refused == 100 {
			t.Errorf("%d of 100 were refused", refused)
		}
		mustSubmit(t, c, (leader+1)%3, 200)
		c.WaitDigestsEqual()
	})
}

func TestALargeOperationTravelsAloneAndATooLargeOneIsRefused(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		large := func(n, size int) rota.Command {
			cmd := submit(n)
			op, _ := cmd.Op.(rota.SubmitRun)
			op.Hash = fmt.Sprint(n)
			op.Source = make([]byte, size)
			cmd.Op = op
			return cmd
		}
		for i := range 3 {
			if res := c.Propose(i, large(i, rota.MaxSourceBytes)); res.Err() != nil {
				t.Errorf("1 MiB through node %d: %v", i, res.Err())
			}
		}
		for _, i := range []int{leader, (leader + 1) % 3} {
			_, err := c.Node(i).Propose(t.Context(), large(9, cluster.MaxOpBytes))
			if !errors.Is(err, rota.ErrTooLarge) {
				t.Errorf("over 2 MiB through node %d: %v", i, err)
			}
		}
		c.WaitDigestsEqual()
	})
}

// TestContactGrowsOnlyWithoutALeader: while entries are committed every voter's
// contact is young, the leader's own too; in a leaderless time they grow on a
// majority. (Source: RELIABILITY.md, section 2, rule 7.)
func TestContactGrowsOnlyWithoutALeader(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		for n := range 20 {
			mustSubmit(t, c, leader, n)
			time.Sleep(250 * time.Millisecond)
		}
		var config uint64
		for i := range 3 {
			k := c.Node(i).Contact()
			if k.Age > 300*time.Millisecond || !k.Voter || len(k.Voters) != 3 || k.ConfigIndex == 0 {
				t.Errorf("node %d: %+v", i, k)
			}
			if config == 0 {
				config = k.ConfigIndex
			}
			if k.ConfigIndex != config {
				t.Errorf("node %d names configuration %d, another %d", i, k.ConfigIndex, config)
			}
		}
		c.Kill(leader)
		others := []int{(leader + 1) % 3, (leader + 2) % 3}
		c.Partition([]int{others[0]}, []int{others[1]})
		time.Sleep(10 * time.Second)
		for _, i := range others {
			if k := c.Node(i).Contact(); k.Age < 10*time.Second {
				t.Errorf("node %d heard nobody for 10 s: %+v", i, k)
			}
		}
	})
}

// TestTimeGoesOnWhereTheLogStopped at a failover, whatever the next leader's wall
// clock says; after a stop of the whole cluster it goes on at the wall clocks of the
// majority.
func TestTimeGoesOnWhereTheLogStopped(t *testing.T) {
	wrong := map[int]time.Duration{}
	var mu sync.Mutex
	story(t, clustertest.Options{Config: func(i int, cfg *cluster.Config) {
		cfg.Seams.Wall = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(wrong[i])
		}
	}}, func(s scene) {
		t, c, leader := s.t, s.c, s.leader
		now := func() time.Duration {
			n := c.WaitLeader()
			mustSubmitFresh(t, c, n)
			return time.Until(c.Node(n).Snapshot().Now().Time())
		}
		if off := now(); off.Abs() > time.Second {
			t.Errorf("at first it is off by %s", off)
		}
		mu.Lock()
		for i := range 3 {
			if i != leader {
				wrong[i] = 24 * time.Hour
			}
		}
		mu.Unlock()
		c.Isolate(leader)
		c.Wait("another leader", func() string {
			if next := c.WaitLeader(); next == leader {
				return "the old one"
			}
			return ""
		})
		// Both others agree on a day's jump: the majority of wall clocks would carry it,
		// were it a stop of the whole cluster. It is not: they have followed the log.
		if off := now(); off.Abs() > time.Second {
			t.Errorf("after the failover it is off by %s", off)
		}
		c.Heal()
		mu.Lock()
		clear(wrong)
		wrong[leader] = 48 * time.Hour
		mu.Unlock()
		for i := range 3 {
			c.Kill(i)
		}
		time.Sleep(8 * time.Hour) // overnight
		for i := range 3 {
			if err := c.Start(i); err != nil {
				t.Fatal(err)
			}
		}
		if off := now(); off.Abs() > 3*time.Second {
			t.Errorf("after a night in which nothing ran it is off by %s", off)
		}
	})
}

var fresh = 1000 // counts up: the stories run one after another

func mustSubmitFresh(t *testing.T, c *clustertest.Cluster, node int) {
	t.Helper()
	fresh++
	mustSubmit(t, c, node, fresh)
}
