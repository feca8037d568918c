package placement

import (
	"math"
	"strconv"
)

// columns is how many columns a curve has: 0..130 percent of load.
const columns = 131

// curve is the published record of a run: column L is the part of all GPU that is
// allocated, in percent, when the tasks that have arrived so far ask for L percent.
type curve [columns]float64

// fill is the published experiment: tasks arrive one at a time, none ever leaves,
// what does not fit is dropped.
func fill(t *Trace, p plan, s setup) curve {
	c := newCluster(nodesOf(t, p.rank), s)
	capacity := float64(t.CapacityMilli())
	var sum curve
	var counts [columns]int
	arrived := int64(0)
	for _, i := range p.arrivals {
		j := &t.Tasks[i]
		arrived += j.GPUMilli()
		c.arrive(j.Spec)
		column := int(math.RoundToEven(100 * float64(arrived) / capacity))
		if column < columns {
			sum[column] += hundredths(100 * float64(c.used) / capacity)
			counts[column]++
		}
	}
	for l := range sum {
		if counts[l] > 0 {
			sum[l] = hundredths(sum[l] / float64(counts[l]))
		}
	}
	return sum
}

// hundredths rounds to two decimals, by the exact value of x: x*100 would round
// once too often.
func hundredths(x float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 2, 64), 64) // what was just printed
	return r
}
