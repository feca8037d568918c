package scheduler_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/scheduler"
)

// factory is a state machine with a scheduler that follows it.
type factory struct {
	t     *rapid.T
	state *fsm.State
	sched *scheduler.Scheduler
	at    rota.Instant
	runs  int
	// flight are the placements proposed and not applied yet.
	flight []flight
}

type flight struct {
	placements []rota.NewPlacement
	upset      bool // something that may refuse them was applied since
}

func (f *factory) upset() {
	for i := range f.flight {
		f.flight[i].upset = true
	}
}

func (f *factory) apply(op rota.Op) rota.Result {
	results, changes := f.state.Apply(rota.Entry{Format: f.state.Format(), Term: 1, At: f.at, Seed: 7, Commands: []rota.Command{{Op: op}}})
	for i := range changes {
		f.sched.Observe(&changes[i])
	}
	return results[0]
}

var (
	drawGPUs = []rota.GPU{
		{ID: "g0", Model: "NVIDIA H100 80GB HBM3", MemoryBytes: 81559 << 20},
		{ID: "g1", Model: "NVIDIA A100-SXM4-40GB", MemoryBytes: 40 << 30},
		{ID: "g2", Model: "NVIDIA H100 80GB HBM3", MemoryBytes: 81559 << 20},
		{ID: "g3", Model: "NVIDIA L4", MemoryBytes: 24 << 30},
	}
	drawDemands = []rota.GPUDemand{
		{},
		{},
		{Count: 1},
		{Count: 2},
		{Count: 1, ShareMilli: 300},
		{Count: 1, ShareMilli: 500, Model: "h100"},
		{Count: 2, Model: "H100", MemoryBytes: 80 << 30},
		{Count: 1, MemoryBytes: 30 << 30},
	}
)

func (f *factory) register() {
	i := rapid.IntRange(0, 5).Draw(f.t, "node")
	info := rota.NodeInfo{
		ID: rota.NodeID(fmt.Sprintf("id%d", i)), Name: fmt.Sprintf("n%d", rapid.SampledFrom([]int{i, i, 9 - i}).Draw(f.t, "name")), Roles: []rota.Role{rota.RoleWorker},
		Drivers: []rota.Driver{rota.DriverExec}, Pool: fmt.Sprintf("p%d", i%2),
		Capacity: rota.Capacity{
			CPUMilli:    int64(rapid.IntRange(1, 8).Draw(f.t, "cores")) * 500,
			MemoryBytes: int64(rapid.IntRange(1, 16).Draw(f.t, "memory")) << 28,
			DiskBytes:   1 << 40, Slots: int64(rapid.IntRange(1, 9).Draw(f.t, "slots")),
		},
	}
	if rapid.Bool().Draw(f.t, "capable") {
		info.Capabilities = []string{"docker"}
	}
	info.Labels = []rota.Pair{{Key: "rack", Value: fmt.Sprintf("r%d", i%3)}}
	if i == 5 {
		info.Labels = nil
	}
	info.Kernel = fmt.Sprintf("6.%d.0-%d-amd64", i, i)
	info.Capacity.GPUs = drawGPUs[:rapid.IntRange(0, 4).Draw(f.t, "gpus")]
	f.apply(rota.RegisterNode{Info: info, Boot: "b"})
	f.upset()
}

