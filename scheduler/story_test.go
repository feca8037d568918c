package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

func cpu(milli int64) *rota.TaskSpec {
	return &rota.TaskSpec{Driver: rota.DriverExec, Priority: 50, Resources: rota.Resources{CPUMilli: milli, MemoryBytes: gib}}
}

func load(st state) *scheduler.Scheduler {
	s := scheduler.New(scheduler.Config{})
	s.Load(st)
	return s
}

func placedOn(ps []rota.NewPlacement) string {
	var b strings.Builder
	for _, p := range ps {
		fmt.Fprintf(&b, "%s>%s ", p.Task.Key, strings.TrimPrefix(string(p.Session.Node), "id-"))
	}
	return strings.TrimSpace(b.String())
}

// Each level of priority is worth a minute of waiting, so nothing starves.
// (Source: DESIGN.md, section 6, "Order".)
func TestWaitingIsWorthPriority(t *testing.T) {
	st := state{nodes: []*rota.Node{node("a", 1000, gib)}}
	for i, tc := range []struct {
		priority int
		queued   time.Duration // ago
	}{{50, time.Minute + time.Second}, {51, 0}, {52, 0}} {
		spec := cpu(1000)
		spec.Priority = tc.priority
		task := task("R", i, spec)
		task.QueuedAt = task.QueuedAt.Add(-tc.queued)
		st.tasks = append(st.tasks, task)
	}
	s := load(st)
	var order []string
	for range st.tasks {
		p := s.Plan(0, 1)[0]
		order = append(order, string(p.Task.Key))
		done := *st.tasks[p.Task.Key[1]-'0']
		done.Status = rota.StatusDelivered
		s.Observe(&rota.Change{Task: &done})
	}
	if got := strings.Join(order, " "); got != "t2 t0 t1" {
		t.Errorf("order %s, want t2 t0 t1", got)
	}
}

func TestWhatIsNearlyFullIsFilledFirst(t *testing.T) {
	half := node("b", 4000, 8*gib)
	half.Held = rota.Held{CPUMilli: 2000, MemoryBytes: 4 * gib, Slots: 1}
	gpu := node("a", 4000, 8*gib, rota.GPU{ID: "g0", Model: "H100", MemoryBytes: 80 * gib})
	st := state{nodes: []*rota.Node{gpu, half, node("c", 4000, 8*gib)}}
	for i := range 5 {
		st.tasks = append(st.tasks, task("R", i, cpu(1000)))
	}
	// First the rest of b, then c; the node with a GPU is left to those who want it.
	if got := placedOn(load(st).Plan(0, 256)); got != "t0>b t1>b t2>c t3>c t4>c" {
		t.Errorf("placed %s", got)
	}
}

func TestSharesMeetOnOneDeviceAndWholesTakeTheLowest(t *testing.T) {
	var gpus []rota.GPU
	for i := range 4 {
		gpus = append(gpus, rota.GPU{ID: fmt.Sprintf("g%d", i), Model: "H100", MemoryBytes: 80 * gib})
	}
	st := state{nodes: []*rota.Node{node("a", 64000, 64*gib, gpus...)}}
	for i, d := range []rota.GPUDemand{{Count: 1, ShareMilli: 400}, {Count: 1}, {Count: 1, ShareMilli: 600}, {Count: 1, ShareMilli: 200}, {Count: 2}, {Count: 1}} {
		spec := cpu(100)
		spec.Resources.GPU = d
		st.tasks = append(st.tasks, task("R", i, spec))
	}
	want := []string{"g0:400", "g1:1000", "g0:600", "g2:200", "", ""}
	got := make([]string, len(want))
	for _, p := range load(st).Plan(0, 256) {
		for _, g := range p.GPUs {
			got[p.Task.Key[1]-'0'] += fmt.Sprintf("%s:%d", g.ID, g.Milli)
		}
	}
	// Two whole devices are not left; the last one takes what is.
	want[5] = "g3:1000"
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("devices %v, want %v", got, want)
	}
}

