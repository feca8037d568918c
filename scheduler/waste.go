package scheduler

import (
	"slices"

	"github.com/rota-sched/rota"
)

// waste rates what is free on a node whose devices are of one kind, in thousandths
// of a device times `one`: more is worse.
type waste struct {
	value    [101]int64   // by hundredths free, weighted
	singles  []fluidShape // with one device or a share of one
	gangs    []fluidShape // with several
	barred   int64        // weight of shapes that may not use the kind, fluid and frag together
	scarcity int64
	gang     int64

	groups []fragGroup // sorted by milli
	byFree [rota.WholeGPU + 1]int32
	// cpus are what the shapes of all groups ask for, ascending. Row i of short says
	// which weight of each group asks for more cpu than there is, where cpus[i-1] or
	// more is there and less than cpus[i].
	cpus  []int64
	short []int64
}

// fluidShape is one typical shape in the fluid part.
type fluidShape struct {
	weight int64
	perCPU int64 // GPU that uses up 1 milli of cpu, in 1/fluidScale
	perMem int64 // GPU that uses up 1 MiB, in 1/fluidScale
	count  int64 // devices
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
	count  int64
	milli  int64 // of each
	weight int64 // of all
}

// of rates the room, and says how much GPU is free in it: the plain way, to which all
// quicker ones must come (see sight).
func (w *waste) of(r *room) (waste, total int64) {
	whole := int64(0)
	for _, g := range r.gpu {
		total += g
		waste += w.value[min(g/10, 100)]
		if g >= rota.WholeGPU {
			whole++
		}
	}
	if total == 0 {
		return 0, 0
	}
	return waste + (w.barred-w.scarcity)*total + w.fluid(r.cpu, r.mem, total) + w.indivisible(r.cpu, r.mem, total, whole) + w.frag(r.cpu, r.gpu, total), total
}

// fluid is the GPU left stranded if the node were filled with one shape alone, the
// mean over the typical ones. Cpu and memory count as if demands could be cut at will.
func (w *waste) fluid(cpu, mem, total int64) int64 {
	cpu, mem = min(max(cpu, 0), unbounded), min(max(mem>>20, 0), unbounded)
	sum := int64(0)
	for i := range w.singles {
		s := &w.singles[i]
		sum += s.weight * (total - min(min(cpu*s.perCPU, mem*s.perMem)>>fluidBits, total))
	}
	return sum
}

// indivisible is the same for the shapes with several devices, of which whole ones
// are free: by the weight gang they use up devices by their number only.
func (w *waste) indivisible(cpu, mem, total, whole int64) int64 {
	cpu, mem = min(max(cpu, 0), unbounded), min(max(mem>>20, 0), unbounded)
	sum := int64(0)
	for i := range w.gangs {
		s := &w.gangs[i]
		usable := min(min(cpu*s.perCPU, mem*s.perMem)>>fluidBits, total)
		if usable > 0 {
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
	sum, row := int64(0), w.row(cpu)
	for i := range w.groups {
		g := &w.groups[i]
		fit, small := int64(0), int64(0)
		for _, free := range gpu {
			if free >= g.milli {
				fit++
			} else {
				small += free
			}
		}
		sum += g.of(fit, small, total, row[i])
	}
	return sum
}

// of is what a group cannot use where so many devices fit, the others have small free
// together, and the weight short asks for more cpu than there is.
func (g *fragGroup) of(fit, small, total, short int64) int64 {
	if fit < g.count {
		return g.weight * total
	}
	return short*total + (g.weight-short)*small
}

// row is that of short for so much cpu.
func (w *waste) row(cpu int64) []int64 {
	i, found := slices.BinarySearch(w.cpus, cpu)
	if found {
		i++
	}
	return w.short[i*len(w.groups) : (i+1)*len(w.groups)]
}
