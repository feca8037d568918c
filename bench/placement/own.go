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
