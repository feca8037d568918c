package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// The fifty thousand: how much is acknowledged, by how many clients, among how many
// deaths. ROTA_NEMESIS_RUNS changes the first.
const (
	fiftyRuns    = 50_000
	fiftyClients = 48
	fiftyKills   = 20
)

// TestFiftyThousandAmongTwentyDeaths gets runs acknowledged as fast as three nodes
// can while random processes of theirs are killed with SIGKILL, and then counts.
func TestFiftyThousandAmongTwentyDeaths(t *testing.T) {
	long(t)
	possible(t)
	want := int64(fiftyRuns)
	if text := os.Getenv("ROTA_NEMESIS_RUNS"); text != "" {
		var err error
		if want, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, plan{nodes: 3})
	tl := w.follow(t)
	l := &load{w: w, name: "fifty", began: time.Now(), try: 5 * time.Second, heard: map[string]int{}}
	var acknowledged, killed atomic.Int64
	var wg sync.WaitGroup
	for c := range fiftyClients {
		wg.Go(func() {
			l.pump(c, &acknowledged, func() bool { return acknowledged.Load() >= want && killed.Load() >= fiftyKills })
		})
	}
	began := time.Now()
	said := w.killAtRandom(t, &killed, fiftyKills, func() int64 { return acknowledged.Load() * fiftyKills / want })
	wg.Wait()
	took := time.Since(began)
	w.ready(w.nodes...)
	w.started(t, "fifty")
	eventually(t, 5*time.Minute, "all of it has ended", func() (string, bool) {
		open := 0
		err := w.runs(w.nodes, api.RunFilter{Status: []rota.RunStatus{rota.RunRunning, rota.RunWaiting, rota.RunPaused}}, func(*api.RunView) { open++ })
		return fmt.Sprintf("%d are open; %v", open, err), err == nil && open == 0
	})
	ended := time.Since(began)
	there := w.agree(t, "fifty")
	n := l.count(t, tl, there, false)
	digests := w.digests(t, w.nodes...)
	if digests == 0 {
		t.Error("the nodes have no entry in common of which they know the digest")
	}
	found := overlaps(w.lines())
	if len(found) > 0 {
		t.Errorf("two attempts ran at once: %v", found)
	}
	text := fmt.Sprintf("fifty thousand: %d acknowledged in %s (%.0f/s), all ended after %s; %d runs there; kills: %s; longest without an accepted write %s; "+
		"%d attempts of processes ran again, %d at once; digests equal at %d entries; clients heard %s",
		n, seconds(took), float64(n)/took.Seconds(), seconds(ended), len(there), said, seconds(l.longestGap(began, began.Add(took))),
		rerun(w.lines(), 0), len(found), digests, l.words())
	t.Log(text)
	report(t, text)
}

// pump submits one run after the other, each until it is acknowledged.
func (l *load) pump(c int, acknowledged *atomic.Int64, enough func() bool) {
	rng := rand.New(rand.NewPCG(uint64(c), 50)) //nolint:gosec // chance for a load
	short := l.w.execJobOf(0, "")
	ctx := context.Background()
	for n := 0; !enough(); n++ {
		d := &deed{key: fmt.Sprintf("fifty-%d-%d", c, n), exec: rng.IntN(100) == 0}
		source := noopJob
		if d.exec {
			source = short
		}
		for until := time.Now().Add(3 * time.Minute); time.Now().Before(until); sleep(ctx, 20*time.Millisecond) {
			try, cancel := context.WithTimeout(ctx, l.try)
			run, _, err := l.w.nodes[rng.IntN(3)].client.Submit(try, &api.SubmitRequest{
				Source: &source, Filename: "fifty.hcl", Labels: map[string]string{"key": d.key, "phase": "fifty"},
			}, d.key)
			cancel()
			l.mu.Lock()
			l.heard[wordOf(err)]++
			if err == nil {
				l.acks = append(l.acks, time.Now())
			}
			l.mu.Unlock()
			if err == nil {
				d.id = run.ID
				break
			}
			d.doubt = d.doubt || !certain(err)
		}
		l.mu.Lock()
		l.deeds = append(l.deeds, d)
		l.mu.Unlock()
		acknowledged.Add(1)
	}
}

// killAtRandom kills agents and keepers, spread over the load, and starts agents
// again a moment later. It says what died.
func (w *world) killAtRandom(t *testing.T, killed *atomic.Int64, kills int64, progress func() int64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(20, uint64(time.Now().UnixNano()))) //nolint:gosec // chance for a test
	died := map[string]int{}
	for killed.Load() < kills {
		eventually(t, 3*time.Minute, "the load goes on", func() (string, bool) { return fmt.Sprint(progress()), progress() >= killed.Load() })
		n := w.nodes[rng.IntN(len(w.nodes))]
		leads := ""
		if s, err := n.status(); err == nil && s.Leader != nil && *s.Leader == n.name {
			leads = "leader's "
		}
		if rng.IntN(2) == 0 {
			if n.signalKeepers(syscall.SIGKILL) == 0 {
				continue
			}
			died[leads+"keeper"]++
		} else {
			n.kill()
			died[leads+"agent"]++
			sleep(t.Context(), time.Duration(200+rng.IntN(800))*time.Millisecond)
			n.start(t)
		}
		killed.Add(1)
		sleep(t.Context(), time.Duration(200+rng.IntN(800))*time.Millisecond)
	}
	return fmt.Sprint(died)
}
