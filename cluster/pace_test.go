package cluster

import (
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

// TestTheLeadGoesOnlyFromADiskThatIsAlwaysSlowToOneThatNeverIs.
func TestTheLeadGoesOnlyFromADiskThatIsAlwaysSlowToOneThatNeverIs(t *testing.T) {
	ms := func(stores, shortest, longest int) Pace {
		return Pace{stores, time.Duration(shortest) * time.Millisecond, time.Duration(longest) * time.Millisecond}
	}
	for _, c := range []struct {
		name   string
		own    Pace
		others map[rota.NodeID]Pace
		want   rota.NodeID
	}{
		{"slow among quick ones: the quickest", ms(4, 800, 900), map[rota.NodeID]Pace{"b": ms(4, 1, 9), "c": ms(4, 2, 3)}, "c"},
		{"equally quick: the first", ms(4, 800, 900), map[rota.NodeID]Pace{"c": ms(4, 1, 3), "b": ms(4, 1, 3)}, "b"},
		{"everybody is slow", ms(4, 800, 900), map[rota.NodeID]Pace{"b": ms(4, 700, 800), "c": ms(4, 900, 950)}, ""},
		{"one is four times quicker", ms(4, 800, 900), map[rota.NodeID]Pace{"b": ms(4, 100, 200), "c": ms(4, 900, 950)}, "b"},
		{"not quite four times", ms(4, 800, 900), map[rota.NodeID]Pace{"b": ms(4, 1, 201)}, ""},
		{"only now and then slow", ms(9, 5, 900), map[rota.NodeID]Pace{"b": ms(9, 1, 2)}, ""},
		{"not slow enough to matter", ms(9, 99, 120), map[rota.NodeID]Pace{"b": ms(9, 1, 2)}, ""},
		{"a single store says nothing", ms(1, 800, 800), map[rota.NodeID]Pace{"b": ms(9, 1, 2)}, ""},
		{"nothing is known of the others", ms(4, 800, 900), map[rota.NodeID]Pace{"b": {}, "c": {}}, ""},
		{"nobody else answers", ms(4, 800, 900), nil, ""},
	} {
		if got, ok := successor(c.own, c.others); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestAPaceForgetsWhatIsOlderThanItsWindow, and counts the store that does not end.
func TestAPaceForgetsWhatIsOlderThanItsWindow(t *testing.T) {
	var p paces
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	store := func(took time.Duration) {
		p.begin(now)
		now = now.Add(took)
		p.end(now)
	}
	store(time.Millisecond)
	store(400 * time.Millisecond)
	if got, want := p.lately(now), (Pace{2, time.Millisecond, 400 * time.Millisecond}); got != want {
		t.Errorf("after two: %v, want %v", got, want)
	}
	for range 8 {
		store(400 * time.Millisecond)
	}
	if got := p.lately(now); got.Shortest != 400*time.Millisecond || got.Longest != 400*time.Millisecond || got.Stores < 4 {
		t.Errorf("the quick one is still in it: %v", got)
	}
	p.begin(now)
	now = now.Add(time.Second)
	if got := p.lately(now); got.Longest != time.Second {
		t.Errorf("the one under way is not in it: %v", got)
	}
	now = now.Add(time.Hour)
	p.end(now)
	now = now.Add(time.Hour)
	if got := p.lately(now); got != (Pace{}) {
		t.Errorf("an hour later: %v", got)
	}
}
