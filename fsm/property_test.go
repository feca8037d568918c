package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"pgregory.net/rapid"
)

// world drives a state with what a cluster could send it, the mistaken and the
// late included.
type world struct {
	t        *rapid.T
	s        *State
	limits   Limits
	now      rota.Instant
	log      []rota.Entry
	sessions []rota.Session // ever given out
	placed   map[string]string
	runs     int
	kept     map[rota.TaskID]int // outcomes accepted
}

func smallLimits() Limits {
	l := DefaultLimits()
	l.KeepRunsCount, l.KeepRuns, l.KeepRequests, l.KeepNodes = 4, time.Hour, 10*time.Minute, 30*time.Minute
	l.MaxNodeLost, l.MaxPreempted, l.MaxNodes, l.MaxLiveTasks, l.MaxRequests, l.MaxPendingTasks = 3, 3, 5, 60, 12, 20
	l.MaxRunOutput, l.MaxThrottled, l.FreeGiveBacks = 200, 2*time.Minute, 1
	return l
}

// TestWhateverIsAppliedTheStateHolds: nothing placed twice, no node over its room,
// every queued task findable, counts right, and equal digests after a replay and
// after a snapshot. (HOUSE.md, "Tests".)
func TestWhateverIsAppliedTheStateHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, limits: smallLimits(), now: rota.Instant(time.Hour), placed: map[string]string{}, kept: map[rota.TaskID]int{}}
		w.s = NewWith(w.limits)
		w.register()
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkState(t, w.s) },
			"register": func(t *rapid.T) {
				w.t = t
				w.register()
			},
			"submit":  func(t *rapid.T) { w.t = t; w.submit() },
			"submit2": func(t *rapid.T) { w.t = t; w.submit() },
			"add":     func(t *rapid.T) { w.t = t; w.add() },
			"place":   func(t *rapid.T) { w.t = t; w.place() },
			"place2":  func(t *rapid.T) { w.t = t; w.place() },
			"place3":  func(t *rapid.T) { w.t = t; w.place() },
			"report":  func(t *rapid.T) { w.t = t; w.report() },
			"report2": func(t *rapid.T) { w.t = t; w.report() },
			"report3": func(t *rapid.T) { w.t = t; w.report() },
			"report4": func(t *rapid.T) { w.t = t; w.report() },
			"expire":  func(t *rapid.T) { w.t = t; w.expire() },
			"renew": func(t *rapid.T) {
				w.t = t
				w.apply(rota.RenewLeases{Sessions: []rota.Session{w.session()}})
			},
			"mark": func(t *rapid.T) {
				w.t = t
				d, s := rapid.Bool().Draw(t, "drain"), rapid.Bool().Draw(t, "suspect")
				w.apply(rota.MarkNode{Node: w.session().Node, Drain: &d, Suspect: &s})
			},
			"unfit": func(t *rapid.T) {
				w.t = t
				w.apply(rota.MarkUnfit{Session: w.session(), Why: rapid.SampledFrom([]string{"", "full", "cannot be killed"}).Draw(t, "why")})
			},
			"due": func(t *rapid.T) {
				w.t = t
				steps := []time.Duration{0, time.Second, 5 * time.Second, time.Minute, 20 * time.Minute}
				w.now = w.now.Add(rapid.SampledFrom(steps).Draw(t, "step"))
				w.apply(rota.Due{})
			},
			"learn":    func(t *rapid.T) { w.t = t; w.apply(rota.RaiseFormat{Format: rota.FormatPlacement}) },
			"people":   func(t *rapid.T) { w.t = t; w.people() },
			"snapshot": func(t *rapid.T) { w.t = t; w.s = roundTrip(t, w.s) }, // goes on with what was restored
		})
		again := NewWith(w.limits)
		for i := range w.log {
			again.Apply(w.log[i])
		}
		if again.Digest() != w.s.Digest() {
			t.Fatalf("replay gives %s, want %s", again.Digest(), w.s.Digest())
		}
		roundTrip(t, w.s)
	})
}

func (w *world) apply(ops ...rota.Op) []rota.Result {
	return w.applyAs(rota.Command{Namespace: "team"}, ops...)
}

func (w *world) applyAs(c rota.Command, ops ...rota.Op) []rota.Result {
	e := rota.Entry{Format: 1, Term: 1, At: w.now, Seed: rapid.Uint64().Draw(w.t, "seed"), Index: w.s.Index() + uint64(rapid.IntRange(1, 2).Draw(w.t, "gap"))}
	for _, op := range ops {
		c.Op = op
		e.Commands = append(e.Commands, c)
	}
	w.log = append(w.log, e)
	results, changes := w.s.Apply(e)
	if len(results) != len(ops) {
		w.t.Fatalf("%d results for %d commands", len(results), len(ops))
	}
	w.check(changes)
	return results
}

