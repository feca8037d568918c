package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// Sizes of backlog.
const (
	backlogRuns   = 100_000
	backlogTasks  = 10_000 // of the run that is listed
	backlogLooks  = 20     // at each thing that is timed
	payloadBytes  = 256
	runsAtOnce    = 1000
	backlogClient = 4
)

// backlog measures what a queue costs, and reading beside it.
func backlog() *measure {
	perTask, page, status := "memory of a queued one-task run", "page of 1,000 of 10,000 tasks", "status with 110,000 tasks queued"
	return &measure{
		name: "backlog", short: "100,000 queued tasks: memory, and reading beside them", within: soon,
		lines: []line{
			{name: perTask, unit: "B"},
			{name: page, unit: "ms", limit: limitHTTPTime},
			{name: status, unit: "ms", limit: limitHTTPTime},
		},
		how: fmt.Sprintf("three nodes as processes, all drained; %d runs of one no-op task, each started with %d bytes of its own, and one run of %d tasks. Memory: the growth "+
			"of the memory of the node that leads (without the log's file; what its collector has not given back included) over the number of runs. Reading: the median of %d, by one client at the node that leads",
			backlogRuns, payloadBytes, backlogTasks, backlogLooks),
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			err := in(ctx, s, func(w *world) error {
				if err := w.drainAll(ctx, ""); err != nil {
					return err
				}
				leader, err := w.Node(w.leader)
				if err != nil {
					return err
				}
				grown, err := w.fill(ctx, leader)
				if err != nil {
					return err
				}
				out[perTask] = []float64{float64(grown) / backlogRuns}
				c, err := api.NewClient([]string{leader.Address()}, api.Options{})
				if err != nil {
					return err
				}
				defer c.Close()
				if out[page], err = pages(ctx, c); err != nil {
					return err
				}
				out[status], err = looks(func() error { _, err := c.Status(ctx); return err })
				return err
			})
			return out, err
		},
	}
}

// fill queues the runs and gives the growth of the leader's memory.
func (w *world) fill(ctx context.Context, leader *localcluster.Node) (int64, error) {
	if err := w.store(ctx, oneNoop); err != nil {
		return 0, err
	}
	before, err := anonymous(leader.PID())
	if err != nil {
		return 0, err
	}
	err = together(backlogClient, func(i int) error {
		for n := range backlogRuns / runsAtOnce / backlogClient {
			if err := w.fillOne(ctx, i, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	after, err := anonymous(leader.PID())
	return after - before, err
}

func (w *world) fillOne(ctx context.Context, client, n int) error {
	items := make([]api.SubmitRequest, runsAtOnce)
	for i := range items {
		head := fmt.Sprintf("%d-%d-%d-", client, n, i)
		items[i] = api.SubmitRequest{Job: storedJob, Event: []byte(`"` + head + strings.Repeat("x", payloadBytes-len(head)-2) + `"`)}
	}
	answers, err := w.clients[client%len(w.clients)].SubmitMany(ctx, items, fmt.Sprintf("fill-%d-%d", client, n))
	if err != nil {
		return fmt.Errorf("queue %d runs: %w", runsAtOnce, err)
	}
	for i := range answers {
		if p := answers[i].Problem; p != nil {
			return fmt.Errorf("queue a run: %w", p)
		}
	}
	return nil
}

// pages lists a large run, a page at a time; the median is milliseconds.
func pages(ctx context.Context, c *api.Client) ([]float64, error) {
	run, err := start(ctx, c, manyNoops(100, backlogTasks/100))
	if err != nil {
		return nil, err
	}
	cursor := ""
	return looks(func() error {
		l, err := c.RunTasksPage(ctx, string(run.ID), 1000, cursor)
		if err != nil {
			return fmt.Errorf("list a page of tasks: %w", err)
		}
		if cursor = ""; l.NextCursor != nil {
			cursor = *l.NextCursor
		}
		return nil
	})
}

// looks times something several times; the median is milliseconds.
func looks(look func() error) ([]float64, error) {
	var times []float64
	for range backlogLooks {
		began := time.Now()
		if err := look(); err != nil {
			return nil, err
		}
		times = append(times, millis(time.Since(began)))
	}
	return []float64{median(times)}, nil
}
