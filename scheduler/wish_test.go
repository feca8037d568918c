package scheduler_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

// drawWishes gives a spec now and then what it prefers, and what it insists on.
func drawWishes(t *rapid.T, spec *rota.TaskSpec) {
	choose := func(name string) bool { return rapid.IntRange(0, 5).Draw(t, name) == 0 }
	weight := func() int { return rapid.SampledFrom([]int{-100, -30, 30, 50, 100}).Draw(t, "weight") }
	wish := func(attribute string, op rota.Operator, values ...string) {
		spec.Affinities = append(spec.Affinities, rota.Affinity{Weight: weight(), Constraint: rota.Constraint{Attribute: attribute, Operator: op, Values: values}})
	}
	if choose("affinity") {
		wish("label.rack", rota.OpRegexp, "^r[12]$")
	}
	if choose("versions") {
		wish("node.kernel", rota.OpVersion, ">= 6.2, < 6.5")
	}
	if choose("siblings") {
		wish(rota.AttributeRunTask, rota.OpEqual, "t1")
	}
	if choose("run") {
		wish(rota.AttributeRunTasks, rota.OpAtLeast, "2")
	}
	if choose("spread") {
		spec.Spreads = append(spec.Spreads, rota.Spread{Attribute: "label.rack", Weight: 50})
	}
	if choose("nodes") {
		spec.Spreads = append(spec.Spreads, rota.Spread{Attribute: "node.name", Weight: 20})
	}
	spec.DistinctHosts = choose("distinct")
	if choose("insist") {
		spec.Constraints = append(spec.Constraints, rota.Constraint{Attribute: "node.kernel", Operator: rota.OpVersion, Values: []string{"!= 6.3"}})
	}
}

// naiveWish is what a task wishes of a node, counted anew from all holds, and whether
// it must not go there.
func naiveWish(nodes []*rota.Node, holds []*rota.Hold, t *rota.Task, n *rota.Node) (points int, shunned bool) {
	rack := func(n *rota.Node) string { v, _ := n.Label("rack"); return v }
	kernel := func(n *rota.Node) (minor int) {
		_, _ = fmt.Sscanf(n.Kernel, "6.%d.", &minor)
		return minor
	}
	here, t1, siblings := 0, 0, 0
	byRack, byName, all := map[string]int{}, map[string]int{}, 0
	for _, h := range holds {
		if h.Task.Run != t.ID.Run {
			continue
		}
		on := h.Session.Node == n.ID
		sibling := h.Task.Key.Label() == t.ID.Key.Label()
		if on {
			here++
		}
		if on && h.Task.Key.Label() == "t1" {
			t1++
		}
		if on && sibling {
			siblings++
		}
		for _, o := range nodes {
			if o.ID == h.Session.Node && sibling {
				byRack[rack(o)]++
				byName[o.Name]++
				all++
			}
		}
	}
	for _, a := range t.Spec.Affinities {
		met := false
		switch a.Constraint.Attribute {
		case "label.rack":
			met = rack(n) == "r1" || rack(n) == "r2"
		case "node.kernel":
			met = kernel(n) >= 2 && kernel(n) < 5
		case rota.AttributeRunTask:
			met = t1 > 0
		case rota.AttributeRunTasks:
			met = here >= 2
		}
		if met {
			points += a.Weight
		}
	}
	for _, sp := range t.Spec.Spreads {
		switch {
		case sp.Attribute == "node.name":
			points -= sp.Weight * byName[n.Name]
		case rack(n) == "":
			points -= sp.Weight * (all + 1)
		default:
			points -= sp.Weight * byRack[rack(n)]
		}
	}
	return points, t.Spec.DistinctHosts && siblings > 0
}

func racked(name, rack string) *rota.Node {
	n := node(name, 4000, 8*gib)
	if rack != "" {
		n.Labels = []rota.Pair{{Key: "rack", Value: rack}}
	}
	return n
}

func sibling(order int, spec *rota.TaskSpec) *rota.Task {
	t := task("R", order, spec)
	t.ID.Key = rota.TaskKey(fmt.Sprintf("t[%d]", order))
	return t
}

func siblings(n int, spec *rota.TaskSpec) []*rota.Task {
	var list []*rota.Task
	for i := range n {
		list = append(list, sibling(i, spec))
	}
	return list
}

func nodesOf(ps []rota.NewPlacement) string {
	var names []string
	for _, p := range ps {
		names = append(names, strings.TrimPrefix(string(p.Session.Node), "id-"))
	}
	return strings.Join(names, " ")
}

func TestWishesComeBeforeWhatThePolicyLikes(t *testing.T) {
	nodes := []*rota.Node{racked("a", "x"), racked("b", "y"), racked("c", "y"), racked("d", "")}
	for _, tc := range []struct {
		name string
		wish func(*rota.TaskSpec)
		want string
	}{
		{"none", func(*rota.TaskSpec) {}, "a a a a"},
		{"affinity", func(s *rota.TaskSpec) {
			s.Affinities = []rota.Affinity{{Constraint: rota.Constraint{Attribute: "label.rack", Operator: rota.OpEqual, Values: []string{"y"}}, Weight: 10}}
		}, "b b b b"},
		{"aversion", func(s *rota.TaskSpec) {
			s.Affinities = []rota.Affinity{{Constraint: rota.Constraint{Attribute: "label.rack", Operator: rota.OpRegexp, Values: []string{"."}}, Weight: -10}}
		}, "d d d d"},
		{"spread", func(s *rota.TaskSpec) { s.Spreads = []rota.Spread{{Attribute: "label.rack", Weight: 50}} }, "a b a b"},
		{"away from the run", func(s *rota.TaskSpec) {
			s.Affinities = []rota.Affinity{{Constraint: rota.Constraint{Attribute: rota.AttributeRunTasks, Operator: rota.OpGreater, Values: []string{"0"}}, Weight: -50}}
		}, "a b c d"},
		{"distinct", func(s *rota.TaskSpec) { s.DistinctHosts = true }, "a b c d"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := cpu(1000)
			tc.wish(spec)
			if got := nodesOf(load(state{nodes: nodes, tasks: siblings(4, spec)}).Plan(0, 256)); got != tc.want {
				t.Errorf("placed on %s, want %s", got, tc.want)
			}
		})
	}
}

