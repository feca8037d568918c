package rota

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a constraint compares with.
const (
	// MaxPatternBytes is the length of a pattern.
	MaxPatternBytes = 256
	// maxPatternSteps bounds what a pattern is compiled to: x{1000} is short, too.
	maxPatternSteps = 1000
	// MaxConstraintValues is the length of a list of values.
	MaxConstraintValues = 256
)

// matcher is a constraint made ready: what is worked out once, not once per node.
type matcher struct {
	Constraint
	pattern *regexp.Regexp // of OpRegexp; nil: no node meets it
	ranges  []versionBound // of OpVersion; none: no node meets it
}

func (c Constraint) matcher() matcher {
	m := matcher{Constraint: c}
	switch c.Operator { //nolint:exhaustive // the others need nothing
	case OpRegexp:
		if checkPattern(c.first()) == nil {
			m.pattern, _ = regexp.Compile(c.first())
		}
	case OpVersion:
		m.ranges, _ = parseRanges(c.first())
	}
	return m
}

// Allows reports whether the node meets the constraint. An attribute the node
// lacks meets only !=. Of several facts (devices, capabilities, models) one has to
// meet it; with != and set_contains all of them count. What is ordered compares as
// integers where both sides are integers, else by bytes. set_contains takes a
// label's value for a list with commas.
func (c Constraint) Allows(n *Node) bool {
	m := c.matcher()
	return m.allows(n)
}

func (m *matcher) allows(n *Node) bool { return m.allowsFacts(n.attribute(m.Attribute)) }

func (m *matcher) allowsFacts(facts []string) bool {
	switch {
	case len(facts) == 0:
		return m.Operator == OpNotEqual
	case m.Operator == OpNotEqual:
		return !slices.Contains(facts, m.first())
	case m.Operator == OpSetContains:
		return m.contained(facts)
	}
	return slices.ContainsFunc(facts, m.holds)
}

func (m *matcher) contained(facts []string) bool {
	if strings.HasPrefix(m.Attribute, "label.") {
		var parts []string
		for part := range strings.SplitSeq(facts[0], ",") {
			parts = append(parts, strings.TrimSpace(part))
		}
		facts = parts
	}
	return !slices.ContainsFunc(m.Values, func(v string) bool { return !slices.Contains(facts, v) })
}

func (c Constraint) first() string {
	if len(c.Values) == 0 {
		return ""
	}
	return c.Values[0]
}

func (m *matcher) holds(fact string) bool {
	switch m.Operator {
	case OpEqual:
		return fact == m.first()
	case OpLess:
		return compareFacts(fact, m.first()) < 0
	case OpGreater:
		return compareFacts(fact, m.first()) > 0
	case OpAtMost:
		return compareFacts(fact, m.first()) <= 0
	case OpAtLeast:
		return compareFacts(fact, m.first()) >= 0
	case OpIn:
		return slices.Contains(m.Values, fact)
	case OpRegexp:
		return m.pattern != nil && m.pattern.MatchString(fact)
	case OpVersion:
		return within(m.ranges, fact)
	case OpNotEqual, OpSetContains: // see allowsFacts
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

// Check reports what is wrong with the operator and the values: an unknown operator,
// a pattern or a range that cannot be read, a list that is empty or far too long.
func (c Constraint) Check() error {
	switch {
	case !slices.Contains(Operators, c.Operator):
		return fmt.Errorf("%q is no operator of constraints", clipped(string(c.Operator)))
	case len(c.Values) == 0:
		return errors.New("there is nothing to compare with")
	case len(c.Values) > MaxConstraintValues:
		return fmt.Errorf("%d values are listed, the limit is %d", len(c.Values), MaxConstraintValues)
	case len(c.Values) > 1 && !c.Operator.TakesList():
		return fmt.Errorf("%s compares with one value, not with %d", c.Operator, len(c.Values))
	case c.Operator == OpRegexp:
		return checkPattern(c.first())
	case c.Operator == OpVersion:
		_, err := parseRanges(c.first())
		return err
	}
	return nil
}

// checkPattern reports why a pattern is refused.
func checkPattern(pattern string) error {
	if len(pattern) > MaxPatternBytes {
		return fmt.Errorf("the pattern has %d bytes, the limit is %d", len(pattern), MaxPatternBytes)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		var wrong *syntax.Error
		if errors.As(err, &wrong) {
			return fmt.Errorf("the pattern cannot be read: %s: %q", wrong.Code, clipped(wrong.Expr))
		}
		return fmt.Errorf("the pattern cannot be read: %w", err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return fmt.Errorf("the pattern cannot be read: %w", err)
	}
	if n := len(program.Inst); n > maxPatternSteps {
		return fmt.Errorf("the pattern has %d steps once its repetitions are written out, the limit is %d", n, maxPatternSteps)
	}
	return nil
}

// clipped shortens foreign text for a message.
func clipped(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "..."
}
