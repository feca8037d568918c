package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// chronicle is what a story's observers noted.
type chronicle struct {
	t *testing.T

	mu      sync.Mutex        // guards what follows
	entries map[uint64]string // what each index of the log held
	leaders map[uint64]int    // who led in each term
	fate    map[int]rota.Kind // of each submission
	acked   uint64            // highest index that was acknowledged to anybody
}

// watch follows a node from its start.
func (h *chronicle) watch(ctx context.Context, wg *sync.WaitGroup) func(int, *cluster.Cluster) {
	return func(i int, n *cluster.Cluster) {
		last := uint64(0)
		n.OnRestore(func(_ uint16, index uint64) { last = index })
		n.OnApply(func(a rota.Applied) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if a.Index <= last {
				h.t.Errorf("node %d applied entry %d after %d", i, a.Index, last)
			}
			last = a.Index
			held := fmt.Sprint(a.Term, a.At, a.Configuration, len(a.Changes))
			for _, c := range a.Changes {
				held += fmt.Sprint(" ", c.Type, " ", c.Run)
			}
			if a.Configuration {
				held = "configuration" // its At is the state's, as of the replica's start
			}
			if was, ok := h.entries[a.Index]; ok && was != held {
				h.t.Errorf("entry %d held %q, and on node %d %q", a.Index, was, i, held)
			}
			h.entries[a.Index] = held
		})
		wg.Go(func() {
			_ = n.Lead(ctx, func(ctx context.Context, l *cluster.Leadership) error {
				h.mu.Lock()
				if who, ok := h.leaders[l.Term()]; ok && who != i {
					h.t.Errorf("nodes %d and %d both led in term %d", who, i, l.Term())
				}
				h.leaders[l.Term()] = i
				h.mu.Unlock()
				for range l.Changes() {
					continue
				}
				<-ctx.Done()
				return nil
			})
		})
	}
}

// client submits through any node that runs until ctx ends.
func (h *chronicle) client(ctx context.Context, c *clustertest.Cluster, who int, rng *rand.Rand) {
	for n := who; ctx.Err() == nil; n += 100 {
		node := c.Node(rng.IntN(3))
		if node == nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		limit, cancel := context.WithTimeout(ctx, time.Duration(50+rng.IntN(3000))*time.Millisecond)
		if rng.IntN(4) == 0 {
			h.read(limit, node)
		}
		res, err := node.Propose(limit, submit(n))
		cancel()
		kind := rota.KindOf(err)
		if err != nil && kind == rota.KindNone {
			h.t.Errorf("an error without a kind: %v", err)
		}
		h.mu.Lock()
		h.fate[n] = kind
		if err == nil {
			if res.Kind != rota.KindNone {
				h.t.Errorf("submission %d was refused: %v", n, res.Err())
			}
			if !res.Existed {
				h.acked = max(h.acked, res.Index)
			}
		}
		h.mu.Unlock()
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
	}
}

// read checks that a barrier shows everything acknowledged before it.
func (h *chronicle) read(ctx context.Context, node *cluster.Cluster) {
	h.mu.Lock()
	acked := h.acked
	h.mu.Unlock()
	if index, err := node.Barrier(ctx); err == nil && index < acked {
		h.t.Errorf("a barrier at %d after an acknowledgement at %d", index, acked)
	}
}

// trouble makes some for a while.
func trouble(ctx context.Context, c *clustertest.Cluster, rng *rand.Rand) {
	dead := map[int]bool{}
	for ctx.Err() == nil {
		i := rng.IntN(3)
		switch rng.IntN(9) {
		case 0, 1:
			if !dead[i] {
				c.Kill(i)
				dead[i] = true
			}
		case 2, 3:
			for j := range dead {
				if err := c.Start(j); err != nil {
					panic(err)
				}
				delete(dead, j)
			}
		case 4:
			c.Isolate(i)
		case 5:
			c.Net.Cut(i, (i+1)%3)
		case 6:
			c.Partition([]int{i}, []int{(i + 1) % 3, (i + 2) % 3})
		case 7:
			if n := c.Node(i); n != nil {
				handing, stop := context.WithTimeout(ctx, time.Second)
				_ = n.TransferLeadership(handing) // refused, or interrupted, or done
				stop()
			}
		default:
			c.Heal()
		}
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
	}
	c.Heal()
	for i := range 3 {
		select {
		case err := <-c.Done(i):
			c.Log(fmt.Sprintf("node %d ended by itself: %v", i, err))
			c.Buried(i)
			dead[i] = true
		default:
		}
	}
	for j := range dead {
		if err := c.Start(j); err != nil {
			panic(err)
		}
	}
}

// TestRealServersInTroubleLoseNothing: three real Raft nodes in virtual time, under
// kills, partitions and one-way cuts. Whatever was acknowledged is on every replica,
// whatever was refused is on none, every replica applied the same entries, nobody
// led beside another in one term, and a barrier shows what was acknowledged before
// it. SEEDS says how many histories, SEED picks one. (The histories are seeded, but
// the goroutines of Raft are scheduled by chance: a seed is a direction, not a
// replay.)
func TestRealServersInTroubleLoseNothing(t *testing.T) {
	first, seeds := 1, 10
	if s := os.Getenv("SEEDS"); s != "" {
		seeds, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("SEED"); s != "" {
		first, _ = strconv.Atoi(s)
		seeds = 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &chronicle{t: t, entries: map[uint64]string{}, leaders: map[uint64]int{}, fate: map[int]rota.Kind{}}
				h.tell(uint64(seed))
			})
		})
	}
}

// tell is one history.
func (h *chronicle) tell(seed uint64) {
	t := h.t
	watching, stop := context.WithCancel(t.Context())
	var watchers, clients sync.WaitGroup
	c := clustertest.New(t, 3, clustertest.Options{
		Latency: time.Duration(seed%4) * time.Millisecond,
		Open:    h.watch(watching, &watchers),
		Config: func(_ int, cfg *cluster.Config) {
			if seed%2 == 0 {
				cfg.SnapshotEntries, cfg.TrailingEntries = 40, 10
			}
		},
	})
	c.WaitLeader()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for who := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(who)))
		clients.Go(func() { h.client(ctx, c, who, rng) })
	}
	trouble(ctx, c, rand.New(rand.NewPCG(seed, 99)))
	clients.Wait()

	began := time.Now()
	c.Propose(0, submit(99))
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("healed, but it took %s to be served", took)
	}
	c.WaitDigestsEqual()
	state := c.Node(0).Snapshot()
	counts := map[rota.Kind]int{}
	for n, kind := range h.fate {
		counts[kind]++
		_, there := state.Run(runID(n))
		switch {
		case kind == rota.KindNone && !there:
			t.Errorf("submission %d was acknowledged and is lost", n)
		case kind != rota.KindNone && kind != rota.KindUnknown && there:
			t.Errorf("submission %d was refused (%v) and is there", n, kind)
		}
	}
	t.Logf("%d terms, %d entries, submissions by fate: %v", len(h.leaders), len(h.entries), counts)
	stop()
	c.StopAll()
	watchers.Wait()
}
