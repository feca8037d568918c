package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// longTasks are four tasks that would run for long, and end on SIGTERM.
const longTasks = `job "bench" {
  task "t" {
    command = ["sh", "-c", "trap 'exit 143' TERM; sleep 600 & wait"]
    matrix {
      i = range(4)
    }
  }
}
`

// death is one way for a node to go.
type death struct {
	name   string
	leader bool // the node leads
	kill   func(n *localcluster.Node) error
}

// reassign measures how long a node's tasks are away after its death.
func reassign() *measure {
	deaths := []death{
		{"reassign, agent killed", false, (*localcluster.Node).Kill},
		{"reassign, leader's process killed", true, (*localcluster.Node).Kill},
		{"reassign, host gone", false, (*localcluster.Node).KillHost},
	}
	var lines []line
	for _, d := range deaths {
		lines = append(lines, line{name: d.name, unit: "s"})
	}
	return &measure{
		name: "reassign", short: "Node killed, to all its tasks running elsewhere", within: soon, lines: lines,
		how: "three nodes as processes with the default lease times; four tasks that end on SIGTERM run on one node; from SIGKILL until a client, " +
			"looking every 20 ms, sees all four running on other nodes. agent killed: the process of a node that does not lead, its keeper lives; " +
			"host gone: that process and its keeper together",
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			out := map[string][]float64{}
			for _, d := range deaths {
				err := in(ctx, s, func(w *world) error {
					took, err := w.reassign(ctx, d)
					out[d.name] = []float64{took.Seconds()}
					return err
				})
				if err != nil {
					return nil, fmt.Errorf("%s: %w", d.name, err)
				}
			}
			return out, nil
		},
	}
}

func (w *world) reassign(ctx context.Context, d death) (took time.Duration, err error) {
	victim, err := w.Node(w.leader)
	if err != nil {
		return 0, err
	}
	if !d.leader {
		for _, n := range w.Nodes() {
			if n.Name() != w.leader {
				victim = n
			}
		}
	}
	id, err := w.startOn(ctx, victim)
	if err != nil {
		return 0, err
	}
	watcher, err := w.survivors(victim)
	if err != nil {
		return 0, err
	}
	defer watcher.Close()
	began := time.Now()
	if err := d.kill(victim); err != nil {
		return 0, err
	}
	err = untilRunning(ctx, watcher, id, func(node string) bool { return node != victim.Name() })
	return time.Since(began), err
}

// startOn starts the tasks on one node, and lets the others take them from then on.
func (w *world) startOn(ctx context.Context, n *localcluster.Node) (rota.RunID, error) {
	if err := w.drainAll(ctx, n.Name()); err != nil {
		return "", err
	}
	run, err := start(ctx, w.client, longTasks)
	if err != nil {
		return "", err
	}
	if err := untilRunning(ctx, w.client, run.ID, func(node string) bool { return node == n.Name() }); err != nil {
		return "", err
	}
	return run.ID, w.undrainAll(ctx, n.Name())
}

// survivors is a client of all nodes but one.
func (w *world) survivors(but *localcluster.Node) (*api.Client, error) {
	var addresses []string
	for _, n := range w.Nodes() {
		if n != but {
			addresses = append(addresses, n.Address())
		}
	}
	return api.NewClient(addresses, api.Options{})
}

// untilRunning waits until all tasks of a run are running on nodes that are wanted.
func untilRunning(ctx context.Context, c *api.Client, id rota.RunID, wanted func(node string) bool) error {
	for {
		run, err := c.Run(ctx, string(id), api.RunOptions{Tasks: true})
		if err != nil {
			return fmt.Errorf("look at run %s: %w", id, err)
		}
		running := 0
		for i := range run.Tasks {
			if t := &run.Tasks[i]; t.Status == rota.StatusRunning && wanted(t.Node) {
				running++
			}
		}
		switch {
		case running > 0 && running == len(run.Tasks):
			return nil
		case run.Status.Terminal():
			return errors.New("the run has ended: its tasks should have gone on")
		}
		if err := localcluster.Pause(ctx); err != nil {
			return fmt.Errorf("wait for %d of %d tasks to run: %w", len(run.Tasks)-running, len(run.Tasks), err)
		}
	}
}
