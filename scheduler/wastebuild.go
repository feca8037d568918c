package scheduler

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/rota-sched/rota"
)

// wasteBuilder turns shapes into tables.
type wasteBuilder struct {
	weights      Weights
	typical, all []rota.Shape // with GPU
	fluidWeights []int64      // of typical
	fragWeights  []int64      // of all
	pressures    []pressure
	built        []builtWaste
}

// builtWaste remembers a table by what the kind of devices makes of it.
type builtWaste struct {
	allowed  []bool // of all, then of typical
	scarcity int64
	table    *waste
}

func newWasteBuilder(w Weights, shapes []rota.Shape, machines []Machines) *wasteBuilder {
	withoutGPU := func(s rota.Shape) bool { return s.GPU.Count == 0 || s.Count <= 0 }
	b := &wasteBuilder{weights: w}
	b.typical = slices.DeleteFunc(typical(shapes), withoutGPU)
	b.all = slices.DeleteFunc(slices.Clone(shapes), withoutGPU)
	slices.SortFunc(b.all, func(x, y rota.Shape) int { return x.Compare(&y) })
	b.fluidWeights = normalised(b.typical, func(s *rota.Shape) uint64 { return uint64(s.Milli()) })
	b.fragWeights = normalised(b.all, func(s *rota.Shape) uint64 { return root(uint64(s.Milli()) << 20) })
	b.pressures = pressuresOf(b.all, machines)
	return b
}

// normalised are the weights count x size of the shapes, in units of 1/one of
// their sum.
func normalised(shapes []rota.Shape, size func(*rota.Shape) uint64) []int64 {
	weights := make([]int64, len(shapes))
	total := uint64(0)
	for i := range shapes {
		total += uint64(shapes[i].Count) * size(&shapes[i])
	}
	for i := range shapes {
		weights[i] = int64(divide(uint64(shapes[i].Count)*size(&shapes[i]), one, total))
	}
	return weights
}

// build makes the table of one kind of devices, or finds the one that another kind
// has in common with it.
func (b *wasteBuilder) build(g rota.GPU) *waste {
	made := builtWaste{scarcity: weighted(b.weights.Scarcity, scarcity(b.pressures, g))}
	for _, list := range [...][]rota.Shape{b.all, b.typical} {
		for i := range list {
			made.allowed = append(made.allowed, list[i].Allows(g))
		}
	}
	for i := range b.built {
		if o := &b.built[i]; o.scarcity == made.scarcity && slices.Equal(o.allowed, made.allowed) {
			return o.table
		}
	}
	made.table = &waste{scarcity: made.scarcity, gang: b.weights.Gang}
	value := deviceValues(b.singles(g))
	for x := range value {
		made.table.value[x] = b.weights.Value * value[x]
	}
	b.buildFluid(g, made.table)
	b.buildFrag(g, made.table)
	b.built = append(b.built, made)
	return made.table
}

func (b *wasteBuilder) buildFluid(g rota.GPU, w *waste) {
	for i := range b.typical {
		s, weight := &b.typical[i], weighted(b.weights.Fluid, b.fluidWeights[i])
		if !s.Allows(g) {
			w.barred += weight
			continue
		}
		f := fluidShape{
			weight: weight,
			count:  int64(s.GPU.Count),
			perCPU: rate(3*s.Milli(), 2*s.CPUMilli),
			perMem: rate(s.Milli(), s.MemoryBytes>>20),
		}
		if f.count > 1 {
			w.gangs = append(w.gangs, f)
		} else {
			w.singles = append(w.singles, f)
		}
	}
}

// rate is how much GPU goes with one unit of what is asked for, in 1/fluidScale.
func rate(milli, asked int64) int64 {
	if asked <= 0 {
		return unbounded
	}
	return min(int64(divide(uint64(milli), fluidScale, uint64(asked))), unbounded)
}

// maxShort bounds the numbers of waste.short: 512 KiB for each kind of devices. Where it
// does not suffice, what shapes ask of cpu is rounded up.
const maxShort = 1 << 16

// fragShape is one shape in the frag part.
type fragShape struct {
	group int
	cpu   int64 // milli
	weight,
	milli, count int64
}

// buildFrag groups the shapes by the devices they ask for.
func (b *wasteBuilder) buildFrag(g rota.GPU, w *waste) {
	var shapes []fragShape
	for i := range b.all {
		s, weight := &b.all[i], weighted(b.weights.Frag, b.fragWeights[i])
		if !s.Allows(g) {
			w.barred += weight
			continue
		}
		shapes = append(shapes, fragShape{cpu: s.CPUMilli, weight: weight, milli: s.GPU.MilliEach(), count: int64(s.GPU.Count)})
	}
	slices.SortStableFunc(shapes, func(x, y fragShape) int { return cmp.Or(cmp.Compare(x.milli, y.milli), cmp.Compare(x.count, y.count)) })
	for i := range shapes {
		s := &shapes[i]
		if n := len(w.groups); n == 0 || w.groups[n-1].milli != s.milli || w.groups[n-1].count != s.count {
			w.groups = append(w.groups, fragGroup{count: s.count, milli: s.milli})
		}
		s.group = len(w.groups) - 1
		w.groups[s.group].weight += s.weight
	}
	for x := range w.byFree {
		n, _ := slices.BinarySearchFunc(w.groups, int64(x)+1, func(g fragGroup, milli int64) int { return cmp.Compare(g.milli, milli) })
		w.byFree[x] = int32(n)
	}
	w.buildShort(shapes)
}

// buildShort makes the rows of short.
func (w *waste) buildShort(shapes []fragShape) {
	for digits := 62; ; digits-- {
		w.cpus = w.cpus[:0]
		for i := range shapes {
			s := &shapes[i]
			if up := leading(s.cpu, digits); up < s.cpu {
				s.cpu = up + 1<<max(bits.Len64(uint64(s.cpu))-digits, 0)
			}
			w.cpus = append(w.cpus, s.cpu)
		}
		slices.Sort(w.cpus)
		w.cpus = slices.Compact(w.cpus)
		if (len(w.cpus)+1)*len(w.groups) <= maxShort || digits == 1 {
			break
		}
		digits = min(digits, 8)
	}
	w.short = make([]int64, (len(w.cpus)+1)*len(w.groups))
	for i := range shapes {
		s := &shapes[i]
		last, _ := slices.BinarySearch(w.cpus, s.cpu)
		for row := 0; row <= last; row++ {
			w.short[row*len(w.groups)+s.group] += s.weight
		}
	}
}

// singles are the parts of the typical demands that ask for one device of the
// kind, or a share of one, by hundredths: in units of 1/one.
func (b *wasteBuilder) singles(g rota.GPU) (p [101]int64) {
	total := int64(0)
	for i := range b.typical {
		total += b.typical[i].Count
	}
	for i := range b.typical {
		if s := &b.typical[i]; s.GPU.Count == 1 && s.Allows(g) {
			p[(s.GPU.MilliEach()+9)/10] += s.Count
		}
	}
	for x := range p {
		p[x] = int64(divide(uint64(p[x]), 1<<32, uint64(total)))
	}
	return p
}
