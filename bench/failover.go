package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/localcluster"
)

// failoverTry is the pause between two tries of one client.
const failoverTry = 10 * time.Millisecond

// failover measures how long nothing is accepted after the leader's death.
func failover() *measure {
	const name = "failover"
	return &measure{
		name: "failover", short: "Leader killed, to the next accepted write", within: 5 * time.Minute,
		lines: []line{{name: name, unit: "ms"}},
		how: "three nodes as processes; SIGKILL to the leader's; from then on a client at each of the others submits a run, again 10 ms after each " +
			"refusal; until the first is accepted. The killed node is started again, and all three are ready, before the next kill: 10 in a row on " +
			"one cluster for each repeat (3 with --quick)",
		once: func(ctx context.Context, s *settings) (map[string][]float64, error) {
			var times []float64
			err := in(ctx, s, func(w *world) error {
				for range s.kills {
					took, err := w.failOver(ctx)
					if err != nil {
						return err
					}
					times = append(times, millis(took))
				}
				return nil
			})
			return map[string][]float64{name: times}, err
		},
	}
}

// failOver kills the leader, waits for the next accepted write, and restores the
// cluster.
func (w *world) failOver(ctx context.Context) (time.Duration, error) {
	leader, err := w.Ready(ctx)
	if err != nil {
		return 0, err
	}
	victim, err := w.Node(leader)
	if err != nil {
		return 0, err
	}
	others, err := w.impatient(victim)
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, c := range others {
			c.Close()
		}
	}()
	began := time.Now()
	if err := victim.Kill(); err != nil {
		return 0, err
	}
	accepted, err := firstAccepted(ctx, others)
	if err != nil {
		return 0, err
	}
	if err := victim.Start(ctx); err != nil {
		return 0, err
	}
	_, err = w.Ready(ctx)
	return accepted.Sub(began), err
}

// impatient makes a client for each node but one that tries once and reports.
func (w *world) impatient(but *localcluster.Node) ([]*api.Client, error) {
	var out []*api.Client
	for _, n := range w.Nodes() {
		if n == but {
			continue
		}
		c, err := api.NewClient([]string{n.Address()}, api.Options{Patience: -1})
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// firstAccepted has every client submit until one is accepted, and says when.
func firstAccepted(ctx context.Context, cs []*api.Client) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var once sync.Once
	var at time.Time
	err := together(len(cs), func(i int) error {
		for {
			_, err := start(ctx, cs[i], oneNoop)
			if err == nil {
				once.Do(func() { at = time.Now() })
				cancel()
				return nil
			}
			t := time.NewTimer(failoverTry)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return err
			}
		}
	})
	if at.IsZero() {
		return at, fmt.Errorf("no write was accepted after the leader's death: %w", err)
	}
	return at, nil
}
