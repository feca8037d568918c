package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
)

// Sizes of million.
const (
	millionRuns   = 100
	millionTasks  = rota.MaxTasksPerRun // of each run
	millionChunk  = 1000                // tasks in one operation
	millionCaller = 256
	// A snapshot is due after so many entries here, so that several fall into the
	// time measured.
	millionEntries = 512
)

// million measures a state of a million tasks that wait.
func million() *measure {
	const (
		fill, restart, write = "tasks taken in", "restart", "snapshot written"
		half, inside, beside = "operations a second meanwhile", "operation p99 while a snapshot is written", "operation p99 otherwise"
	)
	return &measure{
		name: "million", short: "A state of a million tasks: taken in, restarted, and latency while it is written down", within: 8 * time.Minute, alone: true,
		lines: []line{
			{name: fill, unit: "tasks/s", more: true, limit: limitSync},
			{name: half, unit: "ops/s"},
			{name: write, unit: "s"},
			{name: inside, unit: "ms", limit: limitSyncTime},
			{name: beside, unit: "ms", limit: limitSyncTime},
			{name: restart, unit: "s"},
		},
		how: fmt.Sprintf("three servers in this process as for ops, sharing its cores and its collector; %d runs of %d tasks each are put into the log, %d tasks an operation. Then operations that are refused when applied, sent at fixed moments, "+
			"half as many a second as %d callers got through just before; each server writes a snapshot after %d entries at the soonest meanwhile, all three at once. Times are from the moment an operation was due to its answer. "+
			"restart: one server is stopped and opened again on its directory; from opening until its state is as far as the others'", millionRuns, millionTasks, millionChunk, millionCaller, millionEntries),
		once: func(ctx context.Context, s *settings) (out map[string][]float64, err error) {
			t, err := openTrio(ctx, s, func(cfg *cluster.Config) { cfg.SnapshotEntries, cfg.SnapshotBytes = millionEntries, 1<<20 })
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, t.close()) }()
			leader, err := t.leader(ctx)
			if err != nil {
				return nil, err
			}
			began := time.Now()
			for i := range millionRuns {
				if err := fillRun(ctx, leader, i); err != nil {
					return nil, err
				}
			}
			out = map[string][]float64{fill: {rate(millionRuns*millionTasks, time.Since(began))}}
			s.note("million: taken in")
			times, took, err := propose(ctx, leader, millionCaller, s.span)
			if err != nil {
				return nil, err
			}
			speed := rate(len(times), took) / 2
			out[half] = []float64{speed}
			in, between, wrote, err := t.besideSnapshots(ctx, leader, speed, max(4*s.span, 20*time.Second))
			if err != nil {
				return nil, err
			}
			out[inside], out[beside], out[write] = []float64{percentile(in, 99)}, []float64{percentile(between, 99)}, wrote
			again, err := t.restart(ctx, leader)
			out[restart] = []float64{again.Seconds()}
			return out, err
		},
	}
}

// fillRun puts a run of many tasks into the log.
func fillRun(ctx context.Context, c *cluster.Cluster, n int) error {
	id := rota.RunID(fmt.Sprintf("01ARZ3NDEKTSV4RRFF%08d", n))
	specs := []*rota.TaskSpec{{Driver: rota.DriverNoop, Retry: rota.Retry{MaxAttempts: 1}}}
	var op rota.Op
	for from := 0; from < millionTasks; from += millionChunk {
		tasks := make([]rota.NewTask, millionChunk)
		for i := range tasks {
			tasks[i] = rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t[%d]", from+i))}
		}
		if op = (rota.AddTasks{Run: id, Specs: specs, Tasks: tasks}); from == 0 {
			op = rota.SubmitRun{
				Run: id, Job: storedJob, Hash: storedJob, Filename: "bench.hcl", Source: []byte(oneNoop), Digest: string(id),
				Total: millionTasks, Specs: specs, Tasks: tasks,
			}
		}
		res, err := c.Propose(ctx, rota.Command{Namespace: "default", RequestID: string(id), Op: op})
		if err != nil {
			return fmt.Errorf("put run %d into the log: %w", n, err)
		}
		if res.Kind != rota.KindNone {
			return fmt.Errorf("put run %d into the log: %w", n, res.Err())
		}
	}
	return nil
}

// besideSnapshots proposes at a fixed rate, and sorts the times by whether any server
// wrote a snapshot when the operation was due; wrote is how long each of the node's
// snapshots took, in seconds.
func (t *trio) besideSnapshots(ctx context.Context, leader *cluster.Cluster, speed float64, span time.Duration) (inside, between, wrote []float64, err error) {
	var writing atomic.Bool
	watched, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // ends with the operations
		defer close(ended)
		wrote = t.watchSnapshots(watched, &writing)
	}()
	var in, out samples
	cmd := rota.Command{Namespace: "default", Op: rota.CancelRun{Run: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}}
	began := time.Now()
	var next atomic.Int64
	err = together(4*millionCaller, func(int) error {
		for {
			due := began.Add(time.Duration(float64(next.Add(1)) / speed * float64(time.Second)))
			if due.Sub(began) > span {
				return nil
			}
			if err := rest(ctx, time.Until(due)); err != nil {
				return err
			}
			to := &out
			if writing.Load() {
				to = &in
			}
			if _, err := leader.Propose(ctx, cmd); err != nil {
				return fmt.Errorf("propose: %w", err)
			}
			to.add(millis(time.Since(due)))
		}
	})
	stop()
	<-ended
	if err == nil && len(in.values) == 0 {
		err = errors.New("no snapshot was written in the time measured: give it more with --for")
	}
	return in.values, out.values, wrote, err
}

// watchSnapshots notes in writing whether a server writes a snapshot, until ctx ends.
func (t *trio) watchSnapshots(ctx context.Context, writing *atomic.Bool) (wrote []float64) {
	since := map[string]time.Time{}
	for rest(ctx, 2*time.Millisecond) == nil {
		now, open := time.Now(), map[string]bool{}
		for _, dir := range t.dirs() {
			entries, err := os.ReadDir(filepath.Join(dir, "raft", "snapshots"))
			if err != nil {
				continue // not made yet
			}
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), ".tmp") {
					open[filepath.Join(dir, e.Name())] = true
				}
			}
		}
		writing.Store(len(open) > 0)
		for path := range open {
			if since[path].IsZero() {
				since[path] = now
			}
		}
		for path, from := range since {
			if !open[path] {
				wrote = append(wrote, now.Sub(from).Seconds())
				delete(since, path)
			}
		}
	}
	return wrote
}

// restart stops a server that does not lead and opens it again, until its state is as
// far as the leader's was.
func (t *trio) restart(ctx context.Context, leader *cluster.Cluster) (time.Duration, error) {
	i := 0
	if t.nodes[i] == leader {
		i = 1
	}
	if err := t.stop(i); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := t.open(ctx, i); err != nil {
		return 0, err
	}
	index := leader.Snapshot().Index()
	for t.nodes[i].Ready() != nil || t.nodes[i].Snapshot().Index() < index {
		if err := rest(ctx, time.Millisecond); err != nil {
			return 0, fmt.Errorf("wait for the server that was started again: %w", err)
		}
	}
	return time.Since(began), nil
}
