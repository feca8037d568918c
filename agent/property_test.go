package agent_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// TestCoreKeepsItsPromises drives a core through random histories of answers,
// failures, delays, views and deaths, and checks at every action that no fence is
// started twice, that nothing starts after D - K - h, that no deadline counts from
// anything but the sending of a renewal, a registration or a poll that held, and
// that no session is asked for while something of the last one runs.
// In the end the cluster answers everything, and every outcome has arrived.
// (Source: RELIABILITY.md, section 2, rules 2, 6, 7, 8.)
func TestCoreKeepsItsPromises(t *testing.T) {
	for range 10 { // a hundred histories each; the rare ones need more
		rapid.Check(t, func(rt *rapid.T) {
			w := newWorld(rt)
			for range rapid.IntRange(20, 200).Draw(rt, "steps") {
				w.turn()
			}
			w.settle()
		})
	}
}

// world is everything around one core.
type world struct {
	*rapid.T
	core  *agent.Core
	times rota.LeaseTimes
	now   agent.BootTime
	index uint64

	asked    []agent.Action // without an answer yet
	stream   agent.OpenStream
	session  rota.Session // newest of the cluster; zero: expired
	counter  uint64
	keeper   int
	attempts uint64

	allowed map[rota.Session]agent.BootTime // what the cluster's answers allow
	held    map[rota.Session]agent.BootTime // what the keeper took over
	started map[agent.Ref]bool
	running []agent.Ref
	placed  []rota.Assignment // held by the session, as the cluster sees it
	late    []*rota.View      // made, and on their way
	owed    map[agent.Ref]bool
	arrived map[agent.Ref]bool
	told    map[agent.Ref]bool // its start
}

func newWorld(rt *rapid.T) *world {
	cfg := agent.DefaultCoreConfig()
	cfg.Node = rota.RegisterNode{Info: rota.NodeInfo{ID: storyNode, Name: "n1"}, Boot: "boot"}
	cfg.ReportItems = 3
	w := &world{
		T: rt, core: agent.NewCore(cfg), times: cfg.Times, now: agent.BootTime(time.Minute), index: 100,
		allowed: map[rota.Session]agent.BootTime{}, held: map[rota.Session]agent.BootTime{},
		started: map[agent.Ref]bool{}, owed: map[agent.Ref]bool{}, arrived: map[agent.Ref]bool{}, told: map[agent.Ref]bool{},
	}
	w.step(agent.Tick{})
	return w
}

// turn lets one random thing happen.
func (w *world) turn() {
	w.pass(time.Duration(rapid.IntRange(0, 1500).Draw(w.T, "ms")) * time.Millisecond)
	switch rapid.IntRange(0, 9).Draw(w.T, "what") {
	case 0, 1, 2, 3:
		if len(w.asked) > 0 {
			i := rapid.IntRange(0, len(w.asked)-1).Draw(w.T, "answer")
			act := w.asked[i]
			w.asked = slices.Delete(w.asked, i, i+1)
			w.answer(act, rapid.IntRange(0, 3).Draw(w.T, "luck") > 0)
		}
	case 4, 5:
		w.place(rapid.IntRange(1, 3).Draw(w.T, "tasks"))
		if w.deliver(w.view(rapid.Bool().Draw(w.T, "full"))) {
			return
		}
		w.late = append(w.late, w.view(true))
	case 6:
		if len(w.late) > 0 {
			w.deliver(w.late[rapid.IntRange(0, len(w.late)-1).Draw(w.T, "late")])
		}
	case 7:
		if len(w.running) > 0 {
			w.end(rapid.IntRange(0, len(w.running)-1).Draw(w.T, "ends"), rota.Cause(rapid.SampledFrom([]rota.Cause{rota.CauseNone, rota.CauseExitNonzero, rota.CauseNodeLost}).Draw(w.T, "cause")))
		}
	case 8:
		if w.stream.Stream != 0 {
			w.step(agent.StreamEnded{Stream: w.stream.Stream, Err: errors.New("broken")})
		}
	case 9:
		if rapid.IntRange(0, 5).Draw(w.T, "rare") == 0 {
			w.calamity()
		}
	}
}

func (w *world) calamity() {
	switch rapid.IntRange(0, 2).Draw(w.T, "calamity") {
	case 0: // the leader expires the session
		w.session, w.placed = rota.Session{}, nil
	case 1:
		w.step(agent.KeeperSaid{Event: agent.KeeperEvent{Keeper: w.keeperID(), Kind: agent.KeeperOver}})
	case 2:
		w.step(agent.KeeperSaid{Event: agent.KeeperEvent{Keeper: w.keeperID(), Kind: agent.KeeperGone}})
		for len(w.running) > 0 {
			r := w.running[0]
			w.running = w.running[1:]
			w.step(agent.Lost{Ref: r})
		}
	}
}

