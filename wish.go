package rota

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FormatPlacement is the format version from which on a task may say which nodes it
// prefers, and constraints know more than the first five operators and nine attributes.
// A spec with any of it is refused before.
const FormatPlacement = 5

// Affinity makes nodes that meet a constraint better by its weight, or worse.
type Affinity struct {
	Constraint Constraint `json:"constraint"`
	Weight     int        `json:"weight"` // -MaxWeight..MaxWeight, not 0
}

// Spread makes a node worse by Weight for each task of the same run and label that
// holds room where the attribute has the same value.
type Spread struct {
	Attribute string `json:"attribute"`
	Weight    int    `json:"weight"` // 1..MaxWeight
}

// Bounds of what a task may wish.
const (
	MaxWeight     = 100
	MaxAffinities = 16
	MaxSpreads    = 4
)

// Attributes of the run's own tasks on a node, for affinities alone: a constraint is
// judged by the node's record, which does not know them.
const (
	AttributeRunTask  = "run.task"  // the labels of the tasks that hold room there
	AttributeRunTasks = "run.tasks" // how many they are
)

// IsAffinityAttribute reports whether an affinity may name the attribute.
func IsAffinityAttribute(s string) bool {
	return s == AttributeRunTask || s == AttributeRunTasks || IsConstraintAttribute(s)
}

// IsSpreadAttribute reports whether tasks can be spread over the attribute: a node has
// one value of it.
func IsSpreadAttribute(s string) bool {
	if strings.HasPrefix(s, "label.") {
		return len(s) > len("label.")
	}
	return slices.Contains(spreadAttributes, s)
}

var spreadAttributes = []string{"node.name", "node.pool", "node.os", "node.arch", "node.kernel", "node.version"}

// SpreadAttributes lists the attributes to spread over; label.KEY comes on top.
func SpreadAttributes() []string { return slices.Clone(spreadAttributes) }

// Wishes reports whether the task prefers some nodes to others, or shuns those that
// its siblings are on.
func (s *TaskSpec) Wishes() bool {
	return s.DistinctHosts || len(s.Affinities) > 0 || len(s.Spreads) > 0
}

// Modern reports whether the spec needs FormatPlacement.
func (s *TaskSpec) Modern() bool {
	return s.Wishes() || slices.ContainsFunc(s.Constraints, Constraint.modern)
}

// CheckPlacement reports what is wrong with the parts of a spec that need
// FormatPlacement.
func (s *TaskSpec) CheckPlacement() error {
	if len(s.Affinities) > MaxAffinities || len(s.Spreads) > MaxSpreads {
		return fmt.Errorf("%d affinities and %d spreads, the limits are %d and %d", len(s.Affinities), len(s.Spreads), MaxAffinities, MaxSpreads)
	}
	for _, c := range s.Constraints {
		if !c.modern() {
			continue
		}
		if err := c.Check(); err != nil {
			return fmt.Errorf("constraint %s: %w", clipped(c.String()), err)
		}
	}
	for _, a := range s.Affinities {
		switch err := a.Constraint.Check(); {
		case err != nil:
			return fmt.Errorf("affinity %s: %w", clipped(a.Constraint.String()), err)
		case !IsAffinityAttribute(a.Constraint.Attribute):
			return fmt.Errorf("affinity %s: unknown attribute", clipped(a.Constraint.String()))
		case a.Weight == 0 || a.Weight < -MaxWeight || a.Weight > MaxWeight:
			return fmt.Errorf("affinity %s: the weight %d is not within -%d..%d without 0", clipped(a.Constraint.String()), a.Weight, MaxWeight, MaxWeight)
		}
	}
	for _, sp := range s.Spreads {
		if !IsSpreadAttribute(sp.Attribute) || sp.Weight < 1 || sp.Weight > MaxWeight {
			return errors.New("a spread over an unknown attribute, or with a weight that is not within 1..100")
		}
	}
	return nil
}

// ForNode is the spec as a node needs it that is to run the task: where it might have
// run as well is left out, so that a node of an older build can read it.
func (s *TaskSpec) ForNode() *TaskSpec {
	if !s.Modern() {
		return s
	}
	c := *s
	c.Constraints, c.Affinities, c.Spreads, c.DistinctHosts = nil, nil, nil, false
	return &c
}
