package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// latencyRate is how many runs a second are submitted.
const latencyRate = 100

// latency measures how long a run waits on an unhurried cluster.
func latency() *measure {
	kinds := []struct{ name, source string }{{"no-op", oneNoop}, {"process", oneProcess}}
	var lines []line
	for _, k := range kinds {
		for _, what := range []string{"submit to start", "submit to end seen"} {
			for _, p := range []string{"p50", "p99"} {
				lines = append(lines, line{name: latencyName(what, p, k.name), unit: "ms", limit: limitSyncTime})
			}
		}
	}
	return &measure{
		name: "latency", short: "From submission to start, and to the end as a client sees it", within: soon, lines: lines,
		how: fmt.Sprintf("three nodes as processes; %d runs of one task a second, sent at fixed moments whatever the answers do, spread over the nodes. "+
			"submit to start: from the run's created_at to the task's started_at, both cluster time, which is when the leader heard of them; "+
			"submit to end seen: from sending the request to hearing that the run has ended, by a client that waits for it. process: /bin/true", latencyRate),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error {
				for _, k := range kinds {
					started, seen, err := w.submitSteadily(ctx, s.span, k.source)
					if err != nil {
						return err
					}
					for name, values := range map[string][]float64{"submit to start": started, "submit to end seen": seen} {
						out[latencyName(name, "p50", k.name)] = []float64{percentile(values, 50)}
						out[latencyName(name, "p99", k.name)] = []float64{percentile(values, 99)}
					}
				}
				return nil
			})
			return out, err
		},
	}
}

func latencyName(what, p, kind string) string { return fmt.Sprintf("%s %s, %s", what, p, kind) }

// submitSteadily submits at a fixed rate; the times are milliseconds.
func (w *world) submitSteadily(ctx context.Context, span time.Duration, source string) (started, seen []float64, err error) {
	count := int(span.Seconds() * latencyRate)
	ids := make([]rota.RunID, count)
	seen = make([]float64, count)
	began := time.Now()
	err = together(count, func(i int) error {
		c := w.clients[i%len(w.clients)]
		due := time.NewTimer(time.Until(began.Add(time.Duration(i) * time.Second / latencyRate)))
		defer due.Stop()
		select {
		case <-due.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		sent := time.Now()
		run, err := start(ctx, c, source)
		if err != nil {
			return err
		}
		ids[i] = run.ID
		if err := succeed(ctx, c, run.ID); err != nil {
			return err
		}
		seen[i] = millis(time.Since(sent))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		wait, err := w.waited(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		started = append(started, millis(wait))
	}
	return started, seen, nil
}

// waited is how long a run's only task waited for its start. The node that is asked
// may lie a moment behind the one that said the run has ended.
func (w *world) waited(ctx context.Context, id rota.RunID) (time.Duration, error) {
	for {
		run, err := w.client.Run(ctx, string(id), api.RunOptions{Tasks: true})
		if err != nil {
			return 0, fmt.Errorf("look up run %s: %w", id, err)
		}
		if len(run.Tasks) == 1 && run.Tasks[0].StartedAt != 0 {
			return run.Tasks[0].StartedAt.Sub(run.CreatedAt), nil
		}
		if err := localcluster.Pause(ctx); err != nil {
			return 0, fmt.Errorf("wait for run %s to be known: %w", id, err)
		}
	}
}
