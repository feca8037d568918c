package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// Sizes of soak.
const (
	soakClients = 16
	soakBatch   = 50
	soakWindows = 10
	// soakLeast is how long it lasts where --for asks for less: retention begins to
	// show when the first 100,000 runs have ended.
	soakLeast = 20 * time.Second
)

// soak measures whether anything grows under a load without end.
func soak() *measure {
	const speed, memory, disk = "runs started and ended", "memory of the largest node", "disk of all nodes"
	return &measure{
		name: "soak", short: "Full rate for --for (such as 10m): rate, memory and disk, tenth by tenth", within: 25 * time.Hour, alone: true,
		lines: []line{
			{name: speed, unit: "runs/s", more: true, limit: limitSync},
			{name: memory, unit: "MB"},
			{name: disk, unit: "MB"},
		},
		how: fmt.Sprintf("three nodes as processes; %d clients, each of which starts %d runs of a stored job of one no-op task in one request, waits for the end of the last of them, and goes on; "+
			"the repeats are tenths of the time, in order: runs that ended a second, and at the end of each the memory of the node that needs most (RssAnon) and the bytes of all three data directories", soakClients, soakBatch),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error {
				if err := w.store(ctx, oneNoop); err != nil {
					return err
				}
				return w.soak(ctx, max(s.span, soakLeast), func(runs, bytes, onDisk float64) {
					out[speed], out[memory], out[disk] = append(out[speed], runs), append(out[memory], bytes), append(out[disk], onDisk)
					s.note("soak: %.0f runs/s, %.0f MB of memory, %.0f MB on disk", runs, bytes, onDisk)
				})
			})
			return out, err
		},
	}
}

// soak keeps the clients busy for a while and tells of each tenth.
func (w *world) soak(ctx context.Context, span time.Duration, tell func(runs, memory, disk float64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ended atomic.Int64
	began := time.Now()
	loads := make(chan error, 1)
	go func() { // ends with ctx or the time
		loads <- together(soakClients, func(i int) error {
			c := w.clients[i%len(w.clients)]
			for n := 0; time.Since(began) < span; n++ {
				if err := soakOnce(ctx, c, fmt.Sprintf("soak-%d-%d", i, n)); err != nil {
					return err
				}
				ended.Add(soakBatch)
			}
			return nil
		})
	}()
	last, from := int64(0), began
	for i := range soakWindows {
		select {
		case <-time.After(time.Until(began.Add(span * time.Duration(i+1) / soakWindows))):
		case err := <-loads:
			return errors.Join(err, ctx.Err())
		}
		now, have := time.Now(), ended.Load()
		memory, disk, err := w.sizes()
		if err != nil {
			cancel()
			return errors.Join(err, <-loads)
		}
		tell(rate(int(have-last), now.Sub(from)), float64(memory)/mega, float64(disk)/mega)
		last, from = have, now
	}
	return <-loads
}

func soakOnce(ctx context.Context, c *api.Client, key string) error {
	items := make([]api.SubmitRequest, soakBatch)
	for i := range items {
		items[i] = api.SubmitRequest{Job: storedJob}
	}
	answers, err := c.SubmitMany(ctx, items, key)
	if err != nil {
		return fmt.Errorf("start %d runs: %w", soakBatch, err)
	}
	var last rota.RunID
	for i := range answers {
		if p := answers[i].Problem; p != nil {
			return fmt.Errorf("start a run: %w", p)
		}
		last = answers[i].ID
	}
	return succeed(ctx, c, last)
}

// sizes are the memory of the node that needs most, and what all have on disk.
func (w *world) sizes() (memory, disk int64, err error) {
	for _, n := range w.Nodes() {
		m, err := anonymous(n.PID())
		if err != nil {
			return 0, 0, err
		}
		memory = max(memory, m)
	}
	err = filepath.WalkDir(w.Dir(), func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) || err == nil && e.IsDir() {
			return nil // snapshots come and go
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			disk += info.Size()
		}
		return err
	})
	return memory, disk, err
}
