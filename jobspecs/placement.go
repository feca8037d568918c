package jobspecs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/rota-sched/rota"
)

// What a task asks of a node: resources, capabilities, constraints.

func (b *specBuilder) resources() {
	res := &b.spec.Resources
	if b.task.driver != rota.DriverNoop {
		res.CPUMilli, res.MemoryBytes = defaultCPUMilli, defaultMemoryBytes
	}
	if n, g := parsed(b.reader, b.either("resources.cpu"), parseCores); g == gotValue {
		res.CPUMilli = n
	}
	if n, g := b.size(b.either("resources.memory")); g == gotValue {
		res.MemoryBytes = n
	}
	if n, g := b.size(b.either("resources.disk")); g == gotValue {
		res.DiskBytes = n
	}
	if holds(b.task.hasBlock["resources"], "gpu") || b.job.defaultBlocks["resources.gpu"] {
		b.gpu(&res.GPU)
	}
}

func holds(b *hclsyntax.Block, inner string) bool {
	return b != nil && slices.ContainsFunc(b.Body.Blocks, func(x *hclsyntax.Block) bool { return x.Type == inner })
}

func (b *specBuilder) gpu(d *rota.GPUDemand) {
	d.Count = 1
	if n, g := b.integer(b.either("resources.gpu.count"), 0, 1024); g == gotValue {
		d.Count = int(n)
	}
	if text, g := b.text(b.either("resources.gpu.model")); g == gotValue {
		d.Model = text
	}
	if n, g := b.size(b.either("resources.gpu.memory")); g == gotValue {
		d.MemoryBytes = n
	}
	share := b.either("resources.gpu.share")
	if n, g := b.milli(share); g == gotValue {
		d.ShareMilli = n
		switch {
		case n <= 0 || n >= rota.WholeGPU:
			b.bad(share.expr.Range(), `"resources.gpu.share" is out of range`, "A share is a part of one device: more than 0 and less than 1, in thousandths. Leave it out for whole devices.")
		case d.Count > 1:
			b.bad(share.expr.Range(), "A share and a count of more than one", fmt.Sprintf("share is a part of one device, count asks for %d. Take share out for whole devices, or set count = 1.", d.Count))
		}
	}
	if d.Count == 0 {
		*d = rota.GPUDemand{}
	}
}

// placement reads where the task may run.
func (b *specBuilder) placement() {
	a := b.attr("routing.required_capabilities")
	if words, g := b.texts(a); g == gotValue {
		slices.Sort(words)
		words = slices.Compact(words)
		b.spec.Capabilities = words
		if slices.Contains(words, "") {
			b.bad(a.expr.Range(), "A capability is empty", "Name what the node must offer, as in rota start --capability NAME.")
		}
	}
	for i := range b.task.constraints {
		b.constraint(&b.task.constraints[i])
	}
	slices.SortFunc(b.spec.Constraints, func(x, y rota.Constraint) int {
		return cmp.Or(strings.Compare(x.Attribute, y.Attribute), strings.Compare(string(x.Operator), string(y.Operator)), slices.Compare(x.Values, y.Values))
	})
}

func (b *specBuilder) constraint(block *constraintBlock) {
	c := rota.Constraint{Operator: rota.OpEqual}
	name, g := b.text(block.attribute)
	switch {
	case g == gotNothing || block.value == nil:
		b.bad(block.at, "A constraint needs an attribute and a value", `Write: attribute = "label.rack", operator = "=", value = "a".`)
		return
	case g == gotValue && !rota.IsConstraintAttribute(name):
		known := append(rota.ConstraintAttributes(), "label.NAME", "capability.NAME")
		b.bad(block.attribute.expr.Range(), fmt.Sprintf("There is no attribute %q of nodes", name), sentences(didYouMean(name, known), "Choose "+oneOf(known)+"."))
		return
	}
	c.Attribute = name
	if word, g := b.word(block.operator, operatorWords(), laterOperators); g == gotValue {
		c.Operator = rota.Operator(word)
	}
	if !b.constraintValues(block.value, &c) {
		return
	}
	b.spec.Constraints = append(b.spec.Constraints, c)
}

// constraintValues reads the value, or the list of values for "in". Sizes become
// bytes for the attributes that are sizes.
func (b *specBuilder) constraintValues(a *attr, c *rota.Constraint) bool {
	var texts []string
	var g got
	if c.Operator == rota.OpIn {
		texts, g = b.texts(a)
	} else {
		var text string
		text, g = b.text(a)
		texts = []string{text}
	}
	if g == gotNothing || g == gotValue && len(texts) == 0 {
		b.bad(a.expr.Range(), "The constraint has no value", "Say what to compare with; null and an empty list allow no node.")
	}
	if g != gotValue || len(texts) == 0 {
		return false
	}
	if c.Attribute == "node.memory" || c.Attribute == "gpu.memory" {
		for i, text := range texts {
			n, err := rota.ParseSize(text)
			if err != nil {
				b.bad(elementRange(a.expr, i), fmt.Sprintf("%q cannot be compared", c.Attribute), capital(err.Error())+".")
				return false
			}
			texts[i] = fmt.Sprint(n)
		}
	}
	c.Values = texts
	return true
}
