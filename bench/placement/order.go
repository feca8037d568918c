package placement

import "math/rand"

// inflation is how much GPU the arriving tasks ask for together, as a multiple of
// what the cluster has. (Source: docs/PLACEMENT.md.)
const inflation = 1.3

// plan is what a seed makes of a trace: in which order which tasks arrive, and
// which node comes first of equals.
type plan struct {
	arrivals []int // indexes of Trace.Tasks
	rank     []int // of each of Trace.Nodes
}

// planOf draws the published sequence: the calls of math/rand are those of the
// original experiment, one for one, so that the same seed gives the same run.
func planOf(t *Trace, seed int64) plan {
	r := rand.New(rand.NewSource(seed))
	_ = r.Int()
	order := make([]int, len(t.Tasks))
	for i := range order {
		order[i] = i
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	order = inflate(t, r, order)
	for range 10 {
		_ = r.Float64()
	}
	return plan{arrivals: order, rank: r.Perm(len(t.Nodes))}
}

// inflate appends copies of tasks, or removes tasks, until they ask for what
// inflation says. The bound looks at what a task takes of each device, the sum at
// all that it takes: the original has it so.
func inflate(t *Trace, r *rand.Rand, order []int) []int {
	sum := int64(0)
	for i := range t.Tasks {
		sum += t.Tasks[i].GPUMilli()
	}
	limit := int64(inflation * float64(t.CapacityMilli()))
	if sum > limit {
		for sum > limit {
			i := r.Intn(len(order))
			sum -= t.Tasks[order[i]].GPUMilli()
			order = append(order[:i], order[i+1:]...)
		}
		return order
	}
	for {
		i := r.Intn(len(t.Tasks))
		j := &t.Tasks[i]
		if sum+j.Spec.Resources.GPU.MilliEach() > limit {
			return order
		}
		sum += j.GPUMilli()
		order = append(order, i)
	}
}
