package scheduler

import (
	"slices"

	"github.com/rota-sched/rota"
)

// pressure is how much demand insists on a set of machines: the part of all demand
// that is confined to the set, over the part of all devices in it, in units of 1/one.
type pressure struct {
	devices []deviceKind
	amount  int64
}

// scarcity is the largest pressure on a kind of devices; 0 where nobody insists on
// any.
func scarcity(pressures []pressure, g rota.GPU) int64 {
	most := int64(0)
	for i := range pressures {
		if slices.Contains(pressures[i].devices, kindOf(&g)) {
			most = max(most, pressures[i].amount)
		}
	}
	return most
}

// pressuresOf finds the sets of machines that some shape insists on.
func pressuresOf(shapes []rota.Shape, machines []Machines) []pressure {
	sets := make([][]bool, len(shapes)) // by shape, by machine: may run there
	insists := false
	for i := range shapes {
		sets[i] = make([]bool, len(machines))
		for j := range machines {
			sets[i][j] = shapes[i].Allows(machines[j].Device)
		}
		insists = insists || slices.Contains(sets[i], false)
	}
	if !insists {
		return nil
	}
	var pressures []pressure
	for i, set := range sets {
		known := slices.ContainsFunc(sets[:i], func(o []bool) bool { return slices.Equal(o, set) })
		if known || !slices.Contains(set, false) || !slices.Contains(set, true) {
			continue
		}
		p := pressure{amount: pressureOn(set, sets, shapes, machines)}
		for j := range machines {
			if set[j] {
				p.devices = append(p.devices, kindOf(&machines[j].Device))
			}
		}
		pressures = append(pressures, p)
	}
	return pressures
}

func pressureOn(set []bool, sets [][]bool, shapes []rota.Shape, machines []Machines) int64 {
	var inside, capacity, demand, confined uint64
	for j := range machines {
		devices := uint64(machines[j].Count) * uint64(machines[j].GPUs)
		capacity += devices
		if set[j] {
			inside += devices
		}
	}
	for i := range shapes {
		size := uint64(shapes[i].Count) * uint64(shapes[i].Milli())
		demand += size
		within := true
		for j := range set {
			within = within && (set[j] || !sets[i][j])
		}
		if within {
			confined += size
		}
	}
	return int64(divide(divide(confined, one, demand), capacity, inside))
}
