package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cmd"
	"github.com/rota-sched/rota/examples"
	"github.com/rota-sched/rota/localcluster"
)

// The demonstration's task that is slow enough to lose its node, and how long the
// whole may take.
const (
	demoVictim  = "check"
	demoTimeout = 60 * time.Second
)

// demonstration is three nodes and a run that one of them does not survive.
type demonstration struct {
	out    io.Writer
	began  time.Time
	local  *localcluster.Cluster
	client *api.Client
	seen   map[rota.TaskKey]progress
	killed string // name of the node that was killed
}

// demo starts three nodes as processes of their own, runs a job, kills the node
// that runs one of its tasks, and shows how the job succeeds all the same.
func demo(ctx context.Context, f cmd.DevFlags, to cmd.Streams) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	d := &demonstration{out: to.Stdout, began: time.Now(), seen: map[rota.TaskKey]progress{}}
	if err := d.startNodes(ctx, f); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.local.Close()) }()
	defer d.client.Close()
	leader, err := d.local.Ready(ctx)
	if err != nil {
		return err
	}
	d.say("they are a cluster, led by %s", leader)
	run, err := d.submit(ctx)
	if err != nil {
		return err
	}
	last, err := d.watch(ctx, run)
	if err != nil {
		return err
	}
	return d.report(ctx, last)
}

func (d *demonstration) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%5.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...)) //nolint:errcheck // a closed terminal stops nothing
}

// startNodes starts the nodes; after an error none is left.
func (d *demonstration) startNodes(ctx context.Context, f cmd.DevFlags) error {
	cfg, err := localcluster.DefaultConfig()
	if err != nil {
		return err
	}
	cfg.Host, cfg.Port, cfg.Prefix, cfg.Args = f.Host, f.Port, "rota-demo-", []string{"--log-level", f.LogLevel}
	if d.local, err = localcluster.Start(ctx, cfg); err != nil {
		return err
	}
	addresses := d.local.Addresses()
	d.say("three nodes started: %s", strings.Join(addresses, ", "))
	if d.client, err = api.NewClient(addresses, api.Options{}); err != nil {
		return errors.Join(err, d.local.Close())
	}
	return nil
}

func (d *demonstration) submit(ctx context.Context) (rota.RunID, error) {
	source := examples.Demo
	run, _, err := d.client.Submit(ctx, &api.SubmitRequest{Source: &source, Filename: "examples/demo.hcl"}, "demo")
	if err != nil {
		return "", err
	}
	d.say("submitted examples/demo.hcl as run %s", run.ID)
	return run.ID, nil
}

// watch tells what becomes of the run, and kills a node on the way.
func (d *demonstration) watch(ctx context.Context, id rota.RunID) (*api.RunView, error) {
	for {
		run, err := d.client.Run(ctx, string(id), api.RunOptions{Tasks: true, Outputs: true})
		if err != nil {
			return nil, err
		}
		for i := range run.Tasks {
			if err := d.tell(&run.Tasks[i]); err != nil {
				return nil, err
			}
		}
		if run.Status.Terminal() {
			d.say("the run has %s", run.Status)
			return run, nil
		}
		if err := localcluster.Pause(ctx); err != nil {
			return nil, fmt.Errorf("wait for the run: %w", err)
		}
	}
}

func (d *demonstration) tell(t *api.TaskView) error {
	seen, now := d.seen[t.Key], progress{attempts: t.Attempts, lost: t.Cause == rota.CauseNodeLost && t.Status == rota.StatusQueued, status: t.Status}
	if !now.after(seen) || t.Status == rota.StatusCreated {
		return nil
	}
	d.seen[t.Key] = now
	switch t.Status { //nolint:exhaustive // the others pass quickly or say nothing to a newcomer
	case rota.StatusRunning:
		d.say("%-16s runs on %s%s", t.Key, t.Node, again(t.Attempts))
		if t.Key == demoVictim && d.killed == "" {
			return d.kill(t.Node)
		}
	case rota.StatusDelivered:
		d.say("%-16s delivered by %s", t.Key, t.Node)
	case rota.StatusQueued:
		if t.Attempts > 0 {
			d.say("%-16s was lost with its node and is queued again", t.Key)
		}
	case rota.StatusDeadLettered, rota.StatusSkipped, rota.StatusCancelled:
		d.say("%-16s %s: %s", t.Key, t.Status, t.Message)
	}
	return nil
}

// progress is how far a task was seen to be. Another node's answer may lie a moment
// behind: what was told is not told again.
type progress struct {
	attempts uint64
	lost     bool
	status   rota.Status
}

func (p progress) after(o progress) bool {
	switch {
	case p.attempts != o.attempts:
		return p.attempts > o.attempts
	case p.lost != o.lost:
		return p.lost
	default:
		return p.status > o.status
	}
}

func again(attempts uint64) string {
	if attempts < 2 {
		return ""
	}
	return fmt.Sprintf(", attempt %d", attempts)
}

func (d *demonstration) kill(name string) error {
	n, err := d.local.Node(name)
	if err != nil {
		return err
	}
	d.killed = name
	d.say(">>>  kill -9 %d: the process of node %s, which runs %s", n.PID(), name, demoVictim)
	return n.Kill()
}

func (d *demonstration) report(ctx context.Context, run *api.RunView) error {
	for i := range run.Tasks {
		if t := &run.Tasks[i]; t.Key == "report" && t.Output != nil {
			text, err := strconv.Unquote(string(t.Output))
			if err != nil {
				text = string(t.Output)
			}
			fmt.Fprintf(d.out, "\n%s\n\n", text) //nolint:errcheck // a closed terminal stops nothing
		}
	}
	if run.Status != rota.RunSucceeded {
		return fmt.Errorf("the demonstration's run has %s; the nodes' logs were in %s", run.Status, d.local.Dir())
	}
	detail, err := d.client.Task(ctx, string(run.ID), demoVictim)
	if err != nil {
		return err
	}
	for _, a := range detail.AttemptList {
		how := "delivered"
		if a.Cause != rota.CauseNone {
			how = a.Cause.String()
		}
		d.say("attempt %d of %s, fence %s, on %s: %s", a.Number, demoVictim, a.Fence, a.Node, how)
	}
	d.say("done; the nodes are stopped and their directory is removed")
	return nil
}
