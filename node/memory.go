package node

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

// memory watches how much of its bound the process needs. The collector holds the bound
// (GOMEMLIMIT), at the price of more and more CPU time as what is alive comes near
// it; so new work is refused before. What is there goes on.
type memory struct {
	bound int64 // bytes; math.MaxInt64: none
	live  func() int64

	mu   sync.Mutex // guards what follows
	at   time.Time
	seen int64
}

const (
	// At fullPercent of the bound alive, the collector has to run each time when less than
	// half as much garbage has come together: it costs about twice what it does with
	// much room.
	fullPercent = 70
	memoryLook  = 50 * time.Millisecond
)

// newMemory reads the process's bound.
func newMemory() *memory {
	return &memory{bound: debug.SetMemoryLimit(-1), live: liveHeap}
}

// liveHeap is what the last collection found alive, in bytes.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// admit says why no new work may come in now.
func (m *memory) admit() error {
	m.mu.Lock()
	if now := time.Now(); now.Sub(m.at) >= memoryLook {
		m.at, m.seen = now, m.live()
	}
	seen := m.seen
	m.mu.Unlock()
	if !m.full(seen) {
		return nil
	}
	return &rota.Refusal{Kind: rota.KindOverloaded, Detail: fmt.Sprintf(
		"the leader's memory is nearly full (%d MiB needed, %d MiB allowed): nothing new is taken in until ended runs have been forgotten; start the servers with a larger --memory to go on now",
		seen>>20, m.bound>>20)}
}

// The collector's pace (GOGC, in percent of what is alive). A small node lives of short-lived
// garbage, one log entry's, and collects seldom: 300 instead of 100
// saved CPU time (docs/PERFORMANCE.md has both pairs of runs). A large one mostly holds what stays, and three
// times that would be for nothing.
const (
	paceMost  = 200
	paceLeast = 50
	paceRoom  = 256 << 20 // bytes of garbage let come together, where that is within the bounds
	paceLook  = 5 * time.Second
)

// pace is GOGC for so many bytes alive: paceRoom of garbage, but 100 % at least up to 1 GiB.
func pace(live int64) int {
	if live <= 0 {
		return paceMost
	}
	least := int64(100)
	if live > 1<<30 {
		least = max(paceLeast, 100<<30/live)
	}
	return int(min(paceMost, max(least, 100*paceRoom/live)))
}

// full reports whether so many bytes alive leave no room for new work.
func (m *memory) full(live int64) bool {
	return m.bound != math.MaxInt64 && live >= m.bound/100*fullPercent
}

// steer sets the collector's pace until ctx ends, where it is to, and collects while memory is full:
// what is alive is only known by that, and a node that takes nothing in makes little
// garbage to cause it.
func (m *memory) steer(ctx context.Context, paced bool) error {
	look := time.NewTicker(paceLook)
	defer look.Stop()
	last := 0
	for {
		if m.full(m.live()) {
			runtime.GC()
		}
		if p := pace(m.live()); paced && p != last {
			debug.SetGCPercent(p)
			last = p
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}
