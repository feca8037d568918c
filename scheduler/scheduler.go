package scheduler

import (
	"iter"
	"slices"

	"github.com/rota-sched/rota"
)

// Config are the scheduler's settings.
type Config struct {
	// SecondsPerLevel is how many seconds of waiting one level of priority is
	// worth. Zero means 60. (Source: DESIGN.md, section 6, "Order".)
	SecondsPerLevel int64
	// Policy chooses among the nodes with room. Nil means LeastWaste, by Weights and
	// by what arrives.
	Policy Policy
	// Weights are the settings of LeastWaste; zero means DefaultWeights.
	Weights Weights
}

// DefaultSecondsPerLevel is what a level of priority is worth unless said
// otherwise.
const DefaultSecondsPerLevel = 60

// State is what a scheduler is built from: a snapshot of the state machine.
type State interface {
	Nodes() iter.Seq[*rota.Node]
	Queued() iter.Seq[*rota.Task]
	// AllHolds gives what attempts hold on the nodes.
	AllHolds() iter.Seq[*rota.Hold]
	// Known is what tasks typically ask for (of rota.Arrivals); nil: nothing is known.
	Known() []rota.Shape
}

// Scheduler holds the queue and the nodes. It belongs to one goroutine.
type Scheduler struct {
	cfg      Config
	perLevel int64 // nanoseconds
	policy   Policy
	own      *LeastWaste // policy, if it is that
	outlook  outlook

	hosts []*host // by host.index
	byID  map[rota.NodeID]*host
	dirty []*host
	// touches are the nodes that changed last, the newest at touched-1, as a ring.
	touches [4096]int32 // their indexes
	touched uint64
	// touchedAt is the newest touch of each node.
	touchedAt []uint64
	views     []view // by the index of the host
	frees     []free // by the same
	// lastShape is the newest number of a view's shape.
	lastShape uint32
	// byName are the hosts in the order of their names, order their places in it by
	// index.
	byName []*host
	order  []int32
	rooms  rooms
	// opinions counts the entries of all memos, candidates those of all rankings; evict
	// is whose ranking goes next.
	opinions, candidates, evict int

	classes map[string]*class
	wishing map[rota.RunID][]*class // those that wish, by the run
	inOrder []*class                // all of classes, as they were made
	heads   heap[*class]
	parked  []*class
	idle    int
	uses    uint64

	items    map[rota.TaskID]*item
	proposed map[rota.TaskID]*proposal

	lastSpec  *rota.TaskSpec
	lastClass *class
	scratch   []byte
	devices   []int
	numbers   []int // see firsts
}

// New makes a scheduler that knows no node and no task.
func New(cfg Config) *Scheduler {
	if cfg.SecondsPerLevel == 0 {
		cfg.SecondsPerLevel = DefaultSecondsPerLevel
	}
	if cfg.Weights == (Weights{}) {
		cfg.Weights = DefaultWeights()
	}
	policy := cfg.Policy
	if policy == nil {
		policy = NewLeastWaste(cfg.Weights, nil, nil)
	}
	own, _ := policy.(*LeastWaste)
	return &Scheduler{
		cfg:      cfg,
		policy:   policy,
		own:      own,
		perLevel: cfg.SecondsPerLevel * 1_000_000_000,
		byID:     map[rota.NodeID]*host{},
		classes:  map[string]*class{},
		wishing:  map[rota.RunID][]*class{},
		items:    map[rota.TaskID]*item{},
		proposed: map[rota.TaskID]*proposal{},
	}
}

// Load takes in a snapshot. Call it once, first; Observe then takes the changes
// that came after it.
func (s *Scheduler) Load(st State) {
	if known := st.Known(); known != nil {
		s.Learn(known)
	}
	for n := range st.Nodes() {
		s.observeNode(n)
	}
	for h := range st.AllHolds() {
		s.observeHold(h, 1)
	}
	for t := range st.Queued() {
		s.observeTask(t)
	}
}

// Observe takes in a change, in the order of the log. Nothing is decided before
// the next Plan, so all changes of an entry belong before it.
func (s *Scheduler) Observe(c *rota.Change) {
	if c.Node != nil {
		s.observeNode(c.Node)
	}
	if c.Task != nil {
		s.observeTask(c.Task)
	}
	if c.Hold != nil && c.Type == rota.ChangeHold {
		s.observeHold(c.Hold, 1)
	}
	if c.Hold != nil && c.Type == rota.ChangeHoldReleased {
		s.observeHold(c.Hold, -1)
	}
	if c.Known != nil {
		s.Learn(c.Known)
	}
}

// observeTask takes in a task's record: whatever was proposed for it is decided
// now, by the state machine or by events.
func (s *Scheduler) observeTask(t *rota.Task) {
	x, known := s.items[t.ID]
	if p, ok := s.proposed[t.ID]; ok {
		if t.Status == rota.StatusQueued {
			p.item.task = t // still wanted; the proposal is under way
			return
		}
		s.withdraw(p)
	}
	if t.Status != rota.StatusQueued {
		if known {
			s.drop(x)
		}
		return
	}
	if known {
		s.drop(x)
	}
	x = &item{task: t, at: outside}
	s.items[t.ID] = x
	s.enqueue(x)
}

// drop forgets a task.
func (s *Scheduler) drop(x *item) {
	if x.at != outside {
		s.dequeue(x)
	}
	if h := x.disputed; h != nil {
		h.disputed = slices.DeleteFunc(h.disputed, func(o *item) bool { return o == x })
	}
	delete(s.items, x.task.ID)
}

// withdraw forgets a proposal and gives back the room it would have taken.
func (s *Scheduler) withdraw(p *proposal) {
	delete(s.proposed, p.hold.Task)
	h := p.host
	s.tenancy(h, p.hold.Task, -1)
	for i, o := range h.proposed {
		if o == p {
			last := len(h.proposed) - 1
			h.proposed[i], h.proposed[last] = h.proposed[last], nil
			h.proposed = h.proposed[:last]
			break
		}
	}
	s.soil(h)
}

// Refused takes back a placement that the state machine did not grant, or of
// which it is not known whether it ever will (KindUnknown). The task goes back
// into the queue. Call it after the changes of the entry that refused it: what
// still looks as if it fitted then is set aside until something changes.
func (s *Scheduler) Refused(p rota.NewPlacement, k rota.Kind) {
	o, ok := s.proposed[p.Task]
	if !ok || o.hold.Session != p.Session {
		return // a change of the task has decided it
	}
	s.withdraw(o)
	if k != rota.KindUnknown && o.host.node == o.node && o.item.task == o.task {
		s.dispute(o.item, o.host)
		return
	}
	s.enqueue(o.item)
}

// Queued is the number of tasks that wait for a node, those proposed included.
func (s *Scheduler) Queued() int { return len(s.items) }
