package placement

import (
	"container/heap"
	"math"
	"math/rand"
)

// churn is a run with departures: tasks drawn from the trace arrive at random
// moments and stay for random times, all with the same mean; what does not fit at
// its arrival is refused.
type churn struct {
	load  float64 // what would run at once if nothing were refused, as a part of all GPU
	lives float64 // mean lives to measure, after half as many to warm up, at least 2
	seed  int64
}

// churned is what became of it, in percent: means over the measured time.
type churned struct {
	used float64 // of all GPU: allocated
	// Of the GPU demand that arrived: granted, in all and of tasks with several devices.
	granted, grantedMulti float64
	cycles                int // arrivals, all
}

// departures is a heap of the tasks that run by when they end.
type departures []departure

type departure struct {
	at   float64
	task running
}

func (d departures) Len() int           { return len(d) }
func (d departures) Less(i, j int) bool { return d[i].at < d[j].at }
func (d departures) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *departures) Push(x any)        { *d = append(*d, x.(departure)) }
func (d *departures) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// run lives through it. Time counts in mean lives.
func (ch churn) run(t *Trace, s setup) churned {
	r := rand.New(rand.NewSource(ch.seed))
	c := newCluster(nodesOf(t, r.Perm(len(t.Nodes))), s)
	capacity, mean := float64(t.CapacityMilli()), 0.0
	for i := range t.Tasks {
		mean += float64(t.Tasks[i].GPUMilli()) / float64(len(t.Tasks))
	}
	var (
		ends            departures
		now, used       float64
		warm            = math.Max(ch.lives/2, 2)
		end             = warm + ch.lives
		asked, granted  float64
		askedM, granteM float64
		out             churned
	)
	pass := func(to float64) {
		if span := to - math.Max(now, warm); span > 0 {
			used += span * float64(c.used)
		}
		now = to
	}
	for {
		next := now + r.ExpFloat64()*mean/(ch.load*capacity)
		j := &t.Tasks[r.Intn(len(t.Tasks))]
		life := r.ExpFloat64()
		for len(ends) > 0 && ends[0].at <= next && ends[0].at < end {
			d := heap.Pop(&ends).(departure)
			pass(d.at)
			c.leave(d.task)
		}
		if next >= end {
			pass(end)
			break
		}
		pass(next)
		out.cycles++
		task, ok := c.arrive(j.Spec)
		if ok {
			heap.Push(&ends, departure{now + life, task})
		}
		if now < warm {
			continue
		}
		gpu, multi := float64(j.GPUMilli()), j.Spec.Resources.GPU.Count > 1
		asked += gpu
		if multi {
			askedM += gpu
		}
		if ok {
			granted += gpu
		}
		if ok && multi {
			granteM += gpu
		}
	}
	out.used = 100 * used / (ch.lives * capacity)
	out.granted = 100 * granted / math.Max(asked, 1)
	out.grantedMulti = 100 * granteM / math.Max(askedM, 1)
	return out
}