// TestDistinctHostsWaitUntilASiblingLeaves: the room alone is not enough, and what is
// given back wakes those that wait.
func TestDistinctHostsWaitUntilASiblingLeaves(t *testing.T) {
	spec := cpu(1000)
	spec.DistinctHosts = true
	a := racked("a", "x")
	hold := &rota.Hold{Task: rota.TaskID{Run: "R", Key: "t[9]"}, Session: a.Session, Resources: spec.Resources}
	a.Held = a.Held.Add(&a.Capacity, *hold)
	st := state{nodes: []*rota.Node{a}, tasks: siblings(2, spec), holds: []*rota.Hold{hold}}
	s := load(st)
	if ps := s.Plan(0, 256); len(ps) != 0 {
		t.Fatalf("placed %v beside a sibling", ps)
	}
	e, _ := s.Explain(st.tasks[0].ID, 0)
	if e.Reason.Code != rota.ReasonNoRoom || !strings.Contains(e.Reason.Text, "has 1 sibling there, and hosts are to be distinct") {
		t.Errorf("reason %+v", e.Reason)
	}
	freed := *a
	freed.Held = rota.Held{}
	s.Observe(&rota.Change{Type: rota.ChangeHoldReleased, Hold: hold, Node: &freed})
	if ps := s.Plan(0, 256); len(ps) != 1 {
		t.Errorf("placed %v after the sibling left", ps)
	}
}

func TestExplanationGivesThePreferences(t *testing.T) {
	spec := cpu(8000) // no room anywhere
	spec.Spreads = []rota.Spread{{Attribute: "label.rack", Weight: 50}}
	spec.Affinities = []rota.Affinity{{Constraint: rota.Constraint{Attribute: "node.name", Operator: rota.OpEqual, Values: []string{"b"}}, Weight: 20}}
	a, b, c := racked("a", "x"), racked("b", "y"), racked("c", "")
	for _, n := range []*rota.Node{a, b, c} {
		n.Capacity.CPUMilli = 8000
		n.Held = rota.Held{CPUMilli: 1000, Slots: 1}
	}
	hold := &rota.Hold{Task: rota.TaskID{Run: "R", Key: "t[9]"}, Session: a.Session}
	s := load(state{nodes: []*rota.Node{a, b, c}, tasks: siblings(1, spec), holds: []*rota.Hold{hold}})
	e, _ := s.Explain(rota.TaskID{Run: "R", Key: "t[0]"}, 0)
	want := []string{
		"b: has 7 of 8 cores free, 8 are asked for; preference +20 (node.name = b +20)",
		"a: has 7 of 8 cores free, 8 are asked for; preference -50 (1 sibling already at this label.rack -50)",
		"c: has 7 of 8 cores free, 8 are asked for; preference -100 (it has no label.rack -100)",
	}
	for i, n := range e.Nodes {
		if got := n.Node + ": " + n.Text; got != want[i] {
			t.Errorf("node %d\n%s\nwant\n%s", i, got, want[i])
		}
	}
}

func TestDryRunFollowsWishes(t *testing.T) {
	spec := cpu(1000)
	spec.DistinctHosts = true
	job := &rota.Job{Specs: []*rota.TaskSpec{spec}}
	for i := range 3 {
		job.Tasks = append(job.Tasks, rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t[%d]", i))})
	}
	d := load(state{nodes: []*rota.Node{racked("a", ""), racked("b", "")}}).Trial().DryRun(job, 0)
	if d.Ready[0].Node != "a" || d.Ready[1].Node != "b" || d.Ready[2].Node != "" || d.Ready[2].Reason.Code != rota.ReasonNoRoom {
		t.Errorf("ready %+v", d.Ready)
	}
}

// BenchmarkWishes is BenchmarkDecisions for tasks that wish.
func BenchmarkWishes(b *testing.B) {
	for _, nodes := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			var st state
			for i := range nodes {
				n := racked(fmt.Sprintf("n%05d", i), fmt.Sprint("r", i%40))
				n.Capacity.CPUMilli, n.Capacity.MemoryBytes = 1<<40, 1<<50
				st.nodes = append(st.nodes, n)
			}
			spec := cpu(100)
			spec.Spreads = []rota.Spread{{Attribute: "label.rack", Weight: 50}}
			spec.Affinities = []rota.Affinity{{Constraint: rota.Constraint{Attribute: "node.name", Operator: rota.OpRegexp, Values: []string{"7$"}}, Weight: 20}}
			st.tasks = siblings(b.N, spec)
			s := scheduler.New(scheduler.Config{})
			s.Load(st)
			b.ResetTimer()
			if n := len(s.Plan(0, b.N)); n != b.N {
				b.Fatal(n)
			}
		})
	}
}
