package rota

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Operator compares a node's attribute with a value.
type Operator string

// The operators of a constraint.
const (
	OpEqual    Operator = "="
	OpNotEqual Operator = "!="
	OpLess     Operator = "<"
	OpGreater  Operator = ">"
	OpIn       Operator = "in"
)

// Operators lists every operator.
var Operators = []Operator{OpEqual, OpNotEqual, OpLess, OpGreater, OpIn}

// Constraint is a demand on a fact of the node: label.rack = a.
type Constraint struct {
	Attribute string   `json:"attribute"`
	Operator  Operator `json:"operator"`
	Values    []string `json:"values"` // one value; several with OpIn
}

// String writes the constraint as in a job file.
func (c Constraint) String() string {
	return c.Attribute + " " + string(c.Operator) + " " + strings.Join(c.Values, ",")
}

// Attributes that a constraint may name besides label.* and capability.*.
var nodeAttributes = []string{
	"node.name", "node.pool", "node.os", "node.arch", "node.kernel", "node.cpu_milli", "node.memory", "gpu.model", "gpu.memory",
}

// ConstraintAttributes lists the attributes a constraint may name; label.KEY and
// capability.NAME come on top.
func ConstraintAttributes() []string { return slices.Clone(nodeAttributes) }

// IsConstraintAttribute reports whether a constraint may name the attribute.
func IsConstraintAttribute(s string) bool {
	if key, ok := strings.CutPrefix(s, "label."); ok {
		return key != ""
	}
	if name, ok := strings.CutPrefix(s, "capability."); ok {
		return name != ""
	}
	return slices.Contains(nodeAttributes, s)
}

// Allows reports whether the node meets the constraint. An attribute the node
// lacks meets only !=. With several devices, gpu.model and gpu.memory are met if
// one device meets them. < and > compare integers where both sides are integers,
// else by bytes.
func (c Constraint) Allows(n *Node) bool {
	facts := n.attribute(c.Attribute)
	if len(facts) == 0 {
		return c.Operator == OpNotEqual
	}
	if c.Operator == OpNotEqual {
		return !slices.Contains(facts, c.first())
	}
	return slices.ContainsFunc(facts, c.holds)
}

func (c Constraint) first() string {
	if len(c.Values) == 0 {
		return ""
	}
	return c.Values[0]
}

func (c Constraint) holds(fact string) bool {
	switch c.Operator {
	case OpEqual:
		return fact == c.first()
	case OpLess:
		return compareFacts(fact, c.first()) < 0
	case OpGreater:
		return compareFacts(fact, c.first()) > 0
	case OpIn:
		return slices.Contains(c.Values, fact)
	case OpNotEqual:
		return fact != c.first()
	}
	return false
}

func compareFacts(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// attribute gives the node's facts under a name: none if it has no such fact,
// several where a node has several devices.
func (n *Node) attribute(name string) []string {
	if key, ok := strings.CutPrefix(name, "label."); ok {
		if v, ok := n.Label(key); ok {
			return []string{v}
		}
		return nil
	}
	if capability, ok := strings.CutPrefix(name, "capability."); ok {
		return []string{strconv.FormatBool(slices.Contains(n.Capabilities, capability))}
	}
	switch name {
	case "node.name":
		return []string{n.Name}
	case "node.pool":
		return []string{n.Pool}
	case "node.os":
		return []string{n.OS}
	case "node.arch":
		return []string{n.Arch}
	case "node.kernel":
		return []string{n.Kernel}
	case "node.cpu_milli":
		return []string{strconv.FormatInt(n.Capacity.CPUMilli, 10)}
	case "node.memory":
		return []string{strconv.FormatInt(n.Capacity.MemoryBytes, 10)}
	case "gpu.model":
		return eachGPU(n, func(g GPU) string { return g.Model })
	case "gpu.memory":
		return eachGPU(n, func(g GPU) string { return strconv.FormatInt(g.MemoryBytes, 10) })
	}
	return nil
}

func eachGPU(n *Node, fact func(GPU) string) []string {
	facts := make([]string, len(n.Capacity.GPUs))
	for i, g := range n.Capacity.GPUs {
		facts[i] = fact(g)
	}
	return facts
}
