package rota_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
)

func factNode() *rota.Node {
	return &rota.Node{NodeInfo: rota.NodeInfo{
		Name: "n7", Pool: "gpu", OS: "linux", Arch: "amd64", Kernel: "6.1.0-18-amd64", Version: "1.10.0-rc.1", Containment: "cgroup",
		Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverExec},
		Capabilities: []string{"docker", "web"}, Models: []string{"llama-8b", "qwen-32b"},
		Labels: []rota.Pair{{Key: "tags", Value: "a, b,c"}, {Key: "zone", Value: "9"}},
		Capacity: rota.Capacity{CPUMilli: 8000, MemoryBytes: 64 << 30, DiskBytes: 100 << 30, Slots: 10, GPUs: []rota.GPU{
			{ID: "0", Model: "NVIDIA A100-SXM4-40GB"}, {ID: "1", Model: "NVIDIA H100 80GB HBM3"},
		}},
	}}
}

func TestConstraintsOnEveryFact(t *testing.T) {
	for _, tc := range []struct {
		attribute string
		operator  rota.Operator
		values    string // separated by |
		want      bool
	}{
		{"label.zone", rota.OpAtMost, "9", true},
		{"label.zone", rota.OpAtMost, "8", false},
		{"label.zone", rota.OpAtLeast, "10", false},
		{"label.none", rota.OpAtLeast, "", false},
		{"node.name", rota.OpRegexp, `^n\d+$`, true},
		{"node.name", rota.OpRegexp, `^\d`, false},
		{"node.name", rota.OpRegexp, `(`, false}, // refused before it comes so far
		{"gpu.model", rota.OpRegexp, `H[12]00`, true},
		{"label.none", rota.OpRegexp, `.*`, false},
		{"node.kernel", rota.OpVersion, ">= 5.15, < 6.2", true},
		{"node.kernel", rota.OpVersion, "6.1", true},
		{"node.version", rota.OpVersion, "< 1.10", true},
		{"node.version", rota.OpVersion, "> 1.9, != 1.10.0-rc.2", true},
		{"node.os", rota.OpVersion, ">= 0", false},
		{"node.capabilities", rota.OpSetContains, "web|docker", true},
		{"node.capabilities", rota.OpSetContains, "web|gpu", false},
		{"node.models", rota.OpSetContains, "qwen-32b", true},
		{"node.models", rota.OpEqual, "qwen-32b", true},
		{"node.models", rota.OpNotEqual, "qwen-32b", false},
		{"node.models", rota.OpRegexp, "^llama", true},
		{"label.tags", rota.OpSetContains, "a|b|c", true},
		{"label.tags", rota.OpSetContains, "a|d", false},
		{"node.containment", rota.OpIn, "cgroup|pidns", true},
		{"node.disk", rota.OpGreater, "1000", true},
		{"gpu.count", rota.OpAtLeast, "2", true},
		{"gpu.count", rota.OpAtLeast, "3", false},
		{"node.pool", rota.OpEqual, "gpu", true},
	} {
		c := rota.Constraint{Attribute: tc.attribute, Operator: tc.operator, Values: strings.Split(tc.values, "|")}
		if got := c.Allows(factNode()); got != tc.want {
			t.Errorf("%s: got %v, want %v", c, got, tc.want)
		}
		if !rota.IsConstraintAttribute(tc.attribute) {
			t.Errorf("%s is not taken for an attribute", tc.attribute)
		}
	}
}

func TestVersionsInTheirOrder(t *testing.T) {
	ascending := []string{
		"0.9", "1.0.0-1a.x", "v1.2.3-alpha", "1.2.3-alpha.1", "1.2.3-beta.2", "1.2.3-beta.11", "1.2.3-rc", "1.2.3", "1.2.3.1", "1.2.10", "1.10",
		"5.15.167.4", "6.1.0-18-amd64", "6.8.0-rc1", "6.8.0-45-generic", "6.8.1", "20250101", "99999999999999999999999",
	}
	allows := func(fact, bound string) bool {
		n := factNode()
		n.Kernel = fact
		return rota.Constraint{Attribute: "node.kernel", Operator: rota.OpVersion, Values: []string{bound}}.Allows(n)
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if allows(a, "< "+b) != (i < j) || allows(a, ">="+b) != (i >= j) || allows(a, b) != (i == j) || allows(a, "!="+b) != (i != j) {
				t.Errorf("%s and %s", a, b)
			}
		}
	}
	if !allows("1.2", "= 1.2.0.0") || !allows("v1.2.3+build5", "1.2.3") || !allows("1.02", "1.2") {
		t.Error("spellings of one version differ")
	}
}

