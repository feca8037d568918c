package placement

import (
	"math/rand"
	"time"

	"github.com/rota-sched/rota"
)

// timed makes n decisions, or as many as fill the cluster, and gives the time that
// the scheduler spent on each: from the arrival of the task to the placement's being
// seen, and, churning, the departure before it. Churning begins with a full cluster.
func timed(t *Trace, s setup, churning bool, n int) []time.Duration {
	r := rand.New(rand.NewSource(1))
	c := newCluster(nodesOf(t, r.Perm(len(t.Nodes))), s)
	var tasks []running
	arrive := func() bool {
		x, ok := c.arrive(t.Tasks[r.Intn(len(t.Tasks))].Spec)
		if ok {
			tasks = append(tasks, x)
		}
		return ok
	}
	full := int64(float64(t.CapacityMilli()) * .95)
	if churning {
		for range 4 * len(t.Tasks) {
			if c.used >= full {
				break
			}
			arrive()
		}
	}
	var took []time.Duration
	for range n {
		if !churning && c.used >= full {
			break
		}
		c.spent = 0
		for churning && c.used >= full && len(tasks) > 0 {
			i := r.Intn(len(tasks))
			c.leave(tasks[i])
			tasks[i] = tasks[len(tasks)-1]
			tasks = tasks[:len(tasks)-1]
		}
		arrive()
		took = append(took, c.spent)
	}
	return took
}

// observe feeds the scheduler and counts its time.
func (c *cluster) observe(ch *rota.Change) {
	start := time.Now()
	c.sched.Observe(ch)
	c.spent += time.Since(start)
}

// plan asks for one placement and counts the time.
func (c *cluster) plan() []rota.NewPlacement {
	start := time.Now()
	ps := c.sched.Plan(0, 1)
	c.spent += time.Since(start)
	return ps
}
