package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// mega is a MB as file managers and the yardsticks count.
const mega = 1e6

// footprint measures what a cluster is before anything runs.
func footprint() *measure {
	return &measure{
		name: "footprint", short: "From nothing to the first run; memory and CPU of idle nodes", within: soon,
		lines: []line{
			{name: "started to first run accepted", unit: "s"},
			{name: "idle memory", unit: "MB"},
			{name: "idle CPU", unit: "% of a core"},
			{name: "binary", unit: "MB"},
		},
		how: "three nodes started as processes on empty directories; the time until a client, that tries again and again, has a run of one task accepted; " +
			"after it has ended and a pause of a second, the CPU time of the node that leads over the time measured, and its resident memory then (its keeper is not counted)",
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			cfg, err := s.cluster()
			if err != nil {
				return nil, err
			}
			if info, err := os.Stat(cfg.Executable); err == nil {
				out["binary"] = []float64{float64(info.Size()) / mega}
			}
			began := time.Now()
			c, err := localcluster.Start(ctx, cfg)
			if err != nil {
				return nil, err
			}
			w := &world{Cluster: c}
			err = w.idleFigures(ctx, s, began, out)
			return out, errors.Join(err, w.close())
		},
	}
}

func (w *world) idleFigures(ctx context.Context, s *settings, began time.Time, out map[string][]float64) error {
	c, err := api.NewClient(w.Addresses(), api.Options{Patience: -1})
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		if _, err = start(ctx, c, oneNoop); err == nil {
			break
		}
		if err := localcluster.Pause(ctx); err != nil {
			return fmt.Errorf("wait for the first run: %w", err)
		}
	}
	out["started to first run accepted"] = []float64{time.Since(began).Seconds()}
	if err := w.connect(ctx); err != nil {
		return err
	}
	if err := w.idle(ctx); err != nil {
		return err
	}
	if err := rest(ctx, time.Second); err != nil {
		return err
	}
	leader, err := w.Node(w.leader)
	if err != nil {
		return err
	}
	before, err := cpuTime(leader.PID())
	if err != nil {
		return err
	}
	from := time.Now()
	if err := rest(ctx, s.span); err != nil {
		return err
	}
	after, err := cpuTime(leader.PID())
	if err != nil {
		return err
	}
	out["idle CPU"] = []float64{100 * (after - before).Seconds() / time.Since(from).Seconds()}
	memory, err := resident(leader.PID())
	out["idle memory"] = []float64{float64(memory) / mega}
	return err
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pauseFor waits a moment if an error is a refusal of that type, and returns it
// otherwise.
func pauseFor(ctx context.Context, err error, word string) error {
	var p *api.Problem
	if !errors.As(err, &p) || p.Type != word {
		return err
	}
	return localcluster.Pause(ctx)
}