func TestWhatCannotBeComparedIsRefused(t *testing.T) {
	for _, tc := range []struct {
		operator rota.Operator
		values   []string
		want     string
	}{
		{"~", []string{"1"}, "no operator"},
		{rota.OpEqual, nil, "nothing to compare"},
		{rota.OpEqual, []string{"a", "b"}, "one value"},
		{rota.OpIn, make([]string, 300), "300 values"},
		{rota.OpRegexp, []string{"a("}, "missing closing )"},
		{rota.OpRegexp, []string{`(a)\1`}, "invalid escape sequence"},
		{rota.OpRegexp, []string{strings.Repeat("a", 257)}, "257 bytes"},
		{rota.OpRegexp, []string{strings.Repeat("(x{90}){10}", 20)}, "steps"},
		{rota.OpVersion, []string{"latest"}, `"latest" is no version`},
		{rota.OpVersion, []string{">= 1.2,"}, `"" is no version`},
		{rota.OpVersion, []string{">= 1.2 < 2"}, "is no version"},
		{rota.OpVersion, []string{"~> 1.2"}, "is no version"},
		{rota.OpVersion, []string{strings.Repeat("1,", 20) + "1"}, "21 parts"},
	} {
		err := rota.Constraint{Attribute: "label.x", Operator: tc.operator, Values: tc.values}.Check()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.operator, err, tc.want)
		}
	}
}

// FuzzConstraints: whatever is compared, the two ways to ask agree, and what Check
// refuses no node meets.
func FuzzConstraints(f *testing.F) {
	for i, op := range rota.Operators {
		f.Add(i, string(op), "6.1", "6.1.0-18")
	}
	f.Add(7, "(a{1000}){1000}", "", "a")
	f.Add(8, "1.-", ">=", "1..2")
	f.Fuzz(func(t *testing.T, op int, value, other, fact string) {
		n := factNode()
		n.Kernel = fact
		c := rota.Constraint{Attribute: "node.kernel", Operator: rota.Operators[uint(op)%uint(len(rota.Operators))], Values: []string{value}}
		if c.Operator.TakesList() {
			c.Values = append(c.Values, other)
		}
		spec := &rota.TaskSpec{Driver: rota.DriverExec, Constraints: []rota.Constraint{c}}
		plain, ready := rota.Eligible(n, spec), rota.DemandOf(spec).Eligible(n)
		if plain != ready || c.Allows(n) != (plain == rota.MisfitNone) {
			t.Fatalf("%s: %v, %v", c, plain, ready)
		}
		if c.Check() != nil && c.Allows(n) && (c.Operator == rota.OpRegexp || c.Operator == rota.OpVersion) {
			t.Fatalf("%s is refused and met", c)
		}
	})
}

// TestVersionsCompareLikeTheirNumbers: the plainest comparison agrees.
func TestVersionsCompareLikeTheirNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		a, b := [3]int{draw.IntN(3), draw.IntN(12), draw.IntN(3)}, [3]int{draw.IntN(3), draw.IntN(12), draw.IntN(3)}
		less := a[0] < b[0] || a[0] == b[0] && (a[1] < b[1] || a[1] == b[1] && a[2] < b[2])
		n := factNode()
		n.Version = fmt.Sprintf("%d.%d.%d", a[0], a[1], a[2])
		c := rota.Constraint{Attribute: "node.version", Operator: rota.OpVersion, Values: []string{fmt.Sprintf("< %d.%d.%d", b[0], b[1], b[2])}}
		if c.Allows(n) != less {
			t.Fatalf("%s %s", n.Version, c)
		}
	})
}
