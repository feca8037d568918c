package e2e

import (
	"testing"
	"time"
)

// TestALeaderThatIsStoppedForLongHoldsNobodyUp: its process stands still, with its
// connections open, for longer than a disk may hang. Whoever asks the others, the one that
// leads next and the one that passes on, is answered all the while; and on waking it goes
// on as one of the cluster.
func TestALeaderThatIsStoppedForLongHoldsNobodyUp(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	nodes := cluster(t, 3)
	leader := leaderOf(t, nodes...)
	rest := without(nodes, leader)
	clients := []*submitter{submitOn(t, rest[0]), submitOn(t, rest[1])}
	hold(t, time.Second)
	hang(t, leader, 15*time.Second)
	hold(t, time.Second) // it wakes among them
	var ids []string
	for i, c := range clients {
		ids = append(ids, c.stop()...)
		t.Logf("through %s: %d runs acknowledged, the longest wait %s", rest[i].name, len(c.ids), c.longest.Round(time.Millisecond))
		if c.longest > 2*time.Second {
			t.Errorf("a client of %s waited %s", rest[i].name, c.longest)
		}
	}
	ready(t, nodes...)
	select {
	case <-leader.exited:
		t.Fatal("the woken process ended")
	default:
	}
	for _, p := range nodes {
		allSucceed(t, p, ids)
	}
	sameState(t, nodes)
}
