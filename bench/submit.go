package bench

import (
	"context"
	"time"
)

// submit measures how fast runs are accepted.
func submit() *measure {
	lines := []line{}
	for _, what := range []string{"queued", "processed"} {
		lines = append(lines,
			line{name: "submit, " + what, unit: "runs/s", more: true, limit: limitHTTP},
			line{name: "submit p50, " + what, unit: "ms", limit: limitHTTPTime},
			line{name: "submit p99, " + what, unit: "ms", limit: limitHTTPTime})
	}
	return &measure{
		name: "submit", short: "Runs accepted over HTTP", within: soon, lines: lines,
		how: "three nodes as processes; 64 clients, spread over the nodes, each POST a job file with one no-op task, the next after the answer " +
			"(accepted: on disk on two nodes). processed: the nodes run the tasks meanwhile; queued: all nodes are drained",
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error {
				if err := w.submitFor(ctx, s.span, "processed", out); err != nil {
					return err
				}
				if err := w.idle(ctx); err != nil {
					return err
				}
				if err := w.drainAll(ctx, ""); err != nil {
					return err
				}
				return w.submitFor(ctx, s.span, "queued", out)
			})
			return out, err
		},
	}
}

func (w *world) submitFor(ctx context.Context, span time.Duration, what string, out map[string][]float64) error {
	var all samples
	began := time.Now()
	err := together(clients, func(i int) error {
		var mine []float64
		defer func() { all.add(mine...) }()
		for time.Since(began) < span {
			one := time.Now()
			if _, err := start(ctx, w.clients[i%len(w.clients)], oneNoop); err != nil {
				return err
			}
			mine = append(mine, millis(time.Since(one)))
		}
		return nil
	})
	out["submit, "+what] = []float64{rate(len(all.values), time.Since(began))}
	out["submit p50, "+what] = []float64{percentile(all.values, 50)}
	out["submit p99, "+what] = []float64{percentile(all.values, 99)}
	return err
}
