package scheduler

import (
	"github.com/rota-sched/rota"
)

// Weights say how much each part of LeastWaste counts, in units of 1/65536. (Source
// of the parts and of the values: DESIGN.md of this package, "Least waste".)
type Weights struct {
	Value int64 // of the final waste of each device by itself
	Fluid int64 // of the GPU stranded where cpu or memory runs out first
	Frag  int64 // of the GPU that some demands cannot use: protects those with several devices
	// Gang is the part of Fluid in which tasks with several devices count as
	// indivisible, 0..65536: protects them where tasks come and go.
	Gang     int64
	Scarcity int64 // of taking devices of models that other demands insist on
	Crowd    int64 // of the GPU left free on the node, an eighth of it
	// Guess is how much a guess about work that has not come yet counts for ever,
	// as a part of what is known to come: protects what is rare where tasks come and
	// go. Not looked at by NewLeastWaste.
	Guess int64
	// Grain is the step of a score, in thousandths of a device; at least 1. Nodes
	// whose waste differs by less are equal, and the lower name wins.
	Grain int64
}

// DefaultWeights are the all-round settings.
func DefaultWeights() Weights {
	return Weights{Value: 2 * one, Fluid: one / 2, Frag: one / 2, Gang: one, Scarcity: one / 4, Guess: one / 8, Grain: 40}
}

// LeastWaste places tasks where the GPU that will in the end go to waste grows
// least: on nodes with GPUs it rates the state before and after by what tasks
// typically ask for, elsewhere it is BestFit. Tasks without GPU go to nodes without
// GPUs if they can. It never changes once it is made.
type LeastWaste struct {
	weights Weights
	kinds   map[deviceKind]*waste
	other   *waste // of kinds that are not in the list of machines
}

// deviceKind is what devices have in common that the same demands may use.
type deviceKind struct {
	model  string
	memory int64 // bytes
}

func kindOf(g *rota.GPU) deviceKind { return deviceKind{g.Model, g.MemoryBytes} }

// NewLeastWaste makes the policy for a cluster with these machines in which tasks
// ask for these shapes. The order of the lists does not matter.
func NewLeastWaste(w Weights, shapes []rota.Shape, machines []Machines) *LeastWaste {
	w.Grain = max(w.Grain, 1)
	b := newWasteBuilder(w, shapes, machines)
	p := &LeastWaste{weights: w, kinds: map[deviceKind]*waste{}, other: b.build(rota.GPU{})}
	for i := range machines {
		if k := kindOf(&machines[i].Device); p.kinds[k] == nil {
			p.kinds[k] = b.build(machines[i].Device)
		}
	}
	return p
}

// elsewhere is what a node without GPUs is better than every node with some.
const elsewhere = 1 << 30

// Rate implements Policy.
func (p *LeastWaste) Rate(n *rota.Node, held *rota.Held, r *rota.Resources, devices []int) (score int64, device int) {
	gpus := n.Capacity.GPUs
	if len(gpus) == 0 {
		score, device = BestFit{}.Rate(n, held, r, devices)
		return elsewhere + score, device
	}
	var st sight
	p.look(&st, n, held)
	return p.rate(&st, r, devices)
}

// rate is Rate for a node with GPUs that was looked at.
func (p *LeastWaste) rate(st *sight, r *rota.Resources, devices []int) (score int64, device int) {
	if len(st.parts) > 1 {
		return p.rateMixed(st, r, devices)
	}
	w, cpu, mem := st.parts[0].w, st.cpu-r.CPUMilli, st.mem-r.MemoryBytes
	row := w.row(cpu)
	rest := func(total, value, fluid, frag int64) int64 {
		if total == 0 {
			return p.score(st.before, 0, 0)
		}
		return p.score(st.before, value+(w.barred-w.scarcity)*total+fluid+frag, total)
	}
	if r.GPU.ShareMilli == 0 {
		n := int64(len(devices))
		total := st.total - n*rota.WholeGPU
		fluid := w.fluid(cpu, mem, total) + w.indivisible(cpu, mem, total, st.whole-n)
		return rest(total, st.value-n*w.value[100], fluid, st.fragWholes(row, total, n)), lowest(devices)
	}
	total := st.total - r.GPU.ShareMilli
	fluid := w.fluid(cpu, mem, total)
	device = outside
	for i, d := range devices {
		free := st.gpu[d]
		if seen(st.gpu, devices[:i], free) {
			continue
		}
		left, whole := free-r.GPU.ShareMilli, st.whole
		if free >= rota.WholeGPU {
			whole--
		}
		value := st.value - w.value[min(free/10, 100)] + w.value[left/10]
		frag := st.frag(row, total, w.byFree[left], w.byFree[free], r.GPU.ShareMilli, left)
		x := rest(total, value, fluid+w.indivisible(cpu, mem, total, whole), frag)
		if device == outside || x > score || x == score && free < st.gpu[device] {
			score, device = x, d
		}
	}
	return score, device
}

// rateMixed is rate where a node has several kinds of devices.
func (p *LeastWaste) rateMixed(st *sight, r *rota.Resources, devices []int) (score int64, device int) {
	cpu, mem := st.cpu-r.CPUMilli, st.mem-r.MemoryBytes
	if r.GPU.ShareMilli == 0 {
		for _, d := range devices {
			st.gpu[d] -= rota.WholeGPU
		}
		after, left := st.mixed(cpu, mem)
		for _, d := range devices {
			st.gpu[d] += rota.WholeGPU
		}
		return p.score(st.before, after, left), lowest(devices)
	}
	device = outside
	for _, d := range devices {
		free := st.gpu[d]
		st.gpu[d] -= r.GPU.ShareMilli
		after, left := st.mixed(cpu, mem)
		st.gpu[d] = free
		x := p.score(st.before, after, left)
		if device == outside || x > score || x == score && free < st.gpu[device] {
			score, device = x, d
		}
	}
	return score, device
}

// lowest is the device that stands for several whole ones.
func lowest(devices []int) int {
	if len(devices) == 0 {
		return outside
	}
	return devices[0]
}

// seen reports whether one of the devices has as much free.
func seen(gpu []int64, devices []int, free int64) bool {
	for _, d := range devices {
		if gpu[d] == free {
			return true
		}
	}
	return false
}

// score turns the waste before and after, with left thousandths free then, into
// whole grains, rounded down.
func (p *LeastWaste) score(before, after, left int64) int64 {
	gain := before - after - p.weights.Crowd*left/8
	step := p.weights.Grain * one
	q := gain / step
	if gain%step < 0 {
		q--
	}
	return min(max(q, -elsewhere/2), elsewhere/2)
}

// room is what is free on a node.
type room struct {
	cpu int64   // milli
	mem int64   // bytes
	gpu []int64 // thousandths of each device
}
