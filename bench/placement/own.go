package placement

import (
	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

// shapesOf counts what the tasks of a trace ask for: the given list of the
// published experiment.
func shapesOf(t *Trace) []rota.Shape {
	at := map[demand]int{}
	var shapes []rota.Shape
	for i := range t.Tasks {
		s := rota.ShapeOf(t.Tasks[i].Spec)
		k := demand{cpu: s.CPUMilli, count: s.GPU.Count, milli: s.GPU.MilliEach()}
		for _, m := range t.Tasks[i].Models {
			k.models += m + "|"
		}
		j, ok := at[k]
		if !ok {
			j = len(shapes)
			at[k] = j
			s.Count, s.MemoryBytes = 0, 0
			shapes = append(shapes, s)
		}
		shapes[j].Count++
		shapes[j].MemoryBytes += t.Tasks[i].Spec.Resources.MemoryBytes
	}
	for i := range shapes {
		shapes[i].MemoryBytes /= shapes[i].Count
	}
	return shapes
}

// machinesOf counts the nodes of a trace, exactly.
func machinesOf(t *Trace) []scheduler.Machines {
	var machines []scheduler.Machines
	at := map[Machine]int{}
	for _, m := range t.Nodes {
		if m.GPUs == 0 {
			continue
		}
		m.Name = ""
		i, ok := at[m]
		if !ok {
			i = len(machines)
			at[m] = i
			machines = append(machines, scheduler.Machines{CPUMilli: m.CPUMilli, MemoryBytes: m.MemoryMiB << 20, GPUs: m.GPUs, Device: rota.GPU{Model: m.Model}})
		}
		machines[i].Count++
	}
	return machines
}

// contender is a policy of the report.
type contender struct {
	name  string
	what  string
	color string
	make  func() setup // anew for each run
}

// policies are all of them, with what they may know of the trace.
func policies(t *Trace) []contender {
	return []contender{
		{"BestFit", "as published", "#8a8f98", func() setup { return setup{policy: bestFit{}} }},
		{"FGD", "as published, given the trace's typical tasks", "#c2571a", func() setup { return setup{policy: newFGD(t)} }},
		{"Given", "Rota's policy, given the trace's counts", "#0b6e4f", func() setup {
			return setup{policy: scheduler.NewLeastWaste(scheduler.DefaultWeights(), shapesOf(t), machinesOf(t))}
		}},
		{"Learning", "Rota's policy as it ships, learning from the arrivals", "#2456a6", func() setup { return setup{learns: true} }},
		{"Believing", "the same, but with no guess kept beside what was learned", "#3f9fd0", func() setup {
			w := scheduler.DefaultWeights()
			w.Guess = 0
			return setup{weights: w, learns: true}
		}},
		{"Guessing", "Rota's policy, knowing the nodes alone", "#7b4fa3", func() setup { return setup{} }},
	}
}
