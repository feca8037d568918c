package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/clustertest"
)

// TestManyProposalsHaveEachTheirOwnAnswer, on the leader and from elsewhere. What is in
// several messages to the leader may overtake.
func TestManyProposalsHaveEachTheirOwnAnswer(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		for k, node := range []int{s.leader, (s.leader + 1) % 3} {
			var cmds []rota.Command
			for n := range 600 { // more than one batch
				cmds = append(cmds, submit(1000*k+n))
			}
			cmds = append(cmds, rota.Command{Op: rota.CancelRun{Run: runID(99_999)}}, submit(1000*k))
			results, errs := c.Node(node).ProposeMany(t.Context(), cmds)
			for n := range 600 {
				if errs[n] != nil || results[n].Err() != nil || results[n].Run != runID(1000*k+n) {
					t.Fatalf("node %d, command %d: %+v, %v", node, n, results[n], errs[n])
				}
			}
			if errs[600] != nil || results[600].Kind != rota.KindNotFound {
				t.Errorf("a refusal among them: %+v, %v", results[600], errs[600])
			}
			if errs[601] != nil || results[601].Existed == results[0].Existed || results[601].Run != runID(1000*k) {
				t.Errorf("one key twice: %+v and %+v, %v", results[0], results[601], errs[601])
			}
		}
		c.WaitDigestsEqual()
	})
}

// TestManyProposalsOutliveTheirLeader: they wait for the next one, and none is
// applied twice.
func TestManyProposalsOutliveTheirLeader(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		c.Kill(s.leader)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmds := []rota.Command{submit(1), submit(2), submit(1)}
		results, errs := c.Node((s.leader+1)%3).ProposeMany(ctx, cmds)
		for i := range cmds {
			if errs[i] != nil || results[i].Err() != nil {
				t.Fatalf("command %d: %+v, %v", i, results[i], errs[i])
			}
		}
		if results[0].Run != results[2].Run {
			t.Errorf("one key gave two runs, %s and %s", results[0].Run, results[2].Run)
		}
	})
}

// TestManyProposalsWithoutALeaderSaySo, each of them.
func TestManyProposalsWithoutALeaderSaySo(t *testing.T) {
	story(t, clustertest.Options{}, func(s scene) {
		t, c := s.t, s.c
		c.Kill(s.leader)
		c.Kill((s.leader + 1) % 3)
		time.Sleep(2 * time.Second) // of the bubble: the third may have been elected between the two deaths, and steps down
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, errs := c.Node((s.leader+2)%3).ProposeMany(ctx, []rota.Command{submit(1), submit(2)})
		for i, err := range errs {
			if !errors.Is(err, rota.ErrNoLeader) {
				t.Errorf("command %d: %v", i, err)
			}
		}
	})
}
