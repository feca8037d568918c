package rota

import "strconv"

// Demand is a spec made ready to be compared with many nodes: its patterns and ranges
// are read once.
type Demand struct {
	spec        *TaskSpec
	constraints []matcher
	affinities  []matcher
}

// DemandOf makes a spec ready.
func DemandOf(spec *TaskSpec) *Demand {
	d := &Demand{spec: spec}
	for _, c := range spec.Constraints {
		d.constraints = append(d.constraints, c.matcher())
	}
	for _, a := range spec.Affinities {
		d.affinities = append(d.affinities, a.Constraint.matcher())
	}
	return d
}

// Spec is what the demand was made of.
func (d *Demand) Spec() *TaskSpec { return d.spec }

// Eligible is the function of that name.
func (d *Demand) Eligible(n *Node) Misfit { return eligible(n, d.spec, d.constraints) }

// Fits is the function of that name.
func (d *Demand) Fits(n *Node, held Held, grants []GPUGrant) Misfit {
	return fits(n, held, d.spec, d.constraints, grants)
}

// OfRun reports whether the i-th affinity is about the run's own tasks.
func (d *Demand) OfRun(i int) bool {
	a := d.spec.Affinities[i].Constraint.Attribute
	return a == AttributeRunTask || a == AttributeRunTasks
}

// Meets reports whether the node meets the i-th affinity. labels are the labels of the
// tasks of the same run that hold room there, and tasks is their number.
func (d *Demand) Meets(i int, n *Node, labels []string, tasks int) bool {
	m := &d.affinities[i]
	switch m.Attribute {
	case AttributeRunTask:
		return m.allowsFacts(labels)
	case AttributeRunTasks:
		return m.allowsFacts([]string{strconv.Itoa(tasks)})
	}
	return m.allows(n)
}

// SpreadValue is the node's value of the attribute of the i-th spread; false if the
// node has none.
func (d *Demand) SpreadValue(i int, n *Node) (string, bool) {
	facts := n.attribute(d.spec.Spreads[i].Attribute)
	if len(facts) == 0 || facts[0] == "" {
		return "", false
	}
	return facts[0], true
}
