package placement

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

// bestFit is best fit as published: the mean of the parts of 128 cores and of 8
// devices that stay free, in whole percent. (Source: docs/PLACEMENT.md.)
type bestFit struct{}

// Rate implements scheduler.Policy.
func (bestFit) Rate(n *rota.Node, held *rota.Held, r *rota.Resources, devices []int) (score int64, device int) {
	c := &n.Capacity
	gpu := -int64(r.GPU.Count) * r.GPU.MilliEach()
	for i := range c.GPUs {
		gpu += held.FreeMilli(i)
	}
	cpu := c.CPUMilli - held.CPUMilli - r.CPUMilli
	s := 0.5*float64(cpu)/128000 + 0.5*float64(gpu)/8000
	device = -1
	for _, d := range devices {
		if device < 0 || held.FreeMilli(d) < held.FreeMilli(device) {
			device = d
		}
	}
	return int64(math.Floor(100 * (1 - s))), device
}

// fgd is fragmentation gradient descent as published: a task goes where the idle GPU
// that typical tasks could not use grows least. (Source: Weng et al., USENIX ATC
// 2023.)
type fgd struct {
	shapes []fgdShape
	// known are fragments by the state of a node, forgotten all at once.
	known map[fgdState]float64
}

type fgdShape struct {
	cpu    int64
	count  int
	milli  int64
	models string // joined by |
	weight float64
}

type fgdState struct {
	cpu   int64
	model string
	gpus  [8]int16
}

const fgdKnown = 1 << 18

// newFGD takes the typical shapes from the tasks of the trace.
func newFGD(t *Trace) scheduler.Policy {
	counts := map[fgdShape]int{}
	for i := range t.Tasks {
		j := &t.Tasks[i]
		r := &j.Spec.Resources
		counts[fgdShape{cpu: r.CPUMilli, count: r.GPU.Count, milli: r.GPU.MilliEach(), models: strings.Join(j.Models, "|")}]++
	}
	f := &fgd{known: map[fgdState]float64{}}
	for s := range counts {
		f.shapes = append(f.shapes, s)
	}
	slices.SortFunc(f.shapes, func(a, b fgdShape) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(b.cpu, a.cpu), cmp.Compare(b.milli, a.milli), cmp.Compare(b.count, a.count), strings.Compare(b.models, a.models))
	})
	covered := 0
	for i, s := range f.shapes {
		covered += counts[s]
		if float64(covered) >= 0.95*float64(len(t.Tasks)) {
			f.shapes = f.shapes[:i+1]
			break
		}
	}
	for i := range f.shapes {
		s := &f.shapes[i]
		s.weight = float64(counts[*s]) / float64(covered)
	}
	return f
}

// Rate implements scheduler.Policy.
func (f *fgd) Rate(n *rota.Node, held *rota.Held, r *rota.Resources, devices []int) (score int64, device int) {
	if len(n.Capacity.GPUs) > 8 {
		return bestFit{}.Rate(n, held, r, devices)
	}
	s := fgdState{cpu: n.Capacity.CPUMilli - held.CPUMilli}
	for i := range n.Capacity.GPUs {
		s.gpus[i] = int16(held.FreeMilli(i))
		s.model = n.Capacity.GPUs[0].Model
	}
	before := f.fragment(s)
	s.cpu -= r.CPUMilli
	milli := int16(r.GPU.MilliEach())
	if r.GPU.ShareMilli == 0 {
		for _, d := range devices {
			s.gpus[d] -= milli
		}
		device = -1
		if len(devices) > 0 {
			device = devices[0]
		}
		return fgdScore(before - f.fragment(s)), device
	}
	device = -1
	for _, d := range devices {
		s.gpus[d] -= milli
		if x := fgdScore(before - f.fragment(s)); device < 0 || x > score {
			score, device = x, d
		}
		s.gpus[d] += milli
	}
	return score, device
}

func fgdScore(gain float64) int64 { return int64(100 * (1 / (1 + math.Exp(-gain/1000)))) }

func (f *fgd) fragment(s fgdState) float64 {
	if v, ok := f.known[s]; ok {
		return v
	}
	v := f.compute(&s)
	if len(f.known) >= fgdKnown {
		clear(f.known)
	}
	f.known[s] = v
	return v
}

// compute is F. The sums are kept apart by why a shape cannot run and added in this
// order: with any other the last digits, and so some ties, differ from the published
// curves.
func (f *fgd) compute(s *fgdState) float64 {
	var lacksBoth, lacksGPU, lacksCPU, plainFits, plainNot, barred float64
	idle := 0.0
	for _, g := range s.gpus {
		idle += float64(g)
	}
	for i := range f.shapes {
		m := &f.shapes[i]
		cpu := s.cpu >= m.cpu
		if m.count == 0 {
			if cpu {
				plainFits += m.weight * idle
			} else {
				plainNot += m.weight * idle
			}
			continue
		}
		if m.models != "" && !slices.Contains(strings.Split(m.models, "|"), s.model) {
			barred += m.weight * idle
			continue
		}
		fit, small := 0, 0.0
		for _, g := range s.gpus {
			if int64(g) >= m.milli {
				fit++
			} else {
				small += float64(g)
			}
		}
		switch {
		case fit < m.count && !cpu:
			lacksBoth += m.weight * idle
		case fit < m.count:
			lacksGPU += m.weight * idle
		case !cpu:
			lacksCPU += m.weight * idle
		default:
			lacksGPU += m.weight * small
		}
	}
	return lacksBoth + lacksGPU + lacksCPU + plainFits + plainNot + barred
}
