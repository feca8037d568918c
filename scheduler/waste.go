package scheduler

// waste rates what is free on a node whose devices are of one kind, in thousandths
// of a device times `one`: more is worse.
type waste struct {
	value    [101]int64 // by hundredths free, weighted
	shapes   []fluidShape
	barred   int64 // weight of shapes that may not use the kind, fluid and frag together
	groups   []fragGroup
	scarcity int64
}

// fluidShape is one typical shape in the fluid part.
type fluidShape struct {
	weight int64
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

// of rates the room.
func (w *waste) of(r *room) int64 {
	total, sum := int64(0), int64(0)
	for _, g := range r.gpu {
		total += g
		if g > 0 {
			sum += w.value[min(g/10, 100)]
		}
	}
	if total == 0 {
		return sum
	}
	return sum + (w.barred-w.scarcity)*total + w.fluid(r, total) + w.frag(r, total)
}

// fluid is the GPU left stranded if the node were filled with one shape alone, the
// mean over the typical ones.
func (w *waste) fluid(r *room, total int64) int64 {
	cpu, mem := min(max(r.cpu, 0), unbounded), min(max(r.mem>>20, 0), unbounded)
	sum := int64(0)
	for i := range w.shapes {
		s := &w.shapes[i]
		if usable := min(cpu*s.perCPU, mem*s.perMem) >> fluidBits; usable < total {
			sum += s.weight * (total - usable)
		}
	}
	return sum
}

// frag is the GPU that a demand drawn from all of them could not use.
func (w *waste) frag(r *room, total int64) int64 {
	sum := int64(0)
	for i := range w.groups {
		g := &w.groups[i]
		fit, small := 0, int64(0)
		for _, free := range r.gpu {
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
			if c.cpu <= r.cpu {
				break
			}
			short = c.weight
		}
		sum += short*total + (g.weight-short)*small
	}
	return sum
}
