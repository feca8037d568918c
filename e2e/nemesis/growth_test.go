package nemesis

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota/api"
)

// TestMembershipChangesDuringAPartition: a fourth server asks to come in while the
// leader is cut off.
func TestMembershipChangesDuringAPartition(t *testing.T) {
	long(t)
	possible(t)
	w := newWorld(t, plan{nodes: 3, wires: true})
	tl := w.follow(t)
	w.suffer(t, tl, fault{name: "a fourth server joins while the leader is cut off", hold: 10 * time.Second, do: func(w *world) func() {
		l := w.leader()
		w.wires.set(func(from, to int) link { return link{block: from == l.i || to == l.i} })
		fourth := w.add("n4")
		for _, n := range w.nodes[:3] {
			fourth.args = append(fourth.args, "--join", n.address())
		}
		fourth.start(w.t)
		return func() { w.wires.set(nil) }
	}})
	w.suffer(t, tl, fault{name: "the fourth server gone for good, leader cut off meanwhile", hold: 8 * time.Second, do: func(w *world) func() {
		fourth := w.nodes[3]
		fourth.killHost()
		w.nodes = w.nodes[:3]
		undo := apart(leaderAlone)(w)
		w.t.Cleanup(func() { _ = tool("ip", "netns", "del", fourth.ns) })
		return undo
	}})
}

// TestSnapshotTravelsOverAThinLine: a new server gets the state as a snapshot over
// 10 Mbit/s while clients work.
func TestSnapshotTravelsOverAThinLine(t *testing.T) {
	long(t)
	possible(t)
	if os.Getenv("ROTA_NEMESIS_LINE") == "" {
		t.Skip("skipped: it fills a log for minutes and then waits for minutes; ROTA_NEMESIS_LINE=1 asks for it")
	}
	w := newWorld(t, plan{nodes: 3, wires: true})
	w.fill(t, 17_000)
	w.suffer(t, nil, fault{name: "a snapshot is installed over 10 Mbit/s", hold: time.Second, quiet: true, do: func(w *world) func() {
		fourth := w.add("n4")
		for _, n := range w.nodes[:3] {
			fourth.args = append(fourth.args, "--join", n.address())
		}
		const line = 10_000_000 / 8 // a snapshot of all that was filled in takes minutes over less
		w.wires.set(func(from, to int) link {
			if from == fourth.i || to == fourth.i {
				return link{rate: line}
			}
			return link{}
		})
		began := time.Now()
		fourth.start(w.t)
		eventually(w.t, 3*time.Minute, "the new server has the state", func() (string, bool) {
			s, err := fourth.status()
			if err != nil {
				return err.Error(), false
			}
			lead, err := w.nodes[0].status()
			if err != nil {
				return err.Error(), false
			}
			return fmt.Sprintf("%s is at %d of %d", s.Node, s.Index, lead.Index), s.Node == fourth.name && s.Index+1000 > lead.Index
		})
		w.note("the state came after %s", seconds(time.Since(began)))
		return func() { w.wires.set(nil) }
	}})
	victim := w.nodes[0]
	w.suffer(t, nil, fault{name: "a bit of the newest snapshot flipped", hold: 2 * time.Second, do: func(w *world) func() {
		victim.killHost()
		return func() {
			for _, path := range newest(w.t, filepath.Join(raftDir(victim), "snapshots", "*", "state.bin")) {
				w.note("a snapshot of %d bytes", change(w.t, path, func(b []byte) []byte {
					b[len(b)/2] ^= 1
					return b
				}))
			}
			w.comesBack(victim, false)
		}
	}})
}

// fill makes the log so long that all have written a snapshot and dropped most of
// what is before it.
func (w *world) fill(t *testing.T, entries uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	source := noopJob
	for c := range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = w.nodes[c%len(w.nodes)].client.Submit(ctx, &api.SubmitRequest{Source: &source, Filename: "fill.hcl"}, "") // one more or less
			}
		})
	}
	eventually(t, 6*time.Minute, "every server has written a snapshot", func() (string, bool) {
		s, err := w.nodes[0].status()
		if err != nil {
			return err.Error(), false
		}
		have := 0
		for _, n := range w.nodes {
			if found, err := filepath.Glob(filepath.Join(raftDir(n), "snapshots", "*-*[0-9]", "state.bin")); err == nil && len(found) > 0 {
				have++
			}
		}
		return fmt.Sprintf("entry %d, snapshots of %d", s.Index, have), s.Index > entries && have == len(w.nodes)
	})
}

// newest is the youngest of some files; none is an error.
func newest(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	slices.SortFunc(found, func(a, b string) int { return age(t, b).Compare(age(t, a)) })
	return found[:1]
}

func age(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}
