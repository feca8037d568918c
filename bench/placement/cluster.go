package placement

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

// cluster is the scheduler that ships, with just enough of a state machine around
// it: what it proposes is granted at once, what it cannot place is dropped.
type cluster struct {
	sched *scheduler.Scheduler
	nodes map[rota.NodeID]*rota.Node
	// placed are the tasks that run, with what they hold.
	tasks int
	used  int64         // thousandths of devices
	spent time.Duration // in the scheduler
	// arrivals are what the policy learns from; nil: it does not.
	arrivals *rota.Arrivals
}

// setup says which policy a run has.
type setup struct {
	policy  scheduler.Policy  // nil: the scheduler's own
	weights scheduler.Weights // of its own
	learns  bool              // from what arrives
}

// running is a task that holds room.
type running struct {
	node rota.NodeID
	hold rota.Hold
}

// nodesOf are the records of the trace's nodes, named by rank: the scheduler gives
// equal scores to the lower name.
func nodesOf(t *Trace, rank []int) []*rota.Node {
	nodes := make([]*rota.Node, len(t.Nodes))
	for i := range t.Nodes {
		m := &t.Nodes[i]
		id := rota.NodeID(fmt.Sprintf("%05d", rank[i]))
		n := &rota.Node{NodeInfo: rota.NodeInfo{
			ID: id, Name: string(id), Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop},
			Capacity: rota.Capacity{CPUMilli: m.CPUMilli, MemoryBytes: m.MemoryMiB << 20, Slots: 1 << 30},
		}, Session: rota.Session{Node: id, Boot: "bench", Counter: 1}}
		for g := range m.GPUs {
			n.Capacity.GPUs = append(n.Capacity.GPUs, rota.GPU{ID: fmt.Sprint("gpu-", g), Model: m.Model})
		}
		nodes[i] = n
	}
	return nodes
}

// snapshot is what a scheduler starts from.
type snapshot struct{ nodes []*rota.Node }

func (s snapshot) Nodes() iter.Seq[*rota.Node]  { return slices.Values(s.nodes) }
func (s snapshot) Known() []rota.Shape          { return nil }
func (s snapshot) Queued() iter.Seq[*rota.Task] { return func(func(*rota.Task) bool) {} }

func (s snapshot) AllHolds() iter.Seq[*rota.Hold] { return func(func(*rota.Hold) bool) {} }

func newCluster(nodes []*rota.Node, s setup) *cluster {
	c := &cluster{sched: scheduler.New(scheduler.Config{Policy: s.policy, Weights: s.weights}), nodes: map[rota.NodeID]*rota.Node{}}
	if s.learns {
		c.arrivals = &rota.Arrivals{}
	}
	for _, n := range nodes {
		c.nodes[n.ID] = n
	}
	c.sched.Load(snapshot{nodes})
	return c
}

// arrive offers a task once; false if it fits nowhere now.
func (c *cluster) arrive(spec *rota.TaskSpec) (running, bool) {
	c.tasks++
	c.learn(spec)
	t := &rota.Task{ID: rota.TaskID{Run: "bench", Key: rota.TaskKey(strconv.Itoa(c.tasks))}, Order: c.tasks, Spec: spec, Status: rota.StatusQueued}
	c.observe(&rota.Change{Task: t})
	ps := c.plan()
	after := *t
	if len(ps) == 0 {
		after.Status = rota.StatusCancelled
		c.observe(&rota.Change{Task: &after})
		return running{}, false
	}
	after.Status = rota.StatusRunning
	r := running{node: ps[0].Session.Node, hold: rota.Hold{Task: t.ID, Resources: spec.Resources, GPUs: ps[0].GPUs}}
	c.change(r, rota.Held.Add, 1)
	c.observe(&rota.Change{Task: &after})
	return r, true
}

// learn counts an arrival as the state machine does.
func (c *cluster) learn(spec *rota.TaskSpec) {
	if c.arrivals == nil || !c.arrivals.Add(spec) {
		return
	}
	if _, renewed := c.arrivals.Turn(); renewed {
		c.observe(&rota.Change{Type: rota.ChangeKnown, Known: c.arrivals.Known})
	}
}

// leave ends a task.
func (c *cluster) leave(r running) { c.change(r, rota.Held.Remove, -1) }

func (c *cluster) change(r running, move func(rota.Held, *rota.Capacity, rota.Hold) rota.Held, sign int64) {
	n := *c.nodes[r.node]
	n.Held = move(n.Held, &n.Capacity, r.hold)
	c.nodes[r.node] = &n
	c.observe(&rota.Change{Node: &n})
	d := r.hold.Resources.GPU
	c.used += sign * int64(d.Count) * d.MilliEach()
}
