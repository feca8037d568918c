package rota

import (
	"slices"
	"strconv"
	"strings"
)

// Operator compares a node's attribute with a value.
type Operator string

// The operators of a constraint.
const (
	OpEqual       Operator = "="
	OpNotEqual    Operator = "!="
	OpLess        Operator = "<"
	OpGreater     Operator = ">"
	OpAtMost      Operator = "<="
	OpAtLeast     Operator = ">="
	OpIn          Operator = "in"
	OpRegexp      Operator = "regexp"       // a pattern in RE2's syntax is found in the fact
	OpVersion     Operator = "version"      // the fact is a version within ranges: >= 1.2, < 2
	OpSetContains Operator = "set_contains" // the facts hold all of the values
)

// Operators lists every operator.
var Operators = []Operator{
	OpEqual, OpNotEqual, OpLess, OpAtMost, OpGreater, OpAtLeast, OpIn, OpRegexp, OpVersion, OpSetContains,
}

// Constraint is a demand on a fact of the node: label.rack = a.
type Constraint struct {
	Attribute string   `json:"attribute"`
	Operator  Operator `json:"operator"`
	Values    []string `json:"values"` // one value; several where the operator TakesList
}

// String writes the constraint as in a job file.
func (c Constraint) String() string {
	return c.Attribute + " " + string(c.Operator) + " " + strings.Join(c.Values, ",")
}

// TakesList reports whether the operator compares with a list of values.
func (o Operator) TakesList() bool { return o == OpIn || o == OpSetContains }

// Attributes that a constraint may name besides label.* and capability.*; the modern
// ones, like the operators that are not among the first five, from FormatPlacement on.
var (
	nodeAttributes = []string{
		"node.name", "node.pool", "node.os", "node.arch", "node.kernel", "node.cpu_milli", "node.memory", "gpu.model", "gpu.memory",
		"node.version", "node.containment", "node.disk", "node.capabilities", "node.models", "gpu.count",
	}
	modernAttributes = []string{
		"node.version", "node.containment", "node.disk", "node.capabilities", "node.models", "gpu.count",
	}
	modernOperators = []Operator{OpAtMost, OpAtLeast, OpRegexp, OpVersion, OpSetContains}
)

// modern reports whether a build that does not know FormatPlacement would read the
// constraint in another way.
func (c Constraint) modern() bool {
	return slices.Contains(modernOperators, c.Operator) || slices.Contains(modernAttributes, c.Attribute)
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
	case "node.version":
		return known(n.Version)
	case "node.containment":
		return known(n.Containment)
	case "node.disk":
		return []string{strconv.FormatInt(n.Capacity.DiskBytes, 10)}
	case "node.capabilities":
		return n.Capabilities
	case "node.models":
		return n.Models
	case "gpu.count":
		return []string{strconv.Itoa(len(n.Capacity.GPUs))}
	case "gpu.model":
		return eachGPU(n, func(g GPU) string { return g.Model })
	case "gpu.memory":
		return eachGPU(n, func(g GPU) string { return strconv.FormatInt(g.MemoryBytes, 10) })
	}
	return nil
}

// known is a fact that a node may lack.
func known(fact string) []string {
	if fact == "" {
		return nil
	}
	return []string{fact}
}

func eachGPU(n *Node, fact func(GPU) string) []string {
	facts := make([]string, len(n.Capacity.GPUs))
	for i, g := range n.Capacity.GPUs {
		facts[i] = fact(g)
	}
	return facts
}
