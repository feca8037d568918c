package sim_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
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

// TestMain lets garbage lie longer: most of what a history makes lives until its
// end.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// TestSeeds: in 200 seeded histories of kills, partitions, pauses, bad disks and
// changes of voters no promise of the system is broken (promise, in engine.go). SEEDS says how many, SEED
// picks one and tells its whole story. Every twentieth, or with TWICE each one, is
// run a second time.
func TestSeeds(t *testing.T) {
	if one := number(t, "SEED", 0); one != 0 {
		cfg := sim.DefaultConfig(one)
		cfg.Whole = true
		report(t, one, sim.Run(cfg), true)
		return
	}
	seeds := number(t, "SEEDS", 200)
	twice := os.Getenv("TWICE") != ""
	next := make(chan uint64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum totals
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				r := sim.Run(sim.DefaultConfig(seed))
				if twice || seed%20 == 0 {
					replays(seed, &r)
				}
				mu.Lock()
				sum.add(&r)
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
	t.Logf("%d histories: %+v", seeds, sum)
	if seeds >= 200 && !t.Failed() && (sum.Installs == 0 || sum.Unsynced == 0 || sum.Voters == 0 || sum.Calls == 0 || sum.Raised == 0) {
		t.Errorf("some kind of fault never happened: %+v", sum)
	}
}

// replays runs a seed again: it is the same history, to the bit.
func replays(seed uint64, r *sim.Result) {
	again := sim.Run(sim.DefaultConfig(seed))
	if r.Err == nil && again.Digest != r.Digest {
		r.Breaks, r.Story = "replays", again.Story
		r.Err = fmt.Errorf("the second time it is another history: %d steps and %d entries, then %d and %d", r.Steps, r.Entries, again.Steps, again.Entries) //nolint:err113 // for people
	}
}

// totals is what happened in all histories.
type totals struct {
	Entries                                                             uint64
	Processes, Faults, Calls, Installs, Unsynced, Voters, Steps, Raised int
}

func (s *totals) add(r *sim.Result) {
	s.Entries += r.Entries
	s.Processes += r.Attempts
	s.Faults += r.Faults
	s.Calls += r.Calls
	s.Installs += r.Installs
	s.Unsynced += r.Unsynced
	s.Voters += r.Voters
	s.Steps += r.Steps
	s.Raised += r.Raised
}

func report(t *testing.T, seed uint64, r sim.Result, always bool) {
	t.Helper()
	if r.Err == nil && !always {
		return
	}
	story := strings.Join(r.Story, "\n")
	if r.Err != nil {
		t.Errorf("seed %d breaks %q: %v\nreplay: SEED=%d go test -tags hashicorpmetrics -run TestSeeds -v ./e2e/sim\n%s", seed, r.Breaks, r.Err, seed, story)
		return
	}
	t.Logf("seed %d kept every promise: %v, %d steps, %d entries, %d processes\n%s", seed, r.Ended, r.Steps, r.Entries, r.Attempts, story)
}
