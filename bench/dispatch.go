package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/rota-sched/rota/api"
)

// Sizes of the batches of dispatch.
const (
	batchClients = 16
	batchSize    = 100
)

// dispatch measures how fast runs of a stored job are accepted.
func dispatch() *measure {
	const single, batch = "dispatch", "dispatch in batches"
	return &measure{
		name: "dispatch", short: "Runs of a stored job accepted over HTTP, singly and in batches", within: soon,
		lines: []line{
			{name: single, unit: "runs/s", more: true, limit: limitHTTP},
			{name: single + " p50", unit: "ms", limit: limitHTTPTime},
			{name: single + " p99", unit: "ms", limit: limitHTTPTime},
			{name: batch, unit: "runs/s", more: true, limit: limitSync},
			{name: batch + " p50", unit: "ms", limit: limitSyncTime},
			{name: batch + " p99", unit: "ms", limit: limitSyncTime},
		},
		how: fmt.Sprintf("three nodes as processes, all drained, with a stored job of one no-op task; singly: %d clients, spread over the nodes, each POST its name, "+
			"the next after the answer (accepted: on disk on two nodes); in batches: %d clients POST arrays of %d, each item with a key of its own; "+
			"the times are those of an array", clients, batchClients, batchSize),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error {
				if err := w.drainAll(ctx, ""); err != nil {
					return err
				}
				if err := w.store(ctx, oneNoop); err != nil {
					return err
				}
				if err := w.pour(s.span, clients, 1, single, out, func(c *api.Client, _ string) error {
					return dispatchOne(ctx, c)
				}); err != nil {
					return err
				}
				return w.pour(s.span, batchClients, batchSize, batch, out, func(c *api.Client, key string) error {
					return dispatchMany(ctx, c, batchSize, key)
				})
			})
			return out, err
		},
	}
}

// storedJob is the name of the job in all sources of this package.
const storedJob = "bench"

// store applies a source. A cluster takes a moment until all its servers have said
// that they know stored jobs.
func (w *world) store(ctx context.Context, source string) error {
	for {
		_, err := w.client.ApplyJob(ctx, storedJob, &api.ApplyRequest{Source: &source, Filename: "bench.hcl"})
		if err == nil {
			return nil
		}
		if err := pauseFor(ctx, err, api.TypeFormat); err != nil {
			return fmt.Errorf("store a job: %w", err)
		}
	}
}

func dispatchOne(ctx context.Context, c *api.Client) error {
	if _, _, err := c.Submit(ctx, &api.SubmitRequest{Job: storedJob}, ""); err != nil {
		return fmt.Errorf("dispatch a run: %w", err)
	}
	return nil
}

func dispatchMany(ctx context.Context, c *api.Client, n int, key string) error {
	items := make([]api.SubmitRequest, n)
	for i := range items {
		items[i] = api.SubmitRequest{Job: storedJob}
	}
	answers, err := c.SubmitMany(ctx, items, key)
	if err != nil {
		return fmt.Errorf("dispatch %d runs: %w", n, err)
	}
	for i := range answers {
		if p := answers[i].Problem; p != nil {
			return fmt.Errorf("dispatch run %d of %d: %w", i, n, p)
		}
	}
	return nil
}

// pour has clients send one request after another for a while, each of which starts
// so many runs.
func (w *world) pour(span time.Duration, clients, each int, what string, out map[string][]float64, send func(c *api.Client, key string) error) error {
	var all samples
	began := time.Now()
	err := together(clients, func(i int) error {
		var mine []float64
		defer func() { all.add(mine...) }()
		for n := 0; time.Since(began) < span; n++ {
			one := time.Now()
			if err := send(w.clients[i%len(w.clients)], fmt.Sprintf("%s-%d-%d", what, i, n)); err != nil {
				return err
			}
			mine = append(mine, millis(time.Since(one)))
		}
		return nil
	})
	out[what] = []float64{rate(len(all.values)*each, time.Since(began))}
	out[what+" p50"] = []float64{percentile(all.values, 50)}
	out[what+" p99"] = []float64{percentile(all.values, 99)}
	return err
}
