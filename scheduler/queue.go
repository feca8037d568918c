package scheduler

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
)

// item is a queued task.
type item struct {
	task  *rota.Task
	class *class
	key   int64 // see orderKey
	at    int   // position in its class's queue; outside while it is proposed or disputed

	disputed *host // see there
}

func (x *item) moved(to int) { x.at = to }

// before is the order of all queued tasks: by key, then by the age of the run,
// then by the place in the run.
func (x *item) before(o *item) bool { return x.compare(o) < 0 }

func (x *item) compare(o *item) int {
	if c := cmp.Compare(x.key, o.key); c != 0 {
		return c
	}
	if c := strings.Compare(string(x.task.ID.Run), string(o.task.ID.Run)); c != 0 {
		return c
	}
	return cmp.Compare(x.task.Order, o.task.Order)
}

// orderKey is the moment a task was queued, moved back by its priority: each level
// is worth perLevel nanoseconds of waiting. It does not change while the task
// waits, so a heap stays exact while everything in it ages, and a task of the
// lowest priority is overtaken for 100 levels' worth of time at most. (Source:
// DESIGN.md, section 6, "Order".)
func orderKey(t *rota.Task, perLevel int64) int64 {
	return int64(t.QueuedAt) - int64(t.Spec.Priority)*perLevel
}

// class is everything queued that asks for the same. Tasks that wish for nodes by
// what their siblings do are of one class only with those siblings.
type class struct {
	name   string
	spec   *rota.TaskSpec // of one of them: the demands are the same for all
	demand *rota.Demand   // of spec
	wishes bool           // run and label are those of all of them
	run    rota.RunID
	label  string
	queue  heap[*item]
	at     int  // position among the heads; outside: parked, or nothing queued
	parked bool // its head fits nowhere until some node gains
	ranks  ranking

	idle      bool   // nothing is queued
	forgotten bool   // and it is not kept any more
	uses      uint64 // when it became idle: who is forgotten first
}

func (c *class) moved(to int) { c.at = to }

func (c *class) before(o *class) bool { return c.queue[0].before(o.queue[0]) }

// maxIdleClasses bounds the classes that are kept without a queued task, for the
// sake of what they know of the nodes.
const maxIdleClasses = 256

// appendDemand writes what a spec asks of a node; equal demands give equal bytes.
func appendDemand(b []byte, id rota.TaskID, s *rota.TaskSpec) []byte {
	str := func(v string) {
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	r := &s.Resources
	for _, v := range [...]int64{r.CPUMilli, r.MemoryBytes, r.DiskBytes, int64(r.GPU.Count), r.GPU.MemoryBytes, r.GPU.ShareMilli} {
		b = binary.AppendVarint(b, v)
	}
	str(r.GPU.Model)
	str(string(s.Driver))
	b = binary.AppendUvarint(b, uint64(len(s.Capabilities)))
	for _, c := range s.Capabilities {
		str(c)
	}
	constraint := func(c *rota.Constraint) {
		str(c.Attribute)
		str(string(c.Operator))
		b = binary.AppendUvarint(b, uint64(len(c.Values)))
		for _, v := range c.Values {
			str(v)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.Constraints)))
	for i := range s.Constraints {
		constraint(&s.Constraints[i])
	}
	if !s.Wishes() {
		return b
	}
	str(string(id.Run))
	str(id.Key.Label())
	b = binary.AppendUvarint(b, uint64(len(s.Affinities)))
	for i := range s.Affinities {
		constraint(&s.Affinities[i].Constraint)
		b = binary.AppendVarint(b, int64(s.Affinities[i].Weight))
	}
	for _, sp := range s.Spreads {
		str(sp.Attribute)
		b = binary.AppendVarint(b, int64(sp.Weight))
	}
	return strconv.AppendBool(b, s.DistinctHosts)
}

// classOf finds or makes the class of a task.
func (s *Scheduler) classOf(id rota.TaskID, spec *rota.TaskSpec) *class {
	if c := s.lastClass; c != nil && s.lastSpec == spec && (!c.wishes || c.run == id.Run && c.label == id.Key.Label()) {
		return c
	}
	s.scratch = appendDemand(s.scratch[:0], id, spec)
	c, ok := s.classes[string(s.scratch)]
	if !ok {
		c = &class{name: string(s.scratch), spec: spec, demand: rota.DemandOf(spec), at: outside}
		s.classes[c.name] = c
		if spec.Wishes() {
			c.wishes, c.run, c.label = true, id.Run, id.Key.Label()
			s.wishing[c.run] = append(s.wishing[c.run], c)
		}
		s.inOrder = append(s.inOrder, c)
	}
	s.lastSpec, s.lastClass = spec, c
	return c
}

// enqueue puts an item into the queue of its class.
func (s *Scheduler) enqueue(x *item) {
	x.class = s.classOf(x.task.ID, x.task.Spec)
	x.key = orderKey(x.task, s.perLevel)
	c := x.class
	if c.idle {
		c.idle = false
		s.idle--
	}
	c.queue.push(x)
	s.headChanged(c)
}

// dequeue takes an item out of its class's queue.
func (s *Scheduler) dequeue(x *item) {
	c := x.class
	c.queue.remove(x.at)
	s.headChanged(c)
}

// headChanged puts a class where its present head belongs.
func (s *Scheduler) headChanged(c *class) {
	switch {
	case len(c.queue) == 0:
		s.unpark(c)
		if c.at != outside {
			s.heads.remove(c.at)
		}
		s.uses++
		c.uses = s.uses
		c.idle = true
		s.idle++
	case c.parked:
	case c.at == outside:
		s.heads.push(c)
	default:
		s.heads.fix(c.at)
	}
}

// park sets a class aside until a node gains what its head may fit into.
func (s *Scheduler) park(c *class) {
	s.heads.remove(c.at)
	c.parked = true
	s.parked = append(s.parked, c)
}

// unpark ends that; the caller puts the class among the heads.
func (s *Scheduler) unpark(c *class) {
	if !c.parked {
		return
	}
	c.parked = false
	for i, p := range s.parked {
		if p == c {
			last := len(s.parked) - 1
			s.parked[i], s.parked[last] = s.parked[last], nil
			s.parked = s.parked[:last]
			return
		}
	}
}

func (s *Scheduler) wishNoMore(c *class) {
	if !c.wishes {
		return
	}
	rest := slices.DeleteFunc(s.wishing[c.run], func(o *class) bool { return o == c })
	s.wishing[c.run] = rest
	if len(rest) == 0 {
		delete(s.wishing, c.run)
	}
}

// forget drops idle classes once there are too many of them, the longest unused
// first. What they knew of the nodes is found again when it is needed.
func (s *Scheduler) forget() {
	if s.idle <= maxIdleClasses {
		return
	}
	idle := make([]*class, 0, s.idle)
	for _, c := range s.inOrder {
		if c.idle {
			idle = append(idle, c)
		}
	}
	slices.SortFunc(idle, func(a, b *class) int { return cmp.Compare(a.uses, b.uses) })
	for _, c := range idle[:len(idle)-maxIdleClasses/2] {
		delete(s.classes, c.name)
		c.ranks.forget(s)
		c.forgotten = true
		s.wishNoMore(c)
		s.idle--
	}
	s.inOrder = slices.DeleteFunc(s.inOrder, func(c *class) bool { return c.forgotten })
	s.lastSpec, s.lastClass = nil, nil
}