// A class whose head fits nowhere costs nothing until something could fit it.
func TestBlockedBacklogCostsItsKindsNotItsTasks(t *testing.T) {
	full := node("a", 1000, 64*gib)
	full.Held.CPUMilli = 1000
	st := state{nodes: []*rota.Node{full}}
	for i := range 100_000 {
		st.tasks = append(st.tasks, task("R", i, cpu(1000)))
	}
	s := load(st)
	s.Plan(0, 256)
	touched := *full
	allocs := testing.AllocsPerRun(100, func() {
		s.Observe(&rota.Change{Node: &touched})
		if len(s.Plan(0, 256)) != 0 {
			t.Fatal("placed on a full node")
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations per change", allocs)
	}
}

// Two sides that disagree must not ask each other for ever.
func TestDisputedPlacementWaitsForAChange(t *testing.T) {
	st := state{nodes: []*rota.Node{node("a", 4000, 8*gib)}, tasks: []*rota.Task{task("R", 0, cpu(1000))}}
	s := load(st)
	p := s.Plan(0, 256)
	s.Refused(p[0], rota.KindNoFit)
	if again := s.Plan(0, 256); len(again) != 0 {
		t.Fatalf("proposed %v again although nothing changed", again)
	}
	if e, _ := s.Explain(st.tasks[0].ID, 0); !strings.Contains(e.Reason.Text, "refused") {
		t.Errorf("reason %+v", e.Reason)
	}
	changed := *st.nodes[0]
	s.Observe(&rota.Change{Node: &changed})
	if again := s.Plan(0, 256); len(again) != 1 {
		t.Fatal("not proposed after the node changed")
	}
}

func TestWaitingTaskSaysWhatIsMissing(t *testing.T) {
	busy := node("a", 4000, 8*gib)
	busy.Held = rota.Held{CPUMilli: 3500, MemoryBytes: gib, Slots: 3}
	down := node("d", 64000, 64*gib)
	down.Session = rota.Session{}
	nodes := []*rota.Node{busy, node("b", 1000, 8*gib), down}
	docker, rack := cpu(1000), cpu(1000)
	docker.Capabilities = []string{"docker"}
	rack.Constraints = []rota.Constraint{{Attribute: "label.rack", Operator: rota.OpEqual, Values: []string{"a"}}}
	gpu := cpu(100)
	gpu.Resources.GPU = rota.GPUDemand{Count: 1}
	for _, tc := range []struct {
		name string
		spec *rota.TaskSpec
		code string
		text string
	}{
		{"busy", cpu(2000), rota.ReasonNoRoom, "1 of 3 nodes could run it, none has the room now: a has 0.5 of 4 cores free, 2 are asked for"},
		{"away", cpu(32000), rota.ReasonNoNode, "no node that is up could ever run it; d could, but it is down"},
		{"huge", cpu(128000), rota.ReasonNoNode, "none of 3 nodes could ever run it"},
		{"docker", docker, rota.ReasonNoNode, "lacks the capability docker"},
		{"rack", rack, rota.ReasonNoNode, "does not meet label.rack = a"},
		{"gpu", gpu, rota.ReasonNoNode, "has 0 GPUs, 1 are asked for"},
		{"free", cpu(100), rota.ReasonOrder, "2 nodes have the room now; nobody comes before it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := load(state{nodes: nodes, tasks: []*rota.Task{task("R", 0, tc.spec)}})
			e, ok := s.Explain(rota.TaskID{Run: "R", Key: "t0"}, rota.Instant(1e18))
			if !ok || e.Reason.Code != tc.code || !strings.Contains(e.Reason.Text, tc.text) {
				t.Errorf("reason %s: %s\nwant %s: ...%s...", e.Reason.Code, e.Reason.Text, tc.code, tc.text)
			}
		})
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	st := state{nodes: []*rota.Node{node("a", 4000, 8*gib)}, tasks: []*rota.Task{task("R", 0, cpu(8000))}}
	s := load(st)
	s.Plan(0, 256)
	late := cpu(1000)
	late.Late = []string{"env"}
	job := &rota.Job{Specs: []*rota.TaskSpec{cpu(3000), cpu(8000), late, cpu(64000)}, Tasks: []rota.NewTask{
		{Key: "x", Spec: 0},
		{Key: "y", Spec: 0},
		{Key: "z", Spec: 1},
		{Key: "w", Spec: 2, DependsOn: []rota.Edge{{On: "x"}}},
		{Key: "v", Spec: 3, DependsOn: []rota.Edge{{On: "x"}}},
	}}
	for range 2 { // the first changes nothing for the second
		d := s.Trial().DryRun(job, rota.Instant(1e18))
		if len(d.Ready) != 3 || d.Ready[0].Node != "a" || d.Ready[1].Reason.Code != rota.ReasonNoRoom || d.Ready[2].Reason.Code != rota.ReasonOrder {
			t.Errorf("ready %+v", d.Ready)
		}
		if d.Waiting != 2 || d.Late != 1 {
			t.Errorf("%d waiting, %d late", d.Waiting, d.Late)
		}
		if len(d.Impossible) != 2 || d.Impossible[0].Key != "z" || d.Impossible[1].Key != "v" {
			t.Errorf("impossible %+v", d.Impossible)
		}
	}
	if e, _ := s.ExplainNode("id-a"); e.Queued != 1 || e.Never != 1 {
		t.Errorf("node %+v", e)
	}
}