func (w *world) keeperID() string { return fmt.Sprint("k", w.keeper) }

// pass lets time pass, with the ticks that the core asks for.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for {
		next := w.core.Wake()
		if next == 0 || next > end {
			break
		}
		w.now = max(w.now, next)
		w.step(agent.Tick{})
		if again := w.core.Wake(); again != 0 && again <= w.now {
			w.Fatalf("at %v the core wants to be woken at %v: it would spin", since(w.now), since(again))
		}
	}
	w.now = end
}

func (w *world) step(ev agent.Event) {
	for _, act := range slices.Clone(w.core.Step(ev, w.now)) {
		w.check(act)
		switch a := act.(type) {
		case agent.Greet, agent.Register, agent.Renew, agent.Poll, agent.SendReport, agent.StartTask, agent.StopTask, agent.Extend,
			agent.Probe, agent.TellFitness:
			w.asked = append(w.asked, act)
		case agent.OpenStream:
			w.stream = a
		case agent.CloseStream:
			w.stream = agent.OpenStream{}
		default:
		}
	}
}

// check holds an action against the promises.
func (w *world) check(act agent.Action) {
	switch a := act.(type) {
	case agent.StartTask:
		ref := agent.Ref{Task: a.Assignment.Task, Fence: a.Assignment.Fence}
		if w.started[ref] {
			w.Fatalf("%s was started twice", name(ref.Task, ref.Fence))
		}
		w.started[ref] = true
		limit := w.held[w.core.Session()].Add(-w.times.Kill - w.times.Renew)
		if w.now >= limit || a.Before > limit {
			w.Fatalf("start at %v, before %v, although D - K - h is %v", since(w.now), since(a.Before), since(limit))
		}
	case agent.Register:
		if len(w.running) > 0 {
			w.Fatalf("a registration, which gives everything back, while %d attempts run", len(w.running))
		}
	case agent.Extend:
		if a.Lease.Deadline > w.allowed[a.Lease.Session] {
			w.Fatalf("deadline %v, the answers allow %v", since(a.Lease.Deadline), since(w.allowed[a.Lease.Session]))
		}
	case agent.SendReport:
		for _, it := range a.Report.Items {
			ref := agent.Ref{Task: it.Task, Fence: it.Fence}
			if it.Started && w.arrived[ref] {
				w.Fatalf("the start of %s is reported after its end", name(it.Task, it.Fence))
			}
		}
	default:
	}
}

// answer answers an action, well or badly.
func (w *world) answer(act agent.Action, well bool) {
	var err error
	if !well {
		err = errors.New("no answer")
	}
	switch a := act.(type) {
	case agent.Greet:
		if well {
			w.keeper++
		}
		w.step(agent.Greeted{Kept: agent.Kept{ID: w.keeperID(), Boot: "boot", Containment: "pidns"}, Err: err})
	case agent.Register:
		w.register(a, err)
	case agent.Renew:
		w.index++
		current := a.Session == w.session
		if well && current {
			w.allow(a.Session, a.Sent)
		}
		w.step(agent.Renewed{Session: a.Session, Sent: a.Sent, Err: err, Renewal: rota.Renewal{Current: current, Index: w.index}})
	case agent.Poll:
		w.poll(a, err)
	case agent.Extend:
		if well {
			w.held[a.Lease.Session] = max(w.held[a.Lease.Session], a.Lease.Deadline)
			w.step(agent.Extended{Lease: a.Lease})
		} else {
			w.step(agent.Extended{Lease: a.Lease, Err: rota.ErrUnavailable})
		}
	case agent.StartTask:
		ref := agent.Ref{Task: a.Assignment.Task, Fence: a.Assignment.Fence}
		if !well || w.now >= a.Before {
			w.started[ref] = false
			w.step(agent.NotStarted{Ref: ref})
			return
		}
		if rapid.IntRange(0, 9).Draw(w.T, "unfit") == 0 {
			w.started[ref] = false
			w.step(agent.NotStarted{Ref: ref, Unfit: "the disk is full"})
			return
		}
		w.running = append(w.running, ref)
		w.step(agent.Started{Ref: ref})
	case agent.Probe:
		w.step(agent.Probed{Err: err})
	case agent.TellFitness:
		w.step(agent.FitnessTold{Session: a.Session, Why: a.Why, Err: err})
	case agent.StopTask:
		if i := slices.Index(w.running, a.Ref); i >= 0 {
			w.end(i, a.Cause)
		}
	case agent.SendReport:
		w.report(a, err)
	default:
	}
}

