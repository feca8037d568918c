package bench

import (
	"context"
	"time"

	"github.com/rota-sched/rota"
)

// drain measures how fast a backlog goes.
func drain() *measure {
	const name, runs, a, b = "drain", 2, 100, 100
	return &measure{
		name: "drain", short: "A backlog of 20,000 no-op tasks", within: soon,
		lines: []line{{name: name, unit: "tasks/s", more: true, limit: limitSync}},
		how: "three nodes as processes, all drained; two runs of 10,000 no-op tasks each are queued; the time from letting the first node take " +
			"placements again until a client hears that both runs have ended: every task placed, run, reported, delivered, on disk on two nodes",
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			var speed float64
			err := in(ctx, s, func(w *world) error {
				if err := w.drainAll(ctx, ""); err != nil {
					return err
				}
				ids := make([]rota.RunID, runs)
				for i := range ids {
					run, err := start(ctx, w.client, manyNoops(a, b))
					if err != nil {
						return err
					}
					ids[i] = run.ID
				}
				began := time.Now()
				if err := w.undrainAll(ctx, ""); err != nil {
					return err
				}
				for _, id := range ids {
					if err := succeed(ctx, w.client, id); err != nil {
						return err
					}
				}
				speed = rate(runs*a*b, time.Since(began))
				return nil
			})
			return map[string][]float64{name: {speed}}, err
		},
	}
}

// procs measures how fast processes are started.
func procs() *measure {
	const name, a, b = "processes", 100, 10
	return &measure{
		name: "procs", short: "1,000 real processes", within: soon,
		lines: []line{{name: name, unit: "processes/s", more: true, limit: limitFork}},
		how: "three nodes as processes; one run of 1,000 tasks, each the process /bin/true with the default resources, in the strongest containment " +
			"that this machine allows, its output kept; from sending the run to hearing that it has ended",
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			var speed float64
			err := in(ctx, s, func(w *world) error {
				began := time.Now()
				run, err := start(ctx, w.client, manyProcesses(a, b))
				if err != nil {
					return err
				}
				if err := succeed(ctx, w.client, run.ID); err != nil {
					return err
				}
				speed = rate(a*b, time.Since(began))
				return nil
			})
			return map[string][]float64{name: {speed}}, err
		},
	}
}
