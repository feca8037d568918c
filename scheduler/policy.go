package scheduler

import (
	"math/bits"

	"github.com/rota-sched/rota"
)

// Policy says how good it is to give demands to a node that has the room for
// them. The highest score wins, equal scores go to the lower node name; scores count
// up to 2^31-1 either way. A score depends on the node's cpu, memory, disk and
// devices, on what is held of them, and on the demand: on nothing else.
type Policy interface {
	// Rate scores the node as it would be afterwards. devices are the indexes of
	// the devices that may be given: for whole devices the Count of them that would
	// be, for a share every one with room, of which Rate picks one. The list is
	// empty without a demand for GPUs, and only lent.
	Rate(n *rota.Node, held *rota.Held, r *rota.Resources, devices []int) (score int64, device int)
}

// BestFit leaves the least room behind: it fills what is nearly full, keeps large
// holes large, keeps tasks without GPU off nodes with GPUs, and puts a share on
// the device with the least left.
type BestFit struct{}

// fullScale is what one whole resource counts in a score.
const fullScale = 1 << 16

// Rate implements Policy: minus the sum, over cpu, memory and GPU, of the part
// that stays free.
func (BestFit) Rate(n *rota.Node, held *rota.Held, r *rota.Resources, devices []int) (score int64, device int) {
	c := &n.Capacity
	left := part(c.CPUMilli-held.CPUMilli-r.CPUMilli, c.CPUMilli)
	left += part(c.MemoryBytes-held.MemoryBytes-r.MemoryBytes, c.MemoryBytes)
	if len(c.GPUs) > 0 {
		free := -int64(r.GPU.Count) * r.GPU.MilliEach()
		for i := range c.GPUs {
			free += held.FreeMilli(i)
		}
		left += part(free, int64(len(c.GPUs))*rota.WholeGPU)
	}
	return -left, leastFree(held, devices)
}

// leastFree picks the device with the least left, the lower index of two equals;
// outside if there is none.
func leastFree(held *rota.Held, devices []int) int {
	best := outside
	for _, d := range devices {
		if best == outside || held.FreeMilli(d) < held.FreeMilli(best) {
			best = d
		}
	}
	return best
}

// part is free/whole in units of 1/fullScale, between 0 and fullScale.
func part(free, whole int64) int64 {
	if whole <= 0 || free <= 0 {
		return 0
	}
	if free >= whole {
		return fullScale
	}
	hi, lo := bits.Mul64(uint64(free), fullScale)
	q, _ := bits.Div64(hi, lo, uint64(whole)) // free < whole, so the quotient fits
	return int64(q)
}