// check holds what changes promise: every delivered task once, every placement
// under a fence of its own, one step at a time.
func (w *world) check(changes []rota.Change) {
	for i := range changes {
		c := &changes[i]
		switch c.Type { //nolint:exhaustive // the two with a promise of their own
		case rota.TaskChange(rota.StatusDelivered):
			if w.kept[c.Task.ID]++; w.kept[c.Task.ID] > 1 {
				w.t.Fatalf("task %s was delivered twice", c.Task.ID)
			}
		case rota.ChangeHold:
			key := fmt.Sprintf("%s#%d", c.Hold.Task, c.Hold.Fence)
			if was, ok := w.placed[key]; ok {
				w.t.Fatalf("fence %s was given out twice: to %s and %s", key, was, c.Hold.Session)
			}
			w.placed[key] = c.Hold.Session.String()
		}
	}
}

func (w *world) register() {
	n := rapid.IntRange(0, 6).Draw(w.t, "node")
	info := rota.NodeInfo{
		ID: rota.NodeID(fmt.Sprintf("n%d", n)), Name: fmt.Sprintf("name%d", n%5), Roles: []rota.Role{rota.RoleWorker},
		Drivers:  []rota.Driver{rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 400, MemoryBytes: 1 << 30, DiskBytes: 1 << 30, Slots: 5, GPUs: []rota.GPU{{ID: "g0", MemoryBytes: 1 << 30}, {ID: "g1"}}},
	}
	r := w.apply(rota.RegisterNode{Info: info, Boot: "b"})
	if r[0].Kind == rota.KindNone {
		if slices.Contains(w.sessions, r[0].Session) {
			w.t.Fatalf("session %s was given out twice", r[0].Session)
		}
		w.sessions = append(w.sessions, r[0].Session)
	}
}

func (w *world) session() rota.Session {
	if len(w.sessions) == 0 || rapid.IntRange(0, 3).Draw(w.t, "lately") > 0 {
		for n := range w.s.Snapshot().Nodes() {
			if !n.Session.IsZero() && rapid.Bool().Draw(w.t, "this") {
				return n.Session
			}
		}
	}
	if len(w.sessions) == 0 {
		return rota.Session{Node: "n0", Boot: "b", Counter: 1}
	}
	return rapid.SampledFrom(w.sessions).Draw(w.t, "session")
}

func (w *world) tasks(n int, from int) ([]*rota.TaskSpec, []rota.NewTask) {
	var specs []*rota.TaskSpec
	var tasks []rota.NewTask
	for i := range n {
		k := from + i
		t := rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t%02d", k)), Spec: i}
		for d := range k {
			if rapid.IntRange(0, k).Draw(w.t, "edge") == 0 {
				t.DependsOn = append(t.DependsOn, rota.Edge{On: rota.TaskKey(fmt.Sprintf("t%02d", d)), Kind: rota.EdgeKind(rapid.IntRange(0, 2).Draw(w.t, "kind"))})
			}
		}
		specs, tasks = append(specs, w.spec()), append(tasks, t)
	}
	return specs, tasks
}

func (w *world) spec() *rota.TaskSpec {
	g := rapid.IntRange(0, 63).Draw(w.t, "spec")
	s := &rota.TaskSpec{
		Driver: rota.DriverNoop, Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 1 << 20}, AllowFailure: g%4 == 1, Output: rota.OutputJSON,
		Retry: rota.Retry{MaxAttempts: g%3 + 1, Backoff: rota.BackoffExponential, Initial: time.Second, Max: time.Minute, MultiplierMilli: 2000, Jitter: true},
		Rerun: []rota.Rerun{"", rota.RerunAlways, rota.RerunAsk, rota.RerunNever}[g%4],
	}
	switch rapid.IntRange(0, 9).Draw(w.t, "wish") {
	case 0:
		s.DistinctHosts = true
	case 1:
		s.Spreads = []rota.Spread{{Attribute: "label.rack", Weight: 50}}
	}
	switch g / 8 {
	case 0:
		s.Late = []string{"command"}
	case 1:
		s.Timeouts = rota.Timeouts{ScheduleToStart: 5 * time.Second, ScheduleToClose: 2 * time.Minute}
	case 2:
		s.Resources.GPU.Count = 1
		s.Resources.GPU.ShareMilli = 500
	case 3:
		s.Retry.On = []rota.Cause{rota.CauseExitNonzero, rota.CauseNodeLost}
	case 4:
		s.Timeouts.ScheduleToClose = 20 * time.Second
	}
	return s
}

func (w *world) submit() {
	w.runs++
	specs, tasks := w.tasks(rapid.IntRange(0, 6).Draw(w.t, "tasks"), 0)
	op := rota.SubmitRun{
		Run: rota.RunID(fmt.Sprintf("R%d", w.runs-rapid.IntRange(0, 1).Draw(w.t, "again"))), Job: "job", Source: []byte("x"),
		Hash: fmt.Sprintf("h%d", rapid.IntRange(0, 3).Draw(w.t, "hash")), Digest: "d", Total: len(tasks), Specs: specs, Tasks: tasks,
	}
	if rapid.IntRange(0, 4).Draw(w.t, "chunked") == 0 {
		op.Total += 2
	}
	if rapid.Bool().Draw(w.t, "cancel") {
		op.OnTaskFailure = rota.FailureCancel
	}
	c := rota.Command{Namespace: "team", Principal: "someone"}
	if rapid.Bool().Draw(w.t, "keyed") {
		c.RequestID = fmt.Sprintf("k%d", rapid.IntRange(0, 20).Draw(w.t, "key"))
	}
	w.applyAs(c, op)
}

