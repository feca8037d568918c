package node

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
)

// TestNothingNewNearTheBound: a node whose memory is nearly full takes no new work in, says
// why and what helps, and takes it again as soon as there is room.
func TestNothingNewNearTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live int64
		m := &memory{bound: 1000 << 20, live: func() int64 { return live }}
		for _, c := range []struct {
			live int64
			full bool
		}{{0, false}, {699 << 20, false}, {701 << 20, true}, {5000 << 20, true}, {300 << 20, false}} {
			live = c.live
			time.Sleep(memoryLook)
			err := m.admit()
			if (err != nil) != c.full {
				t.Errorf("%d MiB of 1000 alive: %v", c.live>>20, err)
			}
			if c.full && (rota.KindOf(err) != rota.KindOverloaded || !strings.Contains(err.Error(), "--memory")) {
				t.Errorf("the refusal %v has kind %v", err, rota.KindOf(err))
			}
		}
		m.bound = math.MaxInt64
		live = 1 << 50
		time.Sleep(memoryLook)
		if err := m.admit(); err != nil {
			t.Errorf("without a bound: %v", err)
		}
	})
}

// TestLargeNodesKeepLessGarbage: the collector's pace falls as what is alive grows.
func TestLargeNodesKeepLessGarbage(t *testing.T) {
	for _, c := range []struct {
		live int64
		pace int
	}{{0, 200}, {20 << 20, 200}, {128 << 20, 200}, {192 << 20, 133}, {256 << 20, 100}, {1 << 30, 100}, {1536 << 20, 66}, {2 << 30, 50}, {64 << 30, 50}} {
		if got := pace(c.live); got != c.pace {
			t.Errorf("%d MiB alive: %d, want %d", c.live>>20, got, c.pace)
		}
	}
}
