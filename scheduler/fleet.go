package scheduler

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"strings"

	"github.com/rota-sched/rota"
)

// Machines is a number of nodes with GPUs that are alike.
type Machines struct {
	CPUMilli    int64
	MemoryBytes int64
	GPUs        int
	// Device is what each GPU is; a node with several kinds counts as one node for each,
	// with its part of cpu and memory.
	Device rota.GPU // without ID
	Count  int64
}

func (m *Machines) compare(o *Machines) int {
	return cmp.Or(
		strings.Compare(m.Device.Model, o.Device.Model), cmp.Compare(m.Device.MemoryBytes, o.Device.MemoryBytes),
		cmp.Compare(m.GPUs, o.GPUs), cmp.Compare(m.CPUMilli, o.CPUMilli), cmp.Compare(m.MemoryBytes, o.MemoryBytes),
	)
}

// fleet counts the nodes with GPUs by what they have, those that are down too: a
// node that comes and goes changes nothing. Cpu and memory are rounded down to 6
// significant binary digits, so that nodes that are all a little different are alike.
type fleet struct {
	counts map[Machines]int64 // Count 0
}

// machinesOf is what a node counts as, one entry for each kind of device, sorted; none
// for a node without GPUs.
func machinesOf(c *rota.Capacity) []Machines {
	var list []Machines
	for i := range c.GPUs {
		g := c.GPUs[i]
		g.ID = ""
		at := slices.IndexFunc(list, func(m Machines) bool { return m.Device == g })
		if at < 0 {
			at = len(list)
			list = append(list, Machines{Device: g})
		}
		list[at].GPUs++
	}
	for i := range list {
		m := &list[i]
		m.CPUMilli = leading(int64(divide(uint64(max(c.CPUMilli, 0)), uint64(m.GPUs), uint64(len(c.GPUs)))), 6)
		m.MemoryBytes = leading(int64(divide(uint64(max(c.MemoryBytes, 0)), uint64(m.GPUs), uint64(len(c.GPUs)))), 6)
	}
	slices.SortFunc(list, func(a, b Machines) int { return a.compare(&b) })
	return list
}

// leading keeps the n leading binary digits.
func leading(x int64, n int) int64 {
	if x <= 0 {
		return 0
	}
	drop := max(bits.Len64(uint64(x))-n, 0)
	return x >> drop << drop
}

func (f *fleet) add(c *rota.Capacity, n int64) {
	if f.counts == nil {
		f.counts = map[Machines]int64{}
	}
	for _, m := range machinesOf(c) {
		if f.counts[m] += n; f.counts[m] == 0 {
			delete(f.counts, m)
		}
	}
}

// maxMachines bounds the list of a fleet.
const maxMachines = 64

// list is the fleet, sorted. The numbers are rounded down to 3 significant binary
// digits: a cluster that grows node by node changes the list now and then only. It
// depends on the nodes alone, not on the order in which they came.
func (f *fleet) list() []Machines {
	list := make([]Machines, 0, len(f.counts))
	for m, n := range f.counts { // order: sorted below
		m.Count = leading(n, 3)
		list = append(list, m)
	}
	size := func(m *Machines) int64 { return m.Count * int64(m.GPUs) }
	slices.SortFunc(list, func(a, b Machines) int { return cmp.Or(cmp.Compare(size(&b), size(&a)), a.compare(&b)) })
	list = list[:min(len(list), maxMachines)]
	slices.SortFunc(list, func(a, b Machines) int { return a.compare(&b) })
	return list
}

// MachinesOf counts the nodes with GPUs, as a scheduler that knows them does.
func MachinesOf(nodes iter.Seq[*rota.Node]) []Machines {
	var f fleet
	for n := range nodes {
		f.add(&n.Capacity, 1)
	}
	return f.list()
}

// priorArrivals is how many arrivals the guess about the work to come counts for.
const priorArrivals = 64

// Expect is a guess about the work to come from nodes alone, for as long as too
// little has arrived to know: whole devices, halves and quarters with their part of
// the node's cpu and memory, and 2, 4, 8 ... devices together.
func Expect(machines []Machines) []rota.Shape {
	var shapes []rota.Shape
	total := int64(0)
	for i := range machines {
		m := &machines[i]
		cpu, memory := m.CPUMilli/int64(m.GPUs), m.MemoryBytes/int64(m.GPUs)
		devices := m.Count * int64(m.GPUs)
		guess := func(cpu, memory int64, gpu rota.GPUDemand, n int64) {
			shapes = append(shapes, rota.Shape{CPUMilli: cpu, MemoryBytes: memory, GPU: gpu, Count: n})
			total += n
		}
		guess(cpu, memory, rota.GPUDemand{Count: 1}, 4*devices)
		guess(cpu/2, memory/2, rota.GPUDemand{Count: 1, ShareMilli: 500}, 2*devices)
		guess(cpu/4, memory/4, rota.GPUDemand{Count: 1, ShareMilli: 250}, 2*devices)
		for n := 2; n <= m.GPUs; n *= 2 {
			guess(cpu*int64(n), memory*int64(n), rota.GPUDemand{Count: n}, devices/int64(n))
		}
	}
	for i := range shapes {
		shapes[i].Count = max(shapes[i].Count*priorArrivals*rota.ArrivalUnit/max(total, 1), 1)
	}
	return shapes
}
