package jobspecs

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/rota-sched/rota"
)

// Which nodes a task may run on, and which it would rather: constraint, affinity, spread.

// defaultWeight is that of an affinity or a spread.
const defaultWeight = 50

// choices reads the blocks in the order of the file.
func (b *specBuilder) choices() {
	for i := range b.task.constraints {
		block := &b.task.constraints[i]
		switch block.kind {
		case "constraint":
			if c, ok := b.constraint(block); ok {
				b.spec.Constraints = append(b.spec.Constraints, c)
			}
		case "affinity":
			b.affinity(block)
		case "spread":
			b.spread(block)
		}
	}
	b.atMost("affinity", len(b.spec.Affinities), rota.MaxAffinities)
	b.atMost("spread", len(b.spec.Spreads), rota.MaxSpreads)
}

func (b *specBuilder) atMost(kind string, n, most int) {
	if n <= most {
		return
	}
	var last hcl.Range
	for i := range b.task.constraints {
		if b.task.constraints[i].kind == kind {
			last = b.task.constraints[i].at
		}
	}
	b.bad(last, fmt.Sprintf("Too many %s blocks", kind), fmt.Sprintf("The task has %d, the limit is %d.", n, most))
}

func (b *specBuilder) affinity(block *constraintBlock) {
	c, ok := b.constraint(block)
	weight, known := b.weight(block.weight, -rota.MaxWeight)
	if ok && known {
		b.spec.Affinities = append(b.spec.Affinities, rota.Affinity{Constraint: c, Weight: weight})
	}
}

// weight reads a weight from low to the largest, 0 excepted; false if it is not known.
func (b *specBuilder) weight(a *attr, low int64) (int, bool) {
	n, g := b.integer(a, low, rota.MaxWeight)
	switch {
	case g == gotNothing:
		return defaultWeight, true
	case g != gotValue:
		return 0, false
	case n == 0:
		b.bad(a.expr.Range(), fmt.Sprintf("%q is zero", a.name), "A wish of no weight changes nothing. Leave the block out, or give it a weight up to 100.")
		return 0, false
	}
	return int(n), true
}

func (b *specBuilder) spread(block *constraintBlock) {
	name, g := b.text(block.attribute)
	switch {
	case g == gotNothing:
		b.bad(block.at, "A spread needs an attribute", `Write: attribute = "label.zone".`)
		return
	case g == gotValue && !rota.IsSpreadAttribute(name):
		known := append(rota.SpreadAttributes(), "label.NAME")
		b.bad(block.attribute.expr.Range(), fmt.Sprintf("Tasks cannot be spread over %q", name),
			sentences(didYouMean(name, known), "A node has to have one value of it. Choose "+oneOf(known)+"."))
		return
	}
	weight, known := b.weight(block.weight, 0)
	if g == gotValue && known {
		b.spec.Spreads = append(b.spec.Spreads, rota.Spread{Attribute: name, Weight: weight})
	}
}

// constraint reads attribute, operator and value; false if not all of it is known, or
// something is wrong.
func (b *specBuilder) constraint(block *constraintBlock) (rota.Constraint, bool) {
	c := rota.Constraint{Operator: rota.OpEqual}
	name, g := b.text(block.attribute)
	switch {
	case g == gotNothing || block.value == nil:
		b.bad(block.at, fmt.Sprintf("%s %s needs an attribute and a value", articleOf(block.kind), block.kind), `Write: attribute = "label.rack", operator = "=", value = "a".`)
		return c, false
	case g == gotValue && !b.checkAttribute(block, name):
		return c, false
	}
	c.Attribute = name
	word, og := b.word(block.operator, operatorWords(), nil)
	switch og {
	case gotValue:
		c.Operator = rota.Operator(word)
	case gotNothing:
	default:
		b.read(block.value, cty.DynamicPseudoType) // to note what is late of it, too
		return c, false
	}
	ok := b.constraintValues(block.value, &c)
	if !ok || g != gotValue {
		return c, false
	}
	if err := c.Check(); err != nil {
		b.bad(block.value.expr.Range(), fmt.Sprintf("The value of this %s cannot be used", block.kind), capital(err.Error())+".")
		return c, false
	}
	return c, true
}

func articleOf(kind string) string {
	if kind == "affinity" {
		return "An"
	}
	return "A"
}

// checkAttribute reports an attribute that the block may not name.
func (b *specBuilder) checkAttribute(block *constraintBlock, name string) bool {
	known := append(rota.ConstraintAttributes(), "label.NAME", "capability.NAME")
	allowed := rota.IsConstraintAttribute(name)
	if block.kind == "affinity" {
		known = append(known, rota.AttributeRunTask, rota.AttributeRunTasks)
		allowed = rota.IsAffinityAttribute(name)
	}
	at := block.attribute.expr.Range()
	switch {
	case allowed:
		return true
	case rota.IsAffinityAttribute(name):
		b.bad(at, fmt.Sprintf("%q is for affinities", name), "What else runs on a node changes all the time, so a constraint cannot go by it. Write an affinity block, or distinct_hosts = true.")
	default:
		b.bad(at, fmt.Sprintf("There is no attribute %q of nodes", name), sentences(didYouMean(name, known), "Choose "+oneOf(known)+"."))
	}
	return false
}

// sizeAttributes are those whose values may be written with units.
var sizeAttributes = []string{"node.memory", "node.disk", "gpu.memory"}

// constraintValues reads the value, or the list of values where the operator takes
// one. Sizes become bytes for the attributes that are sizes.
func (b *specBuilder) constraintValues(a *attr, c *rota.Constraint) bool {
	var texts []string
	var g got
	if c.Operator.TakesList() {
		texts, g = b.texts(a)
	} else {
		var text string
		text, g = b.text(a)
		texts = []string{text}
	}
	if g == gotNothing || g == gotValue && len(texts) == 0 {
		b.bad(a.expr.Range(), "There is no value to compare with", "Say which; null and an empty list allow no node.")
	}
	if g != gotValue || len(texts) == 0 {
		return false
	}
	c.Values = texts
	if !slices.Contains(sizeAttributes, c.Attribute) || c.Operator == rota.OpRegexp || c.Operator == rota.OpVersion {
		return true
	}
	c.Values = slices.Clone(texts)
	for i, text := range texts {
		n, err := rota.ParseSize(text)
		if err != nil {
			b.bad(elementRange(a.expr, i), fmt.Sprintf("%q cannot be compared", c.Attribute), capital(err.Error())+".")
			return false
		}
		c.Values[i] = fmt.Sprint(n)
	}
	return true
}
