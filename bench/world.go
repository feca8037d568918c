package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// What runs in the measures, as job files.
const (
	oneNoop = `job "bench" {
  task "t" {
    driver = "noop"
  }
}
`
	oneProcess = `job "bench" {
  task "t" {
    command = ["/bin/true"]
  }
}
`
)

// manyNoops is a run of a*b tasks that do nothing, b at most 1024.
func manyNoops(a, b int) string {
	return fmt.Sprintf("job \"bench\" {\n  task \"t\" {\n    driver = \"noop\"\n    matrix {\n      a = range(%d)\n      b = range(%d)\n    }\n  }\n}\n", a, b)
}

// manyProcesses is a run of a*b tasks that are one process each.
func manyProcesses(a, b int) string {
	return fmt.Sprintf("job \"bench\" {\n  task \"t\" {\n    command = [\"/bin/true\"]\n    matrix {\n      a = range(%d)\n      b = range(%d)\n    }\n  }\n}\n", a, b)
}

// firstPort is away from the ports of a node that a person may have started, and
// below those that the system hands out.
const firstPort = 18420

// world is a cluster of three processes and clients for it.
type world struct {
	*localcluster.Cluster
	leader  string        // its name, when the cluster was ready
	client  *api.Client   // of all nodes
	clients []*api.Client // one for each node first, then the others
}

// cluster describes the three nodes.
func (s *settings) cluster() (localcluster.Config, error) {
	cfg, err := localcluster.DefaultConfig()
	if err != nil {
		return cfg, err
	}
	cfg.Port, cfg.Parent, cfg.Prefix = firstPort, s.parent, "rota-bench-"
	cfg.Args = []string{"--log-level", "error", "--log-store", s.logStore, "--gpu", "none"}
	if s.slots > 0 {
		cfg.Args = append(cfg.Args, "--slots", strconv.Itoa(s.slots))
	}
	return cfg, nil
}

// openWorld starts a cluster and waits until it is ready; after an error nothing is
// left.
func openWorld(ctx context.Context, s *settings) (*world, error) {
	cfg, err := s.cluster()
	if err != nil {
		return nil, err
	}
	c, err := localcluster.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w := &world{Cluster: c}
	if err := w.connect(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) connect(ctx context.Context) (err error) {
	if w.leader, err = w.Ready(ctx); err != nil {
		return err
	}
	addresses := w.Addresses()
	for i := range addresses {
		c, err := api.NewClient(append(append([]string{}, addresses[i:]...), addresses[:i]...), api.Options{})
		if err != nil {
			return err
		}
		w.clients = append(w.clients, c)
	}
	w.client = w.clients[0]
	return nil
}

func (w *world) close() error {
	for _, c := range w.clients {
		c.Close()
	}
	return w.Close()
}

// in starts a cluster, does something with it, and removes it.
func in(ctx context.Context, s *settings, do func(w *world) error) error {
	w, err := openWorld(ctx, s)
	if err != nil {
		return err
	}
	return errors.Join(do(w), w.close())
}

// start submits a job file.
func start(ctx context.Context, c *api.Client, source string) (*api.RunView, error) {
	run, _, err := c.Submit(ctx, &api.SubmitRequest{Source: &source, Filename: "bench.hcl"}, "")
	if err != nil {
		return nil, fmt.Errorf("submit a run: %w", err)
	}
	return run, nil
}

// succeed waits until a run has ended well.
func succeed(ctx context.Context, c *api.Client, id rota.RunID) error {
	run, err := c.WaitRun(ctx, string(id), nil)
	if err != nil {
		return fmt.Errorf("wait for run %s: %w", id, err)
	}
	if run.Status != rota.RunSucceeded {
		return fmt.Errorf("run %s has %s", id, run.Status)
	}
	return nil
}

// drainAll stops placements on all nodes but the one named.
func (w *world) drainAll(ctx context.Context, but string) error {
	for _, n := range w.Nodes() {
		if n.Name() == but {
			continue
		}
		if _, err := w.client.Drain(ctx, n.Name()); err != nil {
			return fmt.Errorf("drain node %s: %w", n.Name(), err)
		}
	}
	return nil
}

// undrainAll lets all nodes but the one named take placements again, which was not
// drained.
func (w *world) undrainAll(ctx context.Context, but string) error {
	for _, n := range w.Nodes() {
		if n.Name() == but {
			continue
		}
		if _, err := w.client.Undrain(ctx, n.Name()); err != nil {
			return fmt.Errorf("undrain node %s: %w", n.Name(), err)
		}
	}
	return nil
}

// idle waits until no task is left that has not ended.
func (w *world) idle(ctx context.Context) error {
	for {
		s, err := w.client.Status(ctx)
		if err != nil {
			return fmt.Errorf("wait for the tasks: %w", err)
		}
		open := 0
		for name, count := range s.Tasks {
			if !ended(name) {
				open += count
			}
		}
		if open == 0 {
			return nil
		}
		if err := localcluster.Pause(ctx); err != nil {
			return fmt.Errorf("wait for %d tasks: %w", open, err)
		}
	}
}

// ended reports whether a status, by its name, is one that a task stays in.
func ended(status string) bool {
	switch status {
	case rota.StatusDelivered.String(), rota.StatusDeadLettered.String(), rota.StatusSkipped.String(), rota.StatusCancelled.String():
		return true
	}
	return false
}

// soon is the bound of one repeat that starts a cluster.
const soon = 3 * time.Minute
