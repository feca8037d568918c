package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cmd"
	"github.com/rota-sched/rota/examples"
)

// The demonstration's task that is slow enough to lose its node, and how long the
// whole may take.
const (
	demoVictim  = "check"
	demoTimeout = 60 * time.Second
	demoLook    = 50 * time.Millisecond
)

// demoNode is one node of the demonstration: a process of its own.
type demoNode struct {
	name, dir, http string
	cmd             *exec.Cmd
	ended           chan struct{}
}

// demonstration is three nodes and a run that one of them does not survive.
type demonstration struct {
	out    io.Writer
	dir    string
	began  time.Time
	nodes  []*demoNode
	client *api.Client
	seen   map[rota.TaskKey]progress
	killed string // name of the node that was killed
}

// demo starts three nodes as processes of their own, runs a job, kills the node
// that runs one of its tasks, and shows how the job succeeds all the same.
func demo(ctx context.Context, f cmd.DevFlags, to cmd.Streams) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "rota-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the nodes: %w", err)
	}
	d := &demonstration{out: to.Stdout, dir: dir, began: time.Now(), seen: map[rota.TaskKey]progress{}}
	defer func() { err = errors.Join(err, d.clean()) }()
	if err := d.startNodes(ctx, f); err != nil {
		return err
	}
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

func (d *demonstration) startNodes(ctx context.Context, f cmd.DevFlags) error {
	const count = 3
	port, err := demoPort(f, count)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	var addresses []string
	for i := range count {
		addresses = append(addresses, net.JoinHostPort(f.Host, strconv.Itoa(port+10*i)))
	}
	for i, http := range addresses {
		n := &demoNode{name: fmt.Sprintf("n%d", i+1), http: http}
		n.dir = filepath.Join(d.dir, n.name)
		args := []string{"start", "--data", n.dir, "--name", n.name, "--http", http, "--bootstrap-expect", strconv.Itoa(count), "--log-level", f.LogLevel}
		for _, other := range addresses {
			if other != http {
				args = append(args, "--join", other)
			}
		}
		if err := n.start(ctx, self, args); err != nil {
			return err
		}
		d.nodes = append(d.nodes, n)
	}
	d.say("three nodes started: %s", strings.Join(addresses, ", "))
	if d.client, err = api.NewClient(addresses, api.Options{}); err != nil {
		return err
	}
	return d.ready(ctx)
}

// demoPort chooses the first node's port: the one asked for, or free ones where it
// is taken.
func demoPort(f cmd.DevFlags, count int) (int, error) {
	for base := f.Port; base < f.Port+2000; base += 10 * count {
		free := true
		for i := range 10 * count {
			l, err := net.Listen("tcp", net.JoinHostPort(f.Host, strconv.Itoa(base+i))) //nolint:noctx // it does not wait
			if err != nil {
				free = false
				break
			}
			if err := l.Close(); err != nil {
				return 0, fmt.Errorf("look for a free port: %w", err)
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row from %d on: name another first port with --http", 10*count, f.Port)
}

func (n *demoNode) start(ctx context.Context, self string, args []string) error {
	log, err := os.Create(n.dir + ".log")
	if err != nil {
		return fmt.Errorf("start node %s: %w", n.name, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	n.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, args...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demonstration, which ends its nodes
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start node %s: %w", n.name, err)
	}
	n.ended = make(chan struct{})
	go func() {
		defer close(n.ended)
		_ = n.cmd.Wait() // how it ended is in its log
	}()
	return nil
}

// ready waits until the three are one cluster.
func (d *demonstration) ready(ctx context.Context) error {
	for {
		if s, err := d.client.Status(ctx); err == nil && s.Leader != nil && s.Nodes.Ready == len(d.nodes) {
			d.say("they are a cluster, led by %s", *s.Leader)
			return nil
		}
		for _, n := range d.nodes {
			select {
			case <-n.ended:
				log, _ := os.ReadFile(n.dir + ".log") //nolint:errcheck // an empty text says enough
				return fmt.Errorf("node %s ended: %s", n.name, strings.TrimSpace(string(log)))
			default:
			}
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the nodes: %w", err)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(demoLook):
		return nil
	}
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
		if err := pause(ctx); err != nil {
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
	i := slices.IndexFunc(d.nodes, func(n *demoNode) bool { return n.name == name })
	if i < 0 {
		return fmt.Errorf("no node %q to kill", name)
	}
	d.killed = name
	d.say(">>>  kill -9 %d: the process of node %s, which runs %s", d.nodes[i].cmd.Process.Pid, name, demoVictim)
	if err := d.nodes[i].cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill node %s: %w", name, err)
	}
	return nil
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
		return fmt.Errorf("the demonstration's run has %s; the nodes' logs were in %s", run.Status, d.dir)
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

// clean ends the nodes and their keepers, and removes what they kept.
func (d *demonstration) clean() error {
	for _, n := range d.nodes {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // the second ends the tasks, too
	}
	for _, n := range d.nodes {
		select {
		case <-n.ended:
		case <-time.After(5 * time.Second):
			_ = n.cmd.Process.Kill() // it had its time
			<-n.ended
		}
	}
	if d.client != nil {
		d.client.Close()
	}
	return d.removeDir()
}

// removeDir waits for the keepers, which end with their agents, and removes the
// nodes' directory.
func (d *demonstration) removeDir() error {
	var errs []error
	for _, n := range d.nodes {
		errs = append(errs, keeperEnd(filepath.Join(n.dir, "keeper", "lock")))
	}
	if err := os.RemoveAll(d.dir); err != nil {
		errs = append(errs, fmt.Errorf("remove the demonstration's directory: %w", err))
	}
	return errors.Join(errs...)
}

// keeperEnd waits until nobody holds a keeper's lock.
func keeperEnd(lock string) error {
	f, err := os.Open(lock)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for a keeper: %w", err)
	}
	defer f.Close() //nolint:errcheck // it holds nothing but the lock
	for until := time.Now().Add(keeperPatience); ; time.Sleep(demoLook) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("a keeper did not end within %s: %w", keeperPatience, err)
		}
	}
}

// keeperPatience is longer than a keeper needs to end its tasks.
const keeperPatience = 10 * time.Second
