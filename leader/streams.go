package leader

import (
	"cmp"
	"slices"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// streams knows what every node holds and is to do with it, in the order of the
// log, and who listens.
type streams struct {
	byToken   map[Token]*stream
	bySession map[rota.Session]*stream
	// waiting are those whose session's registration was not seen yet, by node.
	waiting map[rota.NodeID][]StreamAttached

	held    map[heldKey]*held
	byTask  map[rota.TaskID][]*held
	holders map[rota.Session]map[heldKey]*held
	jobs    map[rota.RunID]string // names of the jobs of the runs that have not ended

	touched []*held                    // in the entry being observed
	fresh   map[rota.TaskID]*rota.Task // the tasks it changed
}

type stream struct {
	token   Token
	session rota.Session
}

type heldKey struct {
	task  rota.TaskID
	fence rota.Fence
}

// held is one hold with the newest record of its task.
type held struct {
	hold    *rota.Hold
	task    *rota.Task
	told    order
	touched bool
	gone    bool
}

// order is what a node is told about one hold.
type order uint8

const (
	orderNone order = iota
	orderStart
	orderStop
)

// wants is what the node is to do: run the attempt while it is the task's present
// one, end it otherwise.
func (h *held) wants() order {
	t := h.task
	present := t != nil && (t.Status == rota.StatusAssigned || t.Status == rota.StatusRunning) &&
		t.Placement != nil && t.Placement.Fence == h.hold.Fence
	if present {
		return orderStart
	}
	return orderStop
}

func (s *streams) load(sn *fsm.Snapshot) {
	s.byToken, s.bySession = map[Token]*stream{}, map[rota.Session]*stream{}
	s.held, s.byTask = map[heldKey]*held{}, map[rota.TaskID][]*held{}
	s.holders, s.jobs = map[rota.Session]map[heldKey]*held{}, map[rota.RunID]string{}
	s.fresh, s.waiting = map[rota.TaskID]*rota.Task{}, map[rota.NodeID][]StreamAttached{}
	for r := range sn.Runs() {
		if !r.Status.Terminal() {
			s.jobs[r.ID] = r.Job
		}
	}
	for h := range sn.AllHolds() {
		x := s.add(h)
		if t, ok := sn.Task(h.Task); ok {
			x.task = t
		}
		x.told = x.wants()
	}
}

func (s *streams) add(h *rota.Hold) *held {
	k := heldKey{h.Task, h.Fence}
	if x := s.held[k]; x != nil {
		x.hold = h
		return x
	}
	x := &held{hold: h}
	s.held[k] = x
	s.byTask[h.Task] = append(s.byTask[h.Task], x)
	if s.holders[h.Session] == nil {
		s.holders[h.Session] = map[heldKey]*held{}
	}
	s.holders[h.Session][k] = x
	return x
}

func (s *streams) remove(k heldKey) {
	x := s.held[k]
	if x == nil {
		return
	}
	x.gone = true
	delete(s.held, k)
	if rest := slices.DeleteFunc(s.byTask[k.task], func(o *held) bool { return o == x }); len(rest) > 0 {
		s.byTask[k.task] = rest
	} else {
		delete(s.byTask, k.task)
	}
	if of := s.holders[x.hold.Session]; of != nil {
		delete(of, k)
		if len(of) == 0 {
			delete(s.holders, x.hold.Session)
		}
	}
}

// observe takes in one change of an entry.
func (s *streams) observe(ch *rota.Change) {
	if r := ch.Run; r != nil {
		if r.Status.Terminal() || ch.Type == rota.ChangeRunPurged {
			delete(s.jobs, r.ID)
		} else {
			s.jobs[r.ID] = r.Job
		}
	}
	if h := ch.Hold; h != nil {
		if ch.Type == rota.ChangeHoldReleased {
			s.remove(heldKey{h.Task, h.Fence})
		} else {
			s.touch(s.add(h))
		}
	}
	if t := ch.Task; t != nil {
		s.fresh[t.ID] = t
		for _, x := range s.byTask[t.ID] {
			s.touch(x)
		}
	}
}

func (s *streams) touch(x *held) {
	if !x.touched {
		x.touched = true
		s.touched = append(s.touched, x)
	}
}

// pushDeltas tells the nodes what the observed entry changed for them.
func (c *Core) pushDeltas(index uint64) {
	s := &c.streams
	var views []*rota.View
	var to []*stream
	for _, x := range s.touched {
		x.touched = false
		if t := s.fresh[x.hold.Task]; t != nil {
			x.task = t
		}
		if x.gone {
			continue
		}
		want := x.wants()
		if want == x.told {
			continue
		}
		x.told = want
		st := s.bySession[x.hold.Session]
		if st == nil {
			continue
		}
		at := slices.Index(to, st)
		if at < 0 {
			at = len(to)
			to = append(to, st)
			views = append(views, c.view(st.session, index))
		}
		c.addOrder(views[at], x)
	}
	clear(s.touched)
	s.touched = s.touched[:0]
	clear(s.fresh)
	for i, st := range to {
		c.act(Push{Token: st.token, View: views[i]})
	}
}

func (c *Core) view(s rota.Session, index uint64) *rota.View {
	return &rota.View{Incarnation: c.incarnation, Term: c.term, Index: index, Session: s}
}

// addOrder writes what a node is to do with a hold into a view.
func (c *Core) addOrder(v *rota.View, x *held) {
	if x.told == orderStop {
		v.Stop = append(v.Stop, rota.StopOrder{Task: x.hold.Task, Fence: x.hold.Fence, Cause: stopCause(x)})
		return
	}
	t := x.task
	v.Start = append(v.Start, rota.Assignment{
		Task: t.ID, Namespace: t.Namespace, Job: c.streams.jobs[t.ID.Run], Fence: x.hold.Fence,
		IdempotencyKey: t.ID.String(), GPUs: x.hold.GPUs, Spec: t.Spec.ForNode(),
	})
}

// stopCause says why an attempt is not wanted any more.
func stopCause(x *held) rota.Cause {
	t := x.task
	if t == nil {
		return rota.CauseCancelled
	}
	for i := len(t.Attempts) - 1; i >= 0; i-- {
		if a := &t.Attempts[i]; a.Fence == x.hold.Fence && a.Cause != rota.CauseNone {
			return a.Cause
		}
	}
	if t.Cause != rota.CauseNone {
		return t.Cause
	}
	return rota.CauseCancelled
}

// attach begins a stream with everything that the session holds.
func (c *Core) attach(ev StreamAttached) {
	s := &c.streams
	n := c.nodes[ev.Session.Node]
	switch {
	case n == nil || n.LastCounter < ev.Session.Counter:
		s.waiting[ev.Session.Node] = append(s.waiting[ev.Session.Node], ev)
		return
	case n.Session != ev.Session || ev.Session.IsZero():
		c.act(CloseStream{Token: ev.Token, Kind: rota.KindStale})
		return
	}
	if old := s.bySession[ev.Session]; old != nil {
		s.detach(old.token)
		c.act(CloseStream{Token: old.token, Kind: rota.KindConflict})
	}
	st := &stream{token: ev.Token, session: ev.Session}
	s.byToken[ev.Token], s.bySession[ev.Session] = st, st
	v := c.view(ev.Session, c.applied)
	v.Full = true
	for _, x := range s.holdsOf(ev.Session) {
		c.addOrder(v, x)
	}
	c.act(Push{Token: ev.Token, View: v})
}

// holdsOf lists the holds of a session, by task and fence.
func (s *streams) holdsOf(of rota.Session) []*held {
	list := make([]*held, 0, len(s.holders[of]))
	for _, x := range s.holders[of] {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b *held) int {
		if d := a.hold.Task.Compare(b.hold.Task); d != 0 {
			return d
		}
		return cmp.Compare(a.hold.Fence, b.hold.Fence)
	})
	return list
}

// attachWaiting begins the streams that came before the registration they stand on
// was seen.
func (c *Core) attachWaiting(id rota.NodeID) {
	waiting := c.streams.waiting[id]
	delete(c.streams.waiting, id)
	for _, ev := range waiting {
		c.attach(ev)
	}
}

func (s *streams) detach(t Token) {
	st := s.byToken[t]
	if st == nil {
		for id, list := range s.waiting {
			s.waiting[id] = slices.DeleteFunc(list, func(ev StreamAttached) bool { return ev.Token == t })
		}
		return
	}
	delete(s.byToken, t)
	if s.bySession[st.session] == st {
		delete(s.bySession, st.session)
	}
}

// endSession closes the stream of a session that is over and forgets what it held.
func (c *Core) endSession(of rota.Session) {
	s := &c.streams
	if st := s.bySession[of]; st != nil {
		s.detach(st.token)
		c.act(CloseStream{Token: st.token, Kind: rota.KindStale})
	}
	for _, x := range s.holdsOf(of) {
		s.remove(heldKey{x.hold.Task, x.hold.Fence})
	}
}
