package placement

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand"
	"slices"
	"strings"
)

// made describes a workload that is drawn, not recorded: that a policy is good on a
// trace alone is no merit.
type made struct {
	name string
	// Of the tasks with GPU, the parts that ask for a share of one device, and for
	// several; the rest asks for one.
	shares, several float64
	typed           float64 // the part of the tasks with GPU that names models
	plain           float64 // the part of all tasks that asks for no GPU
	cores           float64 // mean cores that go with a device
}

// madeWorkloads are those of the report.
func madeWorkloads() []made {
	return []made{
		{name: "made-even", shares: .4, several: .02, plain: .1, cores: 11},
		{name: "made-shares", shares: .8, several: .01, plain: .1, cores: 11},
		{name: "made-multi30", shares: .3, several: .3, plain: .1, cores: 9},
		{name: "made-typed", shares: .4, several: .03, typed: .4, plain: .1, cores: 10},
		{name: "made-cpu", shares: .4, several: .02, plain: .2, cores: 16},
		{name: "made-light", shares: .5, several: .05, plain: .05, cores: 4},
	}
}

// reshapedWorkloads are drawn from the tasks of a recorded one.
func reshapedWorkloads() []made {
	return []made{
		{name: "+multi10", shares: .4, several: .1, plain: .13},
		{name: "+multi30", shares: .3, several: .3, plain: .13},
		{name: "+typed33", shares: .43, several: .01, plain: .13, typed: .33},
	}
}

// madeMachines is a cluster of mixed age: most devices in nodes of eight, some in
// small ones, cpu short in some and plenty in others.
func madeMachines(nodes int) []Machine {
	kinds := []struct {
		part float64
		m    Machine
	}{
		{.40, Machine{CPUMilli: 96000, MemoryMiB: 512 << 10, GPUs: 8, Model: "A"}},
		{.28, Machine{CPUMilli: 96000, MemoryMiB: 384 << 10, GPUs: 2, Model: "B"}},
		{.12, Machine{CPUMilli: 24000, MemoryMiB: 128 << 10, GPUs: 2, Model: "C"}},
		{.06, Machine{CPUMilli: 128000, MemoryMiB: 1024 << 10, GPUs: 8, Model: "D"}},
		{.08, Machine{CPUMilli: 64000, MemoryMiB: 256 << 10, GPUs: 4, Model: "C"}},
		{.06, Machine{CPUMilli: 16000, MemoryMiB: 64 << 10, GPUs: 1, Model: "B"}},
	}
	var machines []Machine
	for _, k := range kinds {
		for range int(math.Round(k.part * float64(nodes))) {
			k.m.Name = fmt.Sprintf("node-%05d", len(machines))
			machines = append(machines, k.m)
		}
	}
	return machines
}

// trace draws a workload for a cluster of about this many nodes, from shapes that
// are drawn first: tasks of a cluster are of some hundred kinds.
func (w made) trace(nodes int, seed int64) *Trace {
	r := rand.New(rand.NewSource(seed))
	t := &Trace{Workload: w.name, Nodes: madeMachines(nodes)}
	kinds := make([]demand, 150)
	weights := make([]float64, len(kinds))
	for i := range kinds {
		kinds[i] = w.kind(r)
		weights[i] = math.Pow(r.Float64(), 3) // few kinds are most of the tasks
	}
	// The parts are those of the tasks, whatever the weights of the kinds.
	w.balance(kinds, weights)
	sums := make([]float64, len(weights))
	total := 0.0
	for i, x := range weights {
		total += x
		sums[i] = total
	}
	specs := specs{}
	for asked := int64(0); asked < t.CapacityMilli(); {
		i, _ := slices.BinarySearch(sums, r.Float64()*total)
		j := specs.job(fmt.Sprintf("task-%06d", len(t.Tasks)), kinds[min(i, len(kinds)-1)])
		asked += j.GPUMilli()
		t.Tasks = append(t.Tasks, j)
	}
	t.sort()
	return t
}

