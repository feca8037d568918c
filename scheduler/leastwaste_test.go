package scheduler_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

func gpuNode(name string, cpu int64, models ...string) *rota.Node {
	var gpus []rota.GPU
	for i, m := range models {
		gpus = append(gpus, rota.GPU{ID: fmt.Sprint("g", i), Model: m})
	}
	return node(name, cpu, 256*gib, gpus...)
}

func shape(cpu int64, gpu rota.GPUDemand, count int64) rota.Shape {
	return rota.Shape{CPUMilli: cpu, MemoryBytes: gib, GPU: gpu, Count: count * 1000 * rota.ArrivalUnit}
}

// where says on which node and device a scheduler that knows the shapes puts a task.
func where(t *testing.T, shapes []rota.Shape, r rota.Resources, nodes ...*rota.Node) (string, string) {
	t.Helper()
	s := scheduler.New(scheduler.Config{})
	s.Learn(shapes)
	s.Load(state{nodes: nodes, tasks: []*rota.Task{task("R", 0, &rota.TaskSpec{Driver: rota.DriverNoop, Resources: r})}})
	ps := s.Plan(0, 1)
	if len(ps) != 1 {
		t.Fatalf("placed %v", ps)
	}
	device := ""
	if len(ps[0].GPUs) > 0 {
		device = ps[0].GPUs[0].ID
	}
	return string(ps[0].Session.Node), device
}

// TestTaskGoesWhereLeastIsWasted: each part of the policy decides a story of its own.
func TestTaskGoesWhereLeastIsWasted(t *testing.T) {
	whole, half := rota.GPUDemand{Count: 1}, rota.GPUDemand{Count: 1, ShareMilli: 500}
	used := func(n *rota.Node, cpu int64, milli ...int64) *rota.Node {
		n.Held = rota.Held{CPUMilli: cpu, GPUMilli: milli}
		return n
	}
	cases := []struct {
		name   string
		shapes []rota.Shape
		r      rota.Resources
		nodes  []*rota.Node
		node   string
		device string
	}{
		{
			"a task without GPU stays off the GPUs",
			[]rota.Shape{shape(4000, whole, 1)},
			rota.Resources{CPUMilli: 1000},
			[]*rota.Node{gpuNode("a", 64000, "X"), node("b", 64000, 256*gib)},
			"id-b", "",
		},
		{
			"much cpu goes where cpu is plenty",
			[]rota.Shape{shape(8000, whole, 1)},
			rota.Resources{CPUMilli: 22000, GPU: whole},
			[]*rota.Node{gpuNode("a", 24000, "X", "X"), gpuNode("b", 64000, "X", "X")},
			"id-b", "g0",
		},
		{
			"halves share a device",
			[]rota.Shape{shape(1000, half, 1), shape(1000, whole, 1)},
			rota.Resources{CPUMilli: 1000, GPU: half},
			[]*rota.Node{used(gpuNode("a", 64000, "X", "X"), 1000, 0, 500)},
			"id-a", "g1",
		},
		{
			"pairs of devices stay together for those who want pairs",
			[]rota.Shape{shape(1000, whole, 1), shape(2000, rota.GPUDemand{Count: 2}, 1)},
			rota.Resources{CPUMilli: 1000, GPU: whole},
			[]*rota.Node{gpuNode("a", 64000, "X", "X"), used(gpuNode("b", 64000, "X", "X"), 1000, 1000)},
			"id-b", "g1",
		},
		{
			"wanted models are left to those who insist",
			[]rota.Shape{shape(1000, whole, 1), shape(1000, rota.GPUDemand{Count: 1, Model: "X"}, 1)},
			rota.Resources{CPUMilli: 1000, GPU: whole},
			[]*rota.Node{gpuNode("a", 64000, "X"), gpuNode("b", 64000, "Y")},
			"id-b", "g0",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if n, d := where(t, c.shapes, c.r, c.nodes...); n != c.node || d != c.device {
				t.Errorf("went to %s %s, want %s %s", n, d, c.node, c.device)
			}
		})
	}
}

// TestWorkIsLearnedTheSameEverywhere: counts written down and read again in between
// go on like those that were not, stay bounded, and follow the work.
func TestWorkIsLearnedTheSameEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b rota.Arrivals
		renewed := 0
		kinds := rapid.IntRange(1, 2000).Draw(t, "kinds")
		for i := range rapid.IntRange(1, 5000).Draw(t, "arrivals") {
			spec := &rota.TaskSpec{Resources: rota.Resources{CPUMilli: int64(1+i*7919%kinds) * 100, MemoryBytes: int64(i), GPU: rota.GPUDemand{Count: 1, ShareMilli: int64(i % 7 * 100)}}}
			a.Add(spec)
			b.Add(spec)
			_, x := a.Turn()
			_, y := b.Turn()
			if x != y {
				t.Fatalf("arrival %d: %v and %v", i, x, y)
			}
			if x {
				renewed++
			}
			if i%997 == 0 {
				b = rota.Arrivals{
					Settled: b.Settled, Counted: slices.Clone(b.Counted), Recent: slices.Clone(b.Recent),
					Known: slices.Clone(b.Known), KnownAt: b.KnownAt,
				}
			}
		}
		if !slices.EqualFunc(a.Counted, b.Counted, sameShape) || !slices.EqualFunc(a.Known, b.Known, sameShape) {
			t.Fatal("the two differ")
		}
		if most := rota.ArrivalsPerTurn / 2; len(a.Counted) > most || len(a.Known) > most || len(a.Recent) >= rota.ArrivalsPerTurn {
			t.Fatalf("%d shapes, %d known, %d recent", len(a.Counted), len(a.Known), len(a.Recent))
		}
		if a.Total() >= 64 && (renewed == 0 || a.Known == nil) {
			t.Fatalf("nothing is known after %d arrivals", a.Total())
		}
	})
}

func sameShape(a, b rota.Shape) bool {
	return a.Compare(&b) == 0 && a.Count == b.Count && a.MemoryBytes == b.MemoryBytes
}

// TestGrowingClusterSettles: nodes that come and go change what the policy goes by
// now and then only.
func TestGrowingClusterSettles(t *testing.T) {
	var nodes []*rota.Node
	lists := map[string]bool{}
	for i := range 1000 {
		nodes = append(nodes, gpuNode(fmt.Sprint("n", i), 64000+int64(i%3), "X", "X"))
		lists[fmt.Sprint(scheduler.MachinesOf(iter.Seq[*rota.Node](slices.Values(nodes))))] = true
	}
	if len(lists) > 40 {
		t.Errorf("%d lists of machines for 1000 nodes that are alike", len(lists))
	}
}