func (w *world) register(a agent.Register, err error) {
	if err == nil {
		w.counter++
		w.index++
		w.session, w.placed = session(w.counter), nil
		w.allow(w.session, a.Sent)
	}
	w.step(agent.Registered{Sent: a.Sent, Session: w.session, Err: err})
}

func (w *world) allow(s rota.Session, sent agent.BootTime) {
	w.allowed[s] = max(w.allowed[s], sent.Add(w.times.TTL))
}

func (w *world) poll(a agent.Poll, err error) {
	took := w.now.Sub(a.Sent)
	age := time.Duration(rapid.IntRange(500, 4000).Draw(w.T, "age")) * time.Millisecond
	voters := []rota.NodeID{"A", "B", "C"}
	var contacts []rota.Contact
	for _, v := range voters[:rapid.IntRange(0, 3).Draw(w.T, "voters")] {
		contacts = append(contacts, rota.Contact{Server: v, Voter: true, Voters: voters, ConfigIndex: 1, Age: age})
	}
	if err == nil && len(contacts) >= 2 && took <= w.times.Poll && age > w.times.Gap+took {
		w.allow(w.core.Session(), a.Sent)
	}
	w.step(agent.Polled{Sent: a.Sent, Contacts: contacts, Err: err})
}

func (w *world) report(a agent.SendReport, err error) {
	var answers []rota.Kind
	for _, it := range a.Report.Items {
		ref := agent.Ref{Task: it.Task, Fence: it.Fence}
		if it.Outcome != nil {
			w.arrived[ref] = true
		}
		if it.Started {
			w.told[ref] = true
		}
		if it.Released {
			w.placed = slices.DeleteFunc(w.placed, func(p rota.Assignment) bool { return p.Task == it.Task && p.Fence == it.Fence })
		}
		answers = append(answers, rota.KindNone)
	}
	if err != nil { // it did arrive; only the answer is lost
		for _, it := range a.Report.Items {
			delete(w.arrived, agent.Ref{Task: it.Task, Fence: it.Fence})
		}
	}
	w.index++
	w.step(agent.Reported{Batch: a.Batch, Answers: answers, Err: err})
}

// place commits further placements on the session.
func (w *world) place(n int) {
	if w.session.IsZero() {
		return
	}
	for range n {
		w.attempts++
		w.index++
		ref := agent.Ref{Task: rota.TaskID{Run: storyRun, Key: rota.TaskKey(fmt.Sprint("t", w.attempts%7))}, Fence: rota.NewFence(0, w.attempts)}
		w.placed = append(w.placed, assignment(ref, "exec", 0))
	}
}

// view is what the cluster says now.
func (w *world) view(full bool) *rota.View {
	return &rota.View{Index: w.index, Session: w.session, Full: full, Start: slices.Clone(w.placed)}
}

// deliver hands over a view, perhaps one that was made long ago; false: it is
// still on its way.
func (w *world) deliver(v *rota.View) bool {
	if w.stream.Stream == 0 || rapid.IntRange(0, 3).Draw(w.T, "way") == 0 {
		return false
	}
	w.step(agent.Viewed{Stream: w.stream.Stream, View: v})
	return true
}

// end lets the i-th running attempt end.
func (w *world) end(i int, cause rota.Cause) {
	ref := w.running[i]
	w.running = slices.Delete(w.running, i, i+1)
	if cause == rota.CauseNone || cause == rota.CauseExitNonzero && !w.core.Session().IsZero() {
		w.owed[ref] = true
	}
	w.step(agent.Ended{Ref: ref, Began: true, Outcome: rota.Outcome{Cause: cause}})
}

// settle answers everything well until nothing is left, and looks what arrived.
func (w *world) settle() {
	for range 400 {
		w.pass(50 * time.Millisecond)
		asked := w.asked
		w.asked = nil
		for _, act := range asked {
			w.answer(act, true)
		}
	}
	for ref := range w.owed {
		if !w.arrived[ref] {
			w.Fatalf("the outcome of %s never arrived", name(ref.Task, ref.Fence))
		}
	}
	if w.core.Session().IsZero() {
		w.Fatalf("the node has no session although everybody answers")
	}
}
