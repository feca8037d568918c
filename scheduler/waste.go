package scheduler

import "github.com/rota-sched/rota"

// waste rates what is free on a node whose devices are of one kind, in thousandths
// of a device times `one`: more is worse.
type waste struct {
	value    [101]int64 // by hundredths free, weighted
	shapes   []fluidShape
	barred   int64 // weight of shapes that may not use the kind, fluid and frag together
	groups   []fragGroup
	scarcity int64
	gang     int64
}

// fluidShape is one typical shape in the fluid part.
type fluidShape struct {
	weight int64
	count  int64 // devices
	perCPU int64 // GPU that uses up 1 milli of cpu, in 1/fluidScale
	perMem int64 // GPU that uses up 1 MiB, in 1/fluidScale
}

// fluidScale makes the rates of fluidShape integers; cpu and memory of a node, in
// milli and MiB, must stay under 2^31 for products to fit.
const (
	fluidBits  = 16
	fluidScale = 1 << fluidBits
	unbounded  = int64(1) << 31
)

// fragGroup are the shapes that ask for equal devices.
type fragGroup struct {
	count  int
	milli  int64 // of each
	weight int64 // of all
	cpus   []cpuStep
}

// cpuStep says which weight asks for more cpu than some amount.
type cpuStep struct {
	cpu    int64 // milli
	weight int64 // of the shapes that ask for this or more
}

// of rates the room, and says how much GPU is free in it.
func (w *waste) of(r *room) (waste, total int64) {
	var few [16]int64
	gpu := few[:0] // those with something free
	for _, g := range r.gpu {
		if g > 0 {
			total += g
			waste += w.value[min(g/10, 100)]
			gpu = append(gpu, g)
		}
	}
	if total == 0 {
		return 0, 0
	}
	return waste + (w.barred-w.scarcity)*total + w.fluid(r, gpu, total) + w.frag(r.cpu, gpu, total), total
}

// fluid is the GPU left stranded if the node were filled with one shape alone, the
// mean over the typical ones. Cpu and memory count as if demands could be cut at will;
// that those with several devices cannot be is counted by the weight gang.
func (w *waste) fluid(r *room, gpu []int64, total int64) int64 {
	cpu, mem := min(max(r.cpu, 0), unbounded), min(max(r.mem>>20, 0), unbounded)
	sum, whole := int64(0), int64(0)
	for _, g := range gpu {
		if g >= rota.WholeGPU {
			whole++
		}
	}
	for i := range w.shapes {
		s := &w.shapes[i]
		usable := min(cpu*s.perCPU, mem*s.perMem) >> fluidBits
		usable = min(usable, total)
		if s.count > 1 {
			if gangs := whole / s.count * s.count * rota.WholeGPU; gangs < usable {
				usable -= (usable - gangs) * w.gang >> oneBits
			}
		}
		sum += s.weight * (total - usable)
	}
	return sum
}

// frag is the GPU that a demand drawn from all of them could not use.
func (w *waste) frag(cpu int64, gpu []int64, total int64) int64 {
	sum := int64(0)
	for i := range w.groups {
		g := &w.groups[i]
		fit, small := 0, int64(0)
		for _, free := range gpu {
			if free >= g.milli {
				fit++
			} else {
				small += free
			}
		}
		if fit < g.count {
			sum += g.weight * total
			continue
		}
		short := int64(0)
		for _, c := range g.cpus {
			if c.cpu <= cpu {
				break
			}
			short = c.weight
		}
		sum += short*total + (g.weight-short)*small
	}
	return sum
}
