package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota/api"
)

// Shapes of the runs of workflow.
const (
	chainLength = 10
	chains      = 32 // at the same time
)

// workflow measures runs from end to end, as users of workflow engines feel them.
func workflow() *measure {
	one, many, chain := "one-task run", fmt.Sprintf("one-task runs, %d clients", clients), fmt.Sprintf("chain of %d", chainLength)
	return &measure{
		name: "workflow", short: "Runs from end to end: single tasks, chains, fan-outs", within: soon,
		lines: []line{
			{name: one + " p50", unit: "ms", limit: limitSyncTime},
			{name: one + " p99", unit: "ms", limit: limitSyncTime},
			{name: many, unit: "runs/s", more: true, limit: limitSync},
			{name: chain + ", a task", unit: "ms", limit: limitSyncTime},
			{name: fmt.Sprintf("%s, %d at once", chain, chains), unit: "tasks/s", more: true, limit: limitSync},
			{name: fanName(100), unit: "ms", limit: limitSyncTime},
			{name: fanName(1000), unit: "ms", limit: limitSyncTime},
		},
		how: fmt.Sprintf("three nodes as processes, no-op tasks; from sending a job file to hearing that the run has ended, by a client that waits for it. "+
			"one-task run: one client; with %d clients, spread over the nodes, each starts the next run after the end of the one before. chain: each task "+
			"depends on the one before; its time by one client, its rate with %d of them. fan-out: so many tasks and one that depends on all, the median of several", clients, chains),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error { return w.workflow(ctx, s.span, out) })
			return out, err
		},
	}
}

func fanName(n int) string { return fmt.Sprintf("fan-out of %d and join", n) }

func (w *world) workflow(ctx context.Context, span time.Duration, out map[string][]float64) error {
	one, _, err := w.endToEnd(ctx, 1, span, oneNoop)
	if err != nil {
		return err
	}
	out["one-task run p50"], out["one-task run p99"] = []float64{percentile(one, 50)}, []float64{percentile(one, 99)}
	many, took, err := w.endToEnd(ctx, clients, span, oneNoop)
	if err != nil {
		return err
	}
	out[fmt.Sprintf("one-task runs, %d clients", clients)] = []float64{rate(len(many), took)}
	chain := fmt.Sprintf("chain of %d", chainLength)
	single, _, err := w.endToEnd(ctx, 1, span/2, chainOf(chainLength))
	if err != nil {
		return err
	}
	out[chain+", a task"] = []float64{median(single) / chainLength}
	several, took, err := w.endToEnd(ctx, chains, span, chainOf(chainLength))
	if err != nil {
		return err
	}
	out[fmt.Sprintf("%s, %d at once", chain, chains)] = []float64{rate(len(several)*chainLength, took)}
	for _, n := range []int{100, 1000} {
		times, _, err := w.endToEnd(ctx, 1, span/2, fanOf(n))
		if err != nil {
			return err
		}
		out[fanName(n)] = []float64{median(times)}
	}
	return nil
}

// endToEnd has clients start a run and wait for its end, again and again for a
// while; the times are milliseconds.
func (w *world) endToEnd(ctx context.Context, clients int, span time.Duration, source string) ([]float64, time.Duration, error) {
	var all samples
	began := time.Now()
	err := together(clients, func(i int) error {
		c := w.clients[i%len(w.clients)]
		for first := true; first || time.Since(began) < span; first = false {
			took, err := startAndSucceed(ctx, c, source)
			if err != nil {
				return err
			}
			all.add(millis(took))
		}
		return nil
	})
	return all.values, time.Since(began), err
}

func startAndSucceed(ctx context.Context, c *api.Client, source string) (time.Duration, error) {
	began := time.Now()
	run, err := start(ctx, c, source)
	if err != nil {
		return 0, err
	}
	err = succeed(ctx, c, run.ID)
	return time.Since(began), err
}

// chainOf is a run of n tasks, each of which depends on the one before.
func chainOf(n int) string {
	var b strings.Builder
	b.WriteString("job \"bench\" {\n  task \"t0\" {\n    driver = \"noop\"\n  }\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "  task \"t%d\" {\n    driver     = \"noop\"\n    depends_on = [task.t%d]\n  }\n", i, i-1)
	}
	b.WriteString("}\n")
	return b.String()
}

// fanOf is a run of n tasks and one that depends on all of them.
func fanOf(n int) string {
	return fmt.Sprintf("job \"bench\" {\n  task \"t\" {\n    driver = \"noop\"\n    matrix {\n      a = range(%d)\n    }\n  }\n"+
		"  task \"join\" {\n    driver     = \"noop\"\n    depends_on = [task.t]\n  }\n}\n", n)
}