func (w *world) add() {
	it, ok := w.s.pending.Min()
	if !ok {
		w.t.Skip("no submission under way")
	}
	specs, tasks := w.tasks(rapid.IntRange(1, 2).Draw(w.t, "tasks"), len(it.rec.tasks))
	if rapid.IntRange(0, 5).Draw(w.t, "wrong") == 0 {
		tasks[0].DependsOn = []rota.Edge{{On: "nobody"}}
	}
	w.apply(rota.AddTasks{Run: it.run, Specs: specs, Tasks: tasks})
}

func (w *world) place() {
	var op rota.Place
	for t := range w.s.Snapshot().Queued() {
		if len(op.Placements) > 4 {
			break
		}
		p := rota.NewPlacement{Task: t.ID, Session: w.session()}
		if t.Spec.Resources.GPU.Count > 0 {
			p.GPUs = []rota.GPUGrant{{ID: fmt.Sprintf("g%d", rapid.IntRange(0, 1).Draw(w.t, "gpu")), Milli: 500}}
		}
		op.Placements = append(op.Placements, p)
		if rapid.IntRange(0, 9).Draw(w.t, "twice") == 0 {
			op.Placements = append(op.Placements, p)
		}
	}
	if len(op.Placements) == 0 {
		w.t.Skip("nothing queued")
	}
	w.apply(op)
}

// report speaks of attempts that hold room, and now and then of older ones.
func (w *world) report() {
	op := rota.Report{Session: w.session()}
	for h := range w.s.Snapshot().AllHolds() {
		if h.Session == op.Session && rapid.Bool().Draw(w.t, "item") {
			op.Items = append(op.Items, w.item(h.Task, h.Fence))
		}
	}
	if rapid.IntRange(0, 3).Draw(w.t, "older") == 0 {
		for r := range w.s.Snapshot().Runs() {
			for t := range w.s.Snapshot().Tasks(r.ID) {
				if n := len(t.Attempts); n > 0 && rapid.IntRange(0, 3).Draw(w.t, "this") == 0 {
					a := t.Attempts[rapid.IntRange(0, n-1).Draw(w.t, "attempt")]
					op.Items = append(op.Items, w.item(t.ID, a.Fence))
				}
			}
		}
	}
	if len(op.Items) == 0 {
		w.t.Skip("nothing placed")
	}
	w.apply(op)
}

func (w *world) item(id rota.TaskID, f rota.Fence) rota.ReportItem {
	it := rota.ReportItem{Task: id, Fence: f, Started: rapid.Bool().Draw(w.t, "started"), Released: rapid.Bool().Draw(w.t, "released")}
	if rapid.Bool().Draw(w.t, "ended") {
		it.Outcome = &rota.Outcome{Ran: time.Second, Usage: rota.Usage{Cost: 5, TokensIn: 1}}
		switch rapid.IntRange(0, 3).Draw(w.t, "how") {
		case 0:
			it.Outcome.Cause = rapid.SampledFrom(rota.Causes).Draw(w.t, "cause")
			it.Outcome.Message = "it failed"
		case 1:
			it.Outcome.Output = json.RawMessage(`{"some":"output of thirty bytes"}`)
		}
	}
	return it
}

func (w *world) expire() {
	session := w.session()
	op := rota.ExpireSession{Session: session, Seen: w.s.Index(), Released: rapid.Bool().Draw(w.t, "released"), Left: rapid.Bool().Draw(w.t, "left")}
	if rapid.Bool().Draw(w.t, "seen less") {
		op.Seen = 1
	}
	current := false
	if n, ok := w.s.Snapshot().Node(session.Node); ok {
		current = n.Session == session && (op.Released || n.RenewedIndex <= op.Seen)
	}
	if r := w.apply(op); (r[0].Kind == rota.KindNone) != current {
		w.t.Fatalf("expiry of %s, current and unrenewed %t: %+v", session, current, r[0])
	}
}

func (w *world) people() {
	var tasks []*rota.Task
	for r := range w.s.Snapshot().Runs() {
		for t := range w.s.Snapshot().Tasks(r.ID) {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		w.t.Skip("no tasks")
	}
	t := rapid.SampledFrom(tasks).Draw(w.t, "task")
	switch rapid.IntRange(0, 6).Draw(w.t, "what") {
	case 0:
		w.apply(rota.CancelRun{Run: t.ID.Run})
	case 1:
		w.apply(rota.CancelTask{Task: t.ID})
	default:
		for u := range w.s.Snapshot().Unresolved() {
			t = u
		}
		spec := w.spec()
		spec.Late = nil
		w.apply(
			rota.Answer{Task: t.ID, Rerun: rapid.Bool().Draw(w.t, "rerun")},
			rota.Resolve{Task: t.ID, Spec: spec, Skip: rapid.IntRange(0, 3).Draw(w.t, "skip") == 0},
		)
	}
}