func (f *factory) submit() {
	f.runs++
	op := rota.SubmitRun{Run: rota.RunID(fmt.Sprintf("01J%021d00", f.runs)), Job: "j", Hash: "h", Source: []byte("x"), Filename: "f"}
	n := rapid.IntRange(1, 12).Draw(f.t, "tasks")
	for i := range n {
		spec := &rota.TaskSpec{
			Driver: rota.DriverExec, Command: []string{"true"}, Priority: rapid.SampledFrom([]int{0, 50, 50, 51, 100}).Draw(f.t, "priority"),
			Resources: rota.Resources{
				CPUMilli:    int64(rapid.IntRange(0, 6).Draw(f.t, "cpu")) * 250,
				MemoryBytes: int64(rapid.IntRange(0, 4).Draw(f.t, "mem")) << 28,
				GPU:         rapid.SampledFrom(drawDemands).Draw(f.t, "gpu"),
			},
			Retry: rota.Retry{MaxAttempts: 3},
		}
		if rapid.IntRange(0, 9).Draw(f.t, "docker") == 0 {
			spec.Capabilities = []string{"docker"}
		}
		if rapid.IntRange(0, 9).Draw(f.t, "pooled") == 0 {
			spec.Constraints = []rota.Constraint{{Attribute: "node.pool", Operator: rota.OpEqual, Values: []string{"p1"}}}
		}
		drawWishes(f.t, spec)
		op.Specs = append(op.Specs, spec)
		op.Tasks = append(op.Tasks, rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t%d[%d]", i%2, i)), Spec: i})
	}
	op.Total = n
	if r := f.apply(op); r.Kind != rota.KindNone {
		f.t.Fatalf("submit: %v %s", r.Kind, r.Detail)
	}
}

// report ends an attempt, or lets it go unstarted.
func (f *factory) report() {
	holds := slices.Collect(f.state.Snapshot().AllHolds())
	if len(holds) == 0 {
		return
	}
	h := rapid.SampledFrom(holds).Draw(f.t, "hold")
	item := rota.ReportItem{Task: h.Task, Fence: h.Fence, Released: rapid.IntRange(0, 3).Draw(f.t, "released") > 0}
	if rapid.Bool().Draw(f.t, "ended") {
		item.Outcome = &rota.Outcome{Cause: rapid.SampledFrom([]rota.Cause{rota.CauseNone, rota.CauseExitNonzero}).Draw(f.t, "cause")}
	}
	f.apply(rota.Report{Session: h.Session, Items: []rota.ReportItem{item}})
}

func (f *factory) disturb() {
	nodes := slices.Collect(f.state.Snapshot().Nodes())
	if len(nodes) == 0 {
		return
	}
	n := rapid.SampledFrom(nodes).Draw(f.t, "node")
	on := rapid.Bool().Draw(f.t, "on")
	switch rapid.IntRange(0, 3).Draw(f.t, "what") {
	case 0:
		f.apply(rota.MarkNode{Node: n.ID, Drain: &on})
	case 1:
		f.apply(rota.MarkNode{Node: n.ID, Suspect: &on})
	case 2:
		f.apply(rota.ExpireSession{Session: n.Session, Seen: 1 << 60, Term: 1})
	case 3:
		for t := range f.state.Snapshot().Queued() {
			f.apply(rota.CancelTask{Task: t.ID})
			break
		}
	}
	f.upset()
}

func (f *factory) plan() {
	if len(f.flight) >= 2 {
		return
	}
	limit := rapid.SampledFrom([]int{1, 3, 256}).Draw(f.t, "limit")
	if len(f.flight) == 0 {
		f.checkRebuilt(limit)
		f.checkNaive(limit)
	}
	if ps := f.sched.Plan(f.at, limit); len(ps) > 0 {
		f.flight = append(f.flight, flight{placements: ps})
	}
}

// land applies the oldest operation in flight.
func (f *factory) land() {
	if len(f.flight) == 0 {
		return
	}
	ps, upset := f.flight[0].placements, f.flight[0].upset
	f.flight = f.flight[1:]
	r := f.apply(rota.Place{Placements: ps})
	for i, k := range r.Items {
		if k == rota.KindNone {
			continue
		}
		if !upset {
			f.t.Fatalf("placement %+v was refused: %v", ps[i], k)
		}
		f.sched.Refused(ps[i], k)
	}
}

// learn makes other work typical.
func (f *factory) learn() {
	shapes := map[string]rota.Shape{}
	for range rapid.IntRange(1, 5).Draw(f.t, "shapes") {
		s := rota.Shape{
			CPUMilli: int64(rapid.IntRange(0, 6).Draw(f.t, "cpu")) * 250, MemoryBytes: 1 << 28,
			GPU:   rapid.SampledFrom(drawDemands).Draw(f.t, "gpu"),
			Count: int64(rapid.IntRange(1, 60).Draw(f.t, "count")),
		}
		shapes[fmt.Sprint(s.CPUMilli, s.GPU)] = s
	}
	for _, s := range slices.SortedFunc(maps.Values(shapes), func(a, b rota.Shape) int { return a.Compare(&b) }) {
		f.arrive(s)
	}
}

// arrive has tasks of a shape come and go again, as often as the shape says.
func (f *factory) arrive(s rota.Shape) {
	f.runs++
	op := rota.SubmitRun{Run: rota.RunID(fmt.Sprintf("01J%021d00", f.runs)), Job: "j", Hash: "h", Source: []byte("x"), Filename: "f", Total: int(s.Count)}
	op.Specs = []*rota.TaskSpec{{
		Driver: rota.DriverExec, Command: []string{"true"}, Retry: rota.Retry{MaxAttempts: 1},
		Resources: rota.Resources{CPUMilli: s.CPUMilli, MemoryBytes: s.MemoryBytes, GPU: s.GPU},
	}}
	for i := range op.Total {
		op.Tasks = append(op.Tasks, rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t%d", i))})
	}
	f.apply(op)
	f.apply(rota.CancelRun{Run: op.Run})
}

// rebuilt is a scheduler built from a snapshot.
func (f *factory) rebuilt() *scheduler.Scheduler {
	s := scheduler.New(scheduler.Config{})
	s.Load(f.state.Snapshot())
	return s
}

// checkRebuilt: a scheduler built from a snapshot decides like the one that saw
// every change.
func (f *factory) checkRebuilt(limit int) {
	fresh, twin := f.rebuilt(), f.rebuilt()
	a, b := fresh.Plan(f.at, limit), twin.Plan(f.at, limit)
	if !reflect.DeepEqual(a, b) {
		f.t.Fatalf("two schedulers of one snapshot differ:\n%v\n%v", a, b)
	}
	for i, p := range f.sched.Plan(f.at, limit) {
		if i >= len(a) || !reflect.DeepEqual(a[i], p) {
			f.t.Fatalf("decision %d: the living one decides %v, the rebuilt one %v", i, p, a)
		}
		a[i].Task.Run = "" // seen
		f.sched.Refused(p, rota.KindUnknown)
	}
	if i := slices.IndexFunc(a, func(p rota.NewPlacement) bool { return p.Task.Run != "" }); i >= 0 {
		f.t.Fatalf("the rebuilt one decides %v, the living one does not", a[i])
	}
}

// checkNaive: the decisions are those of the plainest program that follows the
// rules: again and again, the first task in order that fits anywhere, on the node
// with the best score, the lower name of two equals.
func (f *factory) checkNaive(limit int) {
	sn := f.state.Snapshot()
	queue := slices.SortedFunc(sn.Queued(), func(a, b *rota.Task) int {
		key := func(t *rota.Task) int64 { return int64(t.QueuedAt) - int64(t.Spec.Priority)*60e9 }
		if d := key(a) - key(b); d != 0 {
			return int(d)
		}
		if c := strings.Compare(string(a.ID.Run), string(b.ID.Run)); c != 0 {
			return c
		}
		return a.Order - b.Order
	})
	nodes := []*rota.Node{}
	for n := range sn.Nodes() {
		c := *n
		nodes = append(nodes, &c)
	}
	policy := scheduler.Adapted(scheduler.DefaultWeights(), sn.Known(), scheduler.MachinesOf(sn.Nodes()))
	var want []rota.NewPlacement
	holds := slices.Collect(sn.AllHolds())
	for _, t := range queue {
		if len(want) == limit {
			break
		}
		if n, grants := naiveBest(policy, nodes, holds, t); n != nil {
			want = append(want, rota.NewPlacement{Task: t.ID, Session: n.Session, GPUs: grants})
			h := rota.Hold{Task: t.ID, Session: n.Session, Resources: t.Spec.Resources, GPUs: grants}
			n.Held = n.Held.Add(&n.Capacity, h)
			holds = append(holds, &h)
		}
	}
	got := f.rebuilt().Plan(f.at, limit)
	if len(got) != len(want) {
		f.t.Fatalf("planned %v, the plainest program %v", got, want)
	}
	for i := range got {
		if got[i].Task != want[i].Task || got[i].Session != want[i].Session || !slices.Equal(got[i].GPUs, want[i].GPUs) {
			f.t.Fatalf("decision %d is %v, the plainest program's %v", i, got[i], want[i])
		}
	}
}

func naiveBest(policy scheduler.Policy, nodes []*rota.Node, holds []*rota.Hold, t *rota.Task) (*rota.Node, []rota.GPUGrant) {
	var best *rota.Node
	var bestPoints int
	spec := t.Spec
	var bestScore int64
	var bestGrants []rota.GPUGrant
	for _, n := range nodes {
		d := spec.Resources.GPU
		var free []int
		for i, g := range n.Capacity.GPUs {
			if d.Count > 0 && d.Matches(g) && n.Held.FreeMilli(i) >= d.MilliEach() {
				free = append(free, i)
			}
		}
		if len(free) < d.Count {
			continue
		}
		if d.Count > 0 && d.ShareMilli == 0 {
			free = free[:d.Count]
		}
		score, device := policy.Rate(n, &n.Held, &spec.Resources, free)
		if d.ShareMilli > 0 {
			free = []int{device}
		}
		var grants []rota.GPUGrant
		for _, i := range free {
			grants = append(grants, rota.GPUGrant{ID: n.Capacity.GPUs[i].ID, Milli: d.MilliEach()})
		}
		if rota.Fits(n, n.Held, spec, grants) != rota.MisfitNone {
			continue
		}
		points, shunned := naiveWish(nodes, holds, t, n)
		if shunned {
			continue
		}
		better := best == nil || score > bestScore || score == bestScore && n.Name < best.Name
		if best == nil || points > bestPoints || points == bestPoints && better {
			best, bestPoints, bestScore, bestGrants = n, points, score, grants
		}
	}
	return best, bestGrants
}

// checkRoom: no node is over its room, counted from the holds alone.
func (f *factory) checkRoom() {
	sn := f.state.Snapshot()
	for n := range sn.Nodes() {
		var cpu, memory, slots int64
		milli := map[string]int64{}
		for h := range sn.Holds(n.ID) {
			cpu += h.Resources.CPUMilli
			memory += h.Resources.MemoryBytes
			slots++
			for _, g := range h.GPUs {
				milli[g.ID] += g.Milli
				if milli[g.ID] > rota.WholeGPU {
					f.t.Fatalf("device %s of %s is given away %d/1000", g.ID, n.Name, milli[g.ID])
				}
			}
		}
		if c := n.Capacity; cpu > c.CPUMilli || memory > c.MemoryBytes || slots > c.Slots {
			f.t.Fatalf("node %s is over its room: %d of %d milli, %d of %d bytes, %d of %d slots", n.Name, cpu, c.CPUMilli, memory, c.MemoryBytes, slots, c.Slots)
		}
	}
}

// checkReasons: every queued task is on its way to a node or has a reason.
func (f *factory) checkReasons() {
	for t := range f.state.Snapshot().Queued() {
		e, ok := f.sched.Explain(t.ID, f.at)
		if !ok || e.Reason.Code == "" || e.Reason.Text == "" {
			f.t.Fatalf("queued task %s has no reason: %+v", t.ID, e)
		}
	}
}

// TestNothingIsPlacedTwiceOrOverItsRoom: whatever happens around it, the scheduler
// proposes only what the state machine accepts, decides like a scheduler built
// from a snapshot and like the plainest program, and can say why the rest waits.
func TestNothingIsPlacedTwiceOrOverItsRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &factory{t: t, state: fsm.New(), sched: scheduler.New(scheduler.Config{}), at: rota.InstantOf(time.Unix(1_800_000_000, 0))}
		f.apply(rota.RaiseFormat{Format: rota.FormatPlacement})
		f.register()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			f.at = f.at.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 12).Draw(t, "step") {
			case 0:
				f.register()
			case 1, 2:
				f.submit()
			case 3, 4, 5:
				f.plan()
			case 6, 7:
				f.land()
			case 8, 9, 10:
				f.report()
			case 11:
				f.disturb()
			case 12:
				f.learn()
			}
			f.checkRoom()
		}
		for len(f.flight) > 0 {
			f.land()
		}
		f.checkReasons()
	})
}
