package scheduler

import "github.com/rota-sched/rota"

// sight is what LeastWaste sees of a room before anything is placed there: worked out
// once, and then every class that looks at the room adds only what it would change.
type sight struct {
	policy  *LeastWaste // whose it is; nil: nobody has looked yet
	parts   []section   // one but where a node has several kinds of devices
	cpu     int64       // milli
	mem     int64       // bytes
	gpu     []int64     // thousandths free of each device
	before  int64       // the waste
	total   int64       // of gpu
	whole   int64       // devices wholly free
	value   int64       // the part of the waste that is each device's own
	fits    []int64     // by group: on how many devices it fits
	smalls  []int64     // by group: what the others have free, together
	scratch []int64
}

// section are the devices of a node that are of one kind.
type section struct {
	w       *waste
	devices []int
}

// look makes the sight of a node. What it was before lends its memory.
func (p *LeastWaste) look(st *sight, n *rota.Node, held *rota.Held) {
	gpus := n.Capacity.GPUs
	st.policy = p
	st.cpu, st.mem = n.Capacity.CPUMilli-held.CPUMilli, n.Capacity.MemoryBytes-held.MemoryBytes
	st.gpu, st.total, st.whole, st.value = st.gpu[:0], 0, 0, 0
	for i := range gpus {
		st.gpu = append(st.gpu, min(max(held.FreeMilli(i), 0), rota.WholeGPU))
	}
	st.parts = p.partsOf(st.parts[:0], gpus)
	if len(st.parts) > 1 {
		st.before, st.total = st.mixed(st.cpu, st.mem)
		return
	}
	w := st.parts[0].w
	st.fits, st.smalls = st.fits[:0], st.smalls[:0]
	for range w.groups {
		st.fits, st.smalls = append(st.fits, 0), append(st.smalls, 0)
	}
	for _, free := range st.gpu {
		st.total += free
		st.value += w.value[min(free/10, 100)]
		if free >= rota.WholeGPU {
			st.whole++
		}
		fit := w.byFree[free]
		for i := range st.fits[:fit] {
			st.fits[i]++
		}
		if free > 0 {
			for i := fit; i < int32(len(st.smalls)); i++ {
				st.smalls[i] += free
			}
		}
	}
	st.before = 0
	if st.total > 0 {
		st.before = st.value + (w.barred-w.scarcity)*st.total + w.fluid(st.cpu, st.mem, st.total) +
			w.indivisible(st.cpu, st.mem, st.total, st.whole) + st.fragWholes(w.row(st.cpu), st.total, 0)
	}
}

// partsOf sorts the devices by their kinds.
func (p *LeastWaste) partsOf(parts []section, gpus []rota.GPU) []section {
	one := true
	for i := 1; i < len(gpus) && one; i++ {
		one = kindOf(&gpus[i]) == kindOf(&gpus[0])
	}
	if one {
		return append(parts, section{w: p.wasteOf(&gpus[0])})
	}
	at := map[deviceKind]int{}
	for i := range gpus {
		k := kindOf(&gpus[i])
		j, known := at[k]
		if !known {
			j = len(parts)
			at[k] = j
			parts = append(parts, section{w: p.wasteOf(&gpus[i])})
		}
		parts[j].devices = append(parts[j].devices, i)
	}
	return parts
}

func (p *LeastWaste) wasteOf(g *rota.GPU) *waste {
	if w := p.kinds[kindOf(g)]; w != nil {
		return w
	}
	return p.other
}

// mixed is the waste of a node with several kinds of devices: each kind is a room of
// its own, with the part of cpu and memory that is its part of the free devices.
func (st *sight) mixed(cpu, mem int64) (waste, total int64) {
	for _, g := range st.gpu {
		total += g
	}
	for i := range st.parts {
		own := room{gpu: st.scratch[:0]}
		free := int64(0)
		for _, d := range st.parts[i].devices {
			own.gpu = append(own.gpu, st.gpu[d])
			free += st.gpu[d]
		}
		own.cpu = int64(divide(uint64(max(cpu, 0)), uint64(free), uint64(total)))
		own.mem = int64(divide(uint64(max(mem, 0)), uint64(free), uint64(total)))
		of, _ := st.parts[i].w.of(&own)
		waste += of
		st.scratch = own.gpu
	}
	return waste, total
}

// frag is that of waste where one device, on which the first hi groups fit, loses lost,
// has left then, and only the first lo fit.
func (st *sight) frag(row []int64, total int64, lo, hi int32, lost, left int64) int64 {
	groups := st.parts[0].w.groups
	sum := int64(0)
	fits, smalls := st.fits[:len(groups)], st.smalls[:len(groups)]
	row = row[:len(groups)]
	for i := range groups {
		fit, small := fits[i], smalls[i]
		switch {
		case int32(i) >= hi:
			small -= lost
		case int32(i) >= lo:
			fit--
			small += left
		}
		g := &groups[i]
		if fit < g.count {
			sum += g.weight * total
		} else {
			sum += row[i]*total + (g.weight-row[i])*small
		}
	}
	return sum
}

// fragWholes is that of waste where so many devices go that are wholly free.
func (st *sight) fragWholes(row []int64, total, n int64) int64 {
	groups := st.parts[0].w.groups
	sum := int64(0)
	fits, smalls := st.fits[:len(groups)], st.smalls[:len(groups)]
	row = row[:len(groups)]
	for i := range groups {
		g := &groups[i]
		if fits[i]-n < g.count {
			sum += g.weight * total
		} else {
			sum += row[i]*total + (g.weight-row[i])*smalls[i]
		}
	}
	return sum
}
