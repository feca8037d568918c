package sim_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rota-sched/rota/e2e/sim"
)

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

// TestSeeds: in 200 seeded histories of kills, partitions, pauses and restarts no
// task is lost, run twice at once, or delivered twice. SEEDS says how many, SEED
// picks one and tells its whole story.
func TestSeeds(t *testing.T) {
	if one := number(t, "SEED", 0); one != 0 {
		cfg := sim.DefaultConfig(one)
		cfg.Whole = true
		report(t, one, sim.Run(cfg), true)
		return
	}
	seeds := number(t, "SEEDS", 200)
	next := make(chan uint64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var entries, attempts, faults int
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				r := sim.Run(sim.DefaultConfig(seed))
				mu.Lock()
				entries, attempts, faults = entries+int(r.Entries), attempts+r.Attempts, faults+r.Faults //nolint:gosec // small
				mu.Unlock()
				report(t, seed, r, false)
			}
		})
	}
	for seed := uint64(1); seed <= seeds && !t.Failed(); seed++ {
		next <- seed
	}
	close(next)
	wg.Wait()
	t.Logf("%d histories: %d log entries, %d processes, %d faults", seeds, entries, attempts, faults)
}

func report(t *testing.T, seed uint64, r sim.Result, always bool) {
	t.Helper()
	if r.Err == nil && !always {
		return
	}
	story := strings.Join(r.Story, "\n")
	if r.Err != nil {
		t.Errorf("seed %d: %v\nreplay: SEED=%d go test -run TestSeeds -v ./e2e/sim\n%s", seed, r.Err, seed, story)
		return
	}
	t.Logf("seed %d kept every promise: %v, %d steps, %d entries, %d processes\n%s", seed, r.Ended, r.Steps, r.Entries, r.Attempts, story)
}