// class says which part of the workload a kind belongs to.
func (d *demand) class() int {
	switch {
	case d.count == 0:
		return 0
	case d.count > 1:
		return 1
	case d.milli < 1000:
		return 2
	}
	return 3
}

// kind draws one kind of task.
func (w made) kind(r *rand.Rand) demand {
	var d demand
	switch x := r.Float64(); {
	case x < .15:
		d.cpu = int64(1+r.Intn(32)) * 1000
	case x < .3:
		d.count, d.milli = []int{2, 2, 4, 4, 8}[r.Intn(5)], 1000
	case x < .65:
		d.count, d.milli = 1, int64(1+r.Intn(18))*50
	default:
		d.count, d.milli = 1, 1000
	}
	if d.count > 0 {
		gpu := float64(d.count) * float64(d.milli) / 1000
		d.cpu = int64(math.Max(w.cores*gpu*(.5+r.Float64()), .5) * 1000)
		d.cpu = min(d.cpu/100*100, int64(12000*max(d.count, 4)), 96000)
		if r.Float64() < w.typed {
			d.models = [...]string{"A", "D", "A|D", "B|C"}[r.Intn(4)]
		}
		if d.count == 8 && d.models == "B|C" {
			d.models = ""
		}
	}
	d.mib = 1024 + d.cpu*int64(2+r.Intn(3))/1000*1024
	return d
}

// balance scales the weights so that each part of the workload has its share.
func (w made) balance(kinds []demand, weights []float64) {
	gpu := 1 - w.plain
	want := [4]float64{w.plain, gpu * w.several, gpu * w.shares, gpu * (1 - w.several - w.shares)}
	var have [4]float64
	for i := range kinds {
		have[kinds[i].class()] += weights[i]
	}
	for i := range kinds {
		c := kinds[i].class()
		weights[i] *= want[c] / have[c]
	}
}

// reshaped draws tasks from those of a trace so that the parts are others: the
// kinds of tasks stay real. w.plain below 0 keeps the trace's part, typed names
// models that the cluster has.
func (w made) reshaped(t *Trace, seed int64) *Trace {
	r := rand.New(rand.NewSource(seed))
	out := &Trace{Workload: t.Workload + w.name, Nodes: t.Nodes}
	var kinds []demand
	at := map[demand]int{}
	for i := range t.Tasks {
		d := demandOf(&t.Tasks[i])
		if _, ok := at[d]; !ok {
			at[d] = len(kinds)
			kinds = append(kinds, d)
		}
	}
	weights := make([]float64, len(kinds))
	for i := range t.Tasks {
		weights[at[demandOf(&t.Tasks[i])]]++
	}
	w.balance(kinds, weights)
	models := modelsBySize(t)
	sums, total := make([]float64, len(weights)), 0.0
	for i, x := range weights {
		total += x
		sums[i] = total
	}
	specs := specs{}
	for asked := int64(0); asked < t.CapacityMilli(); {
		i, _ := slices.BinarySearch(sums, r.Float64()*total)
		d := kinds[min(i, len(kinds)-1)]
		if d.count > 0 && d.count < 8 && r.Float64() < w.typed {
			d.models = models[r.Intn(len(models))]
		}
		j := specs.job(fmt.Sprintf("task-%06d", len(out.Tasks)), d)
		asked += j.GPUMilli()
		out.Tasks = append(out.Tasks, j)
	}
	return out
}

func demandOf(j *Job) demand {
	r := &j.Spec.Resources
	return demand{cpu: r.CPUMilli, mib: r.MemoryBytes >> 20, count: r.GPU.Count, milli: r.GPU.MilliEach(), models: strings.Join(j.Models, "|")}
}

// modelsBySize are the three models with the most devices, and the first and third
// together, as tasks name them.
func modelsBySize(t *Trace) []string {
	counts := map[string]int{}
	for i := range t.Nodes {
		counts[t.Nodes[i].Model] += t.Nodes[i].GPUs
	}
	models := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	models = models[:min(len(models), 3)]
	return append(models, models[0]+"|"+models[len(models)-1])
}
