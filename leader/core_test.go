package leader_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/leader"
)

const term = 7

// world is a core with a state machine under it: a log that commits when it is
// told to.
type world struct {
	t        *testing.T
	cfg      leader.Config
	state    *fsm.State
	core     *leader.Core
	now      leader.Now
	proposed []leader.Propose
	answers  map[leader.Token]rota.Renewal
	pushed   map[leader.Token][]*rota.View
	closed   map[leader.Token]rota.Kind
	evaluate []*rota.Task
}

func newWorld(t *testing.T, prepare ...rota.Op) *world {
	t.Helper()
	w := &world{
		t: t, cfg: leader.DefaultConfig(rota.DefaultLeaseTimes()), state: fsm.New(),
		now: leader.Now{Mono: time.Hour, At: rota.InstantOf(time.Unix(1_800_000_000, 0))},
	}
	for _, op := range prepare {
		if r := w.raw(term-1, op); r.Kind != rota.KindNone {
			t.Fatalf("%T: %s %s", op, r.Kind, r.Detail)
		}
	}
	w.lead()
	return w
}

// lead begins a leadership on the state as it is.
func (w *world) lead() {
	w.answers, w.pushed, w.closed = map[leader.Token]rota.Renewal{}, map[leader.Token][]*rota.View{}, map[leader.Token]rota.Kind{}
	w.proposed, w.evaluate = nil, nil
	core, actions := leader.NewCore(w.cfg, leader.Start{ID: "me", Term: term, Snapshot: w.state.Snapshot()}, w.now)
	w.core = core
	w.take(actions)
}

func (w *world) take(actions []leader.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case leader.Propose:
			w.proposed = append(w.proposed, a)
		case leader.AnswerRenewal:
			w.answers[a.Token] = a.Renewal
		case leader.Push:
			w.pushed[a.Token] = append(w.pushed[a.Token], a.View)
		case leader.CloseStream:
			w.closed[a.Token] = a.Kind
		case leader.Evaluate:
			w.evaluate = append(w.evaluate, a.Task)
		}
	}
}

func (w *world) step(ev leader.Event) { w.take(w.core.Step(ev, w.now)) }

func (w *world) raw(term uint64, op rota.Op) rota.Result {
	results, changes := w.state.Apply(rota.Entry{Format: w.state.Format(), Term: term, At: w.now.At, Seed: 3, Commands: []rota.Command{{Op: op}}})
	if w.core != nil {
		w.step(leader.Applied{Applied: w.applied(term, changes)})
	}
	return results[0]
}

func (w *world) applied(term uint64, changes []rota.Change) rota.Applied {
	return rota.Applied{
		Index: w.state.Index(), Term: term, At: w.state.Now(), NextDue: w.state.NextDue(), Format: w.state.Format(), Changes: changes,
	}
}

// apply applies an operation that somebody else proposed through this leader.
func (w *world) apply(op rota.Op) rota.Result {
	w.t.Helper()
	r := w.raw(term, op)
	if r.Kind != rota.KindNone {
		w.t.Fatalf("%T: %s %s", op, r.Kind, r.Detail)
	}
	return r
}

// commit commits the oldest proposal and returns its operation.
func (w *world) commit() rota.Op {
	w.t.Helper()
	if len(w.proposed) == 0 {
		w.t.Fatal("nothing is proposed")
	}
	p := w.proposed[0]
	w.proposed = w.proposed[1:]
	r := w.raw(term, p.Op)
	w.step(leader.ProposalDone{Token: p.Token, Result: r})
	return p.Op
}

func (w *world) commitAll() {
	for len(w.proposed) > 0 {
		w.commit()
	}
}

func (w *world) pass(d time.Duration) {
	w.now.Mono += d
	w.now.At = w.now.At.Add(d)
	w.step(leader.Tick{})
}

// live lets time pass in small steps, committing everything at once.
func (w *world) live(d time.Duration) {
	const small = 10 * time.Millisecond
	for ; d >= small; d -= small {
		w.pass(small)
		w.commitAll()
	}
	w.pass(d)
	w.commitAll()
}

func (w *world) session(name string) rota.Session {
	w.t.Helper()
	n, ok := w.state.Snapshot().NodeByName(name)
	if !ok {
		w.t.Fatalf("no node %s", name)
	}
	return n.Session
}

func (w *world) node(name string) *rota.Node {
	w.t.Helper()
	n, ok := w.state.Snapshot().NodeByName(name)
	if !ok {
		w.t.Fatalf("no node %s", name)
	}
	return n
}

func proposals[T rota.Op](w *world) []T {
	var ops []T
	for _, p := range w.proposed {
		if op, ok := p.Op.(T); ok {
			ops = append(ops, op)
		}
	}
	return ops
}

func register(name string) rota.RegisterNode {
	return rota.RegisterNode{Boot: "boot", Info: rota.NodeInfo{
		ID: rota.NodeID("id-" + name), Name: name, Roles: []rota.Role{rota.RoleServer, rota.RoleWorker}, MaxFormat: 1,
		Drivers:  []rota.Driver{rota.DriverExec, rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 8 << 30, DiskBytes: 1 << 40, Slots: 64},
	}}
}

func submit(id string, specs ...*rota.TaskSpec) rota.SubmitRun {
	op := rota.SubmitRun{Run: rota.RunID("01J" + strings.Repeat("0", 19) + id + "00"), Job: "job", Hash: "h", Filename: "f.hcl", Source: []byte("x"), Total: len(specs), Specs: specs}
	for i := range specs {
		op.Tasks = append(op.Tasks, rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t%d", i)), Spec: i})
	}
	return op
}

func small() *rota.TaskSpec {
	return &rota.TaskSpec{Driver: rota.DriverExec, Command: []string{"true"}, Resources: rota.Resources{CPUMilli: 1000}, Retry: rota.Retry{MaxAttempts: 1}}
}

func TestRenewalsShareOneEntry(t *testing.T) {
	w := newWorld(t, register("a"), register("b"), register("c"))
	w.commitAll() // the leadership's first entry
	w.step(leader.RenewalAsked{Token: 1, Session: w.session("a")})
	w.pass(w.cfg.RenewEvery)
	w.commitAll()
	for i, name := range []string{"b", "c", "b"} {
		w.step(leader.RenewalAsked{Token: leader.Token(10 + i), Session: w.session(name)})
	}
	w.pass(w.cfg.RenewEvery - 1)
	if n := len(w.proposed); n != 0 {
		t.Fatalf("%d proposals before the entries' distance is over", n)
	}
	w.pass(1)
	ops := proposals[rota.RenewLeases](w)
	if len(ops) != 1 || !slices.Equal(ops[0].Sessions, []rota.Session{w.session("b"), w.session("c")}) {
		t.Fatalf("proposed %v, want one entry for b and c", ops)
	}
	w.commit()
	for _, token := range []leader.Token{10, 11, 12} {
		if r, ok := w.answers[token]; !ok || !r.Current || r.Term != term || r.Index != w.state.Index() {
			t.Errorf("answer %d is %+v", token, r)
		}
	}
}

func TestRenewalIsAnsweredOnlyAfterItsEntryWasApplied(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.pass(w.cfg.RenewEvery)
	w.commitAll()
	w.step(leader.RenewalAsked{Token: 1, Session: w.session("a")})
	w.pass(w.cfg.RenewEvery)
	p := w.proposed[0]
	if len(w.answers) != 0 {
		t.Fatal("answered before the commit")
	}
	// The result overtakes the entry's changes.
	results, changes := w.state.Apply(rota.Entry{Format: w.state.Format(), Term: term, At: w.now.At, Commands: []rota.Command{{Op: p.Op}}})
	w.step(leader.ProposalDone{Token: p.Token, Result: results[0]})
	if len(w.answers) != 0 {
		t.Fatal("answered before it is known whose renewal was applied")
	}
	w.step(leader.Applied{Applied: w.applied(term, changes)})
	if !w.answers[1].Current {
		t.Fatal("not answered after the commit")
	}
}

// A deposed leader never extends a lease. (Source: RELIABILITY.md, section 2, rule 1.)
func TestDeposedLeaderNeverAnswers(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.pass(w.cfg.RenewEvery)
	w.commitAll()
	w.step(leader.RenewalAsked{Token: 1, Session: w.session("a")})
	w.pass(w.cfg.RenewEvery)
	p := w.proposed[0]
	w.proposed = nil
	r := w.raw(term+1, p.Op) // the same words, another leader's entry
	w.step(leader.ProposalDone{Token: p.Token, Result: r})
	w.live(time.Minute)
	if len(w.answers)+len(w.proposed) != 0 || !w.core.Over() {
		t.Fatalf("a deposed leader answered %v and proposed %v", w.answers, w.proposed)
	}
	if _, wakes := w.core.NextWake(w.now); wakes {
		t.Error("a deposed leader wants to be woken")
	}
}

func TestRenewalOfASessionThatIsOverIsAnsweredSo(t *testing.T) {
	w := newWorld(t, register("a"))
	old := w.session("a")
	w.commitAll()
	w.apply(register("a")) // again: a new session
	w.step(leader.RenewalAsked{Token: 1, Session: old})
	w.step(leader.RenewalAsked{Token: 2, Session: w.session("a")})
	w.pass(w.cfg.RenewEvery)
	w.commitAll()
	if w.answers[1].Current || !w.answers[2].Current {
		t.Fatalf("answers: %+v", w.answers)
	}
	if _, ok := w.answers[1]; !ok {
		t.Fatal("no answer for the session that is over")
	}
}

// The node may have its session from the result before the leader saw the entry.
func TestRenewalMayOvertakeItsRegistration(t *testing.T) {
	w := newWorld(t)
	w.commitAll()
	results, changes := w.state.Apply(rota.Entry{Format: w.state.Format(), Term: term, At: w.now.At, Commands: []rota.Command{{Op: register("a")}}})
	applied := w.applied(term, changes)
	w.step(leader.StreamAttached{Token: 9, Session: results[0].Session})
	w.step(leader.RenewalAsked{Token: 1, Session: results[0].Session})
	w.pass(w.cfg.RenewEvery)
	w.step(leader.Applied{Applied: applied})
	w.commitAll()
	if !w.answers[1].Current {
		t.Fatalf("answer %+v", w.answers[1])
	}
	if len(w.pushed[9]) == 0 || !w.pushed[9][0].Full {
		t.Fatalf("stream: pushed %v, closed %v", w.pushed[9], w.closed)
	}
}

// The leader's TTL counts from the commit of the last renewal, to the nanosecond.
func TestSilentSessionEndsWhenTheLeadersTTLIsOver(t *testing.T) {
	w := newWorld(t, register("a"), register("b"))
	w.commitAll()
	a, b := w.session("a"), w.session("b")
	w.live(5 * time.Second)
	w.step(leader.RenewalAsked{Token: 1, Session: a})
	w.live(w.cfg.RenewEvery)
	renewed := w.now.Mono // a's commit, at most a few milliseconds ago
	if !w.answers[1].Current {
		t.Fatal("not renewed")
	}
	seen := w.node("a").RenewedIndex
	end := func(from time.Duration) time.Duration { return from + w.cfg.Times.LeaderTTL }
	for w.now.Mono < end(time.Hour)-time.Nanosecond {
		w.live(min(100*time.Millisecond, end(time.Hour)-time.Nanosecond-w.now.Mono))
	}
	if w.session("b") != b {
		t.Fatal("b ended early")
	}
	w.live(time.Nanosecond)
	if !w.session("b").IsZero() {
		t.Fatal("b did not end with its TTL")
	}
	if w.session("a") != a {
		t.Fatal("a ended with b")
	}
	for w.session("a") == a && w.now.Mono < renewed+time.Minute {
		w.pass(time.Millisecond)
		for _, op := range proposals[rota.ExpireSession](w) {
			if op.Session == a && op.Seen != seen {
				t.Errorf("the expiry has seen %d, the renewal was at %d", op.Seen, seen)
			}
		}
		w.commitAll()
	}
	if d := end(renewed) - w.now.Mono; d < 0 || d > 10*time.Millisecond {
		t.Fatalf("a ended %v before its TTL, counted from the end of the step that renewed it", d)
	}
}

func TestRenewalInTheLastMomentKeepsTheSession(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	a := w.session("a")
	w.live(w.cfg.Times.LeaderTTL - 300*time.Millisecond)
	w.step(leader.RenewalAsked{Token: 1, Session: a})
	for len(proposals[rota.RenewLeases](w)) == 0 || len(proposals[rota.RenewLeases](w)[0].Sessions) == 0 {
		w.pass(time.Millisecond)
		if ops := proposals[rota.RenewLeases](w); len(ops) > 0 && len(ops[0].Sessions) == 0 {
			w.commit()
		}
	}
	w.pass(600 * time.Millisecond)
	if len(proposals[rota.ExpireSession](w)) == 0 {
		t.Fatal("the leader does not think that the lease ran out")
	}
	// The expiry is proposed; the renewal is in front of it in the log.
	w.commitAll()
	if w.session("a") != a {
		t.Fatal("the expiry won over a renewal that was applied before it")
	}
	w.live(time.Second)
	if w.session("a") != a {
		t.Fatal("the session ended in spite of its renewal")
	}
}

// RELIABILITY.md, section 2, rule 7: nodes may have bridged the gap by themselves.
func TestGapInTheCommitsStartsEveryLeaseAgain(t *testing.T) {
	for _, tc := range []struct {
		name string
		stop time.Duration
		gap  bool
	}{
		{"a pause within the bound", 700 * time.Millisecond, false},
		{"a pause over the bound", 1100 * time.Millisecond, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, register("a"))
			w.commitAll()
			began := w.now.Mono
			w.live(8 * time.Second)
			w.pass(tc.stop) // nothing commits
			w.commitAll()
			resumed := w.now.Mono
			for !w.session("a").IsZero() && w.now.Mono < began+time.Minute {
				w.live(10 * time.Millisecond)
			}
			ended := w.now.Mono
			switch want := resumed + w.cfg.Times.LeaderTTL; {
			case tc.gap && (ended < want || ended > want+20*time.Millisecond):
				t.Errorf("ended %v after the gap, want the whole TTL %v", ended-resumed, w.cfg.Times.LeaderTTL)
			case !tc.gap && ended-began > w.cfg.Times.LeaderTTL+20*time.Millisecond:
				t.Errorf("ended %v after the start, want %v", ended-began, w.cfg.Times.LeaderTTL)
			}
		})
	}
}

func TestLeaderThatCannotCommitEndsNothing(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.pass(w.cfg.Times.LeaderTTL - time.Second)
	w.commitAll()
	for range 10_000 {
		w.pass(10 * time.Millisecond)
		if ops := proposals[rota.ExpireSession](w); len(ops) > 0 {
			t.Fatalf("proposed %v without a commit", ops)
		}
	}
}

func TestChangeOfMembershipCountsAsGap(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.live(8 * time.Second)
	w.step(leader.Applied{Applied: rota.Applied{Index: w.state.Index(), Term: term, At: w.state.Now(), Format: 1, Configuration: true}})
	changed := w.now.Mono
	for !w.session("a").IsZero() && w.now.Mono < changed+time.Minute {
		w.live(10 * time.Millisecond)
	}
	if d := w.now.Mono - changed - w.cfg.Times.LeaderTTL; d < 0 || d > 20*time.Millisecond {
		t.Errorf("ended %v after the whole TTL from the change", d)
	}
}

// RELIABILITY.md, section 2, rule 4: a new leader counts from its own beginning.
func TestNewLeaderStartsEveryLeaseAgain(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.live(9 * time.Second)
	w.lead()
	began := w.now.Mono
	w.pass(300 * time.Millisecond) // its first entry takes a while
	w.commitAll()
	first := w.now.Mono
	for !w.session("a").IsZero() && w.now.Mono < began+time.Minute {
		w.live(10 * time.Millisecond)
	}
	if d := w.now.Mono - first - w.cfg.Times.LeaderTTL; d < 0 || d > 20*time.Millisecond {
		t.Errorf("ended %v after the whole TTL from the first entry's commit", d)
	}
}

func TestLeasesKeepTheLogMoving(t *testing.T) {
	w := newWorld(t)
	w.commitAll()
	w.live(10 * time.Second)
	idle := w.state.Index()
	if idle > 1 {
		t.Fatalf("%d entries without a lease", idle)
	}
	w.apply(register("a"))
	from := w.state.Index()
	w.live(5 * time.Second)
	if n := w.state.Index() - from; n < 18 || n > 21 {
		t.Errorf("%d entries in 5 s, want one per quarter of a gap", n)
	}
}

func TestFailedProposalIsTriedAgainAndItsNodesStillWait(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.step(leader.RenewalAsked{Token: 1, Session: w.session("a")})
	w.pass(w.cfg.RenewEvery)
	p := w.proposed[0]
	w.proposed = nil
	w.step(leader.ProposalDone{Token: p.Token, Failed: true})
	if len(w.answers) != 0 {
		t.Fatal("answered although nothing was committed")
	}
	w.live(w.cfg.RenewEvery)
	if !w.answers[1].Current {
		t.Fatal("not answered by the next entry")
	}
}

func TestGossipOnlyMarks(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	a := w.session("a")
	w.step(leader.Gossip{Node: "id-a", Suspect: true})
	w.step(leader.Gossip{Node: "nobody", Suspect: true})
	w.commitAll()
	if n := w.node("a"); !n.Suspect || n.Session != a {
		t.Fatalf("node %+v, want suspect with its session", n)
	}
	index := w.state.Index()
	w.live(200 * time.Millisecond)
	if d := w.state.Index() - index; d > 1 {
		t.Errorf("%d entries for a hint that was heard", d)
	}
	w.step(leader.Gossip{Node: "id-a", Suspect: false})
	w.commitAll()
	if w.node("a").Suspect {
		t.Fatal("still suspect")
	}
}

func TestHintThatChangesWhileItsMarkIsOnItsWayIsNotLost(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.step(leader.Gossip{Node: "id-a", Suspect: true})
	w.step(leader.Gossip{Node: "id-a", Suspect: false})
	w.commitAll()
	if w.node("a").Suspect {
		t.Fatal("the mark stayed")
	}
}

func TestQueuedTasksArePlacedWithoutPolling(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", small(), small(), small(), small(), small(), small()))
	ops := proposals[rota.Place](w)
	if len(ops) != 1 || len(ops[0].Placements) != 4 {
		t.Fatalf("proposed %v, want the four that fit in one operation", ops)
	}
	w.commitAll()
	if c := w.state.Counts(); c[rota.StatusAssigned] != 4 || c[rota.StatusQueued] != 2 {
		t.Fatalf("counts %v", c)
	}
	w.endOne()
	w.commitAll()
	if c := w.state.Counts(); c[rota.StatusAssigned] != 4 || c[rota.StatusQueued] != 1 || c[rota.StatusDelivered] != 1 {
		t.Fatalf("counts after one ended: %v", c)
	}
}

// endOne ends the first hold's attempt well.
func (w *world) endOne() {
	for h := range w.state.Snapshot().AllHolds() {
		w.apply(rota.Report{Session: h.Session, Items: []rota.ReportItem{{Task: h.Task, Fence: h.Fence, Started: true, Outcome: &rota.Outcome{}, Released: true}}})
		return
	}
}

func TestRefusedPlacementIsDecidedAgain(t *testing.T) {
	w := newWorld(t, register("a"), register("b"))
	w.commitAll()
	w.apply(submit("A1", small()))
	w.apply(register("a")) // the session that the placement names is over
	first := proposals[rota.Place](w)[0].Placements[0]
	w.commitAll()
	task, _ := w.state.Snapshot().Task(first.Task)
	if task.Status != rota.StatusAssigned || task.Placement.Session == first.Session {
		t.Fatalf("task %s, placement %+v", task.Status, task.Placement)
	}
}

func TestFailedPlacementsAreDecidedAgain(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", small()))
	p := w.proposed[0]
	w.proposed = nil
	w.step(leader.ProposalDone{Token: p.Token, Failed: true})
	if len(proposals[rota.Place](w)) != 0 {
		t.Fatal("proposed again without a pause")
	}
	w.live(time.Second)
	if c := w.state.Counts(); c[rota.StatusAssigned] != 1 {
		t.Fatalf("counts %v", c)
	}
}

func TestStreamBeginsFullAndFollowsTheLog(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", small(), small()))
	w.commitAll()
	w.step(leader.StreamAttached{Token: 1, Session: w.session("a")})
	full := w.pushed[1][0]
	if !full.Full || len(full.Start) != 2 || len(full.Stop) != 0 || full.Index != w.state.Index() || full.Term != term {
		t.Fatalf("first view %+v", full)
	}
	if a := full.Start[0]; a.Job != "job" || a.Spec == nil || a.Fence.Attempt() != 1 || a.IdempotencyKey != a.Task.String() {
		t.Errorf("assignment %+v", a)
	}
	w.apply(submit("A2", small()))
	w.commitAll()
	w.apply(rota.CancelTask{Task: full.Start[0].Task, Reason: "no"})
	w.apply(rota.Report{Session: w.session("a"), Items: []rota.ReportItem{{Task: full.Start[1].Task, Fence: full.Start[1].Fence, Outcome: &rota.Outcome{}, Released: true}}})
	views := w.pushed[1][1:]
	if len(views) != 2 || len(views[0].Start) != 1 || views[0].Full || len(views[1].Stop) != 1 || views[0].Index >= views[1].Index {
		t.Fatalf("views %+v, want one start, then one stop", views)
	}
	if s := views[1].Stop[0]; s.Task != full.Start[0].Task || s.Cause != rota.CauseCancelled {
		t.Errorf("stop %+v", s)
	}
	// A stream that begins now hears of the stop again: its room is still held.
	w.step(leader.StreamAttached{Token: 2, Session: w.session("a")})
	again := w.pushed[2][0]
	if len(again.Start) != 1 || len(again.Stop) != 1 {
		t.Fatalf("second full view %+v", again)
	}
	if w.closed[1] != rota.KindConflict {
		t.Errorf("the older stream was closed with %v", w.closed[1])
	}
}

func TestNewLeaderTellsTheSameAsTheOld(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", small(), small()))
	w.commitAll()
	for h := range w.state.Snapshot().AllHolds() {
		w.apply(rota.CancelTask{Task: h.Task})
		break
	}
	w.step(leader.StreamAttached{Token: 1, Session: w.session("a")})
	old := fmt.Sprintf("%+v", w.pushed[1][0])
	w.lead()
	w.step(leader.StreamAttached{Token: 1, Session: w.session("a")})
	if fresh := fmt.Sprintf("%+v", w.pushed[1][0]); fresh != old {
		t.Errorf("old leader: %s\nnew leader: %s", old, fresh)
	}
}

func TestStreamOfASessionThatIsOverIsClosed(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	old := w.session("a")
	w.step(leader.StreamAttached{Token: 1, Session: old})
	w.apply(register("a"))
	w.step(leader.StreamAttached{Token: 2, Session: old})
	w.step(leader.StreamAttached{Token: 3, Session: rota.Session{}})
	w.step(leader.StreamAttached{Token: 4, Session: rota.Session{Node: "unknown", Boot: "b", Counter: 1}})
	if w.closed[1] != rota.KindStale || w.closed[2] != rota.KindStale {
		t.Fatalf("closed %v", w.closed)
	}
	if len(w.pushed[3])+len(w.pushed[4]) != 0 {
		t.Fatal("views for nobody")
	}
}

func TestDueTimersFire(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	spec := small()
	spec.Retry = rota.Retry{MaxAttempts: 2, Backoff: rota.BackoffFixed, Initial: 30 * time.Second}
	w.apply(submit("A1", spec))
	w.commitAll()
	for h := range w.state.Snapshot().AllHolds() {
		w.apply(rota.Report{Session: h.Session, Items: []rota.ReportItem{{Task: h.Task, Fence: h.Fence, Outcome: &rota.Outcome{Cause: rota.CauseExitNonzero}, Released: true}}})
	}
	failed := w.now.Mono
	for w.state.Counts()[rota.StatusRetrying] == 1 && w.now.Mono < failed+time.Hour {
		wake, ok := w.core.NextWake(w.now)
		if !ok || wake < w.now.Mono {
			t.Fatalf("wakes at %v, %v; now is %v", wake, ok, w.now.Mono)
		}
		for _, s := range []string{"a"} { // it stays alive
			w.step(leader.RenewalAsked{Token: 1, Session: w.session(s)})
		}
		w.pass(wake - w.now.Mono)
		w.commitAll()
	}
	if d := w.now.Mono - failed; d < 30*time.Second || d > 30*time.Second+time.Millisecond {
		t.Fatalf("retried after %v", d)
	}
}

func late() *rota.TaskSpec {
	s := small()
	s.Late = []string{"command"}
	return s
}

func TestLateExpressionsAreEvaluatedFourAtATime(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", late(), late(), late(), late(), late(), late()))
	if len(w.evaluate) != 4 {
		t.Fatalf("%d evaluations at once", len(w.evaluate))
	}
	w.step(leader.Evaluated{Task: w.evaluate[0].ID, Resolve: rota.Resolve{Spec: small()}})
	w.step(leader.Evaluated{Task: w.evaluate[1].ID, Resolve: rota.Resolve{Failure: "f.hcl:3:4: no such thing"}})
	w.step(leader.Evaluated{Task: w.evaluate[2].ID, Failed: true})
	if len(w.evaluate) != 6 {
		t.Fatalf("%d evaluations asked for, want all six", len(w.evaluate))
	}
	w.commitAll()
	if c := w.state.Counts(); c[rota.StatusAssigned] != 1 || c[rota.StatusDeadLettered] != 1 {
		t.Fatalf("counts %v", c)
	}
	dead, _ := w.state.Snapshot().Task(w.evaluate[1].ID)
	if dead.Cause != rota.CauseExpression || dead.Message != "f.hcl:3:4: no such thing" {
		t.Errorf("dead letter: %s %q", dead.Cause, dead.Message)
	}
	w.live(2 * time.Second)
	if len(w.evaluate) != 7 || w.evaluate[6].ID != w.evaluate[2].ID {
		t.Errorf("the evaluation that could not be tried was not tried again: %d", len(w.evaluate))
	}
}

func TestExpressionsWaitForDependencies(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	op := submit("A1", small(), late())
	op.Tasks[1].DependsOn = []rota.Edge{{On: "t0"}}
	w.apply(op)
	w.commitAll()
	if len(w.evaluate) != 0 {
		t.Fatal("evaluated before its dependency ended")
	}
	w.endOne()
	if len(w.evaluate) != 1 {
		t.Fatal("not evaluated after its dependency ended")
	}
	w.lead()
	if len(w.evaluate) != 1 {
		t.Fatal("the next leader does not know of it")
	}
}

func TestTaskThatIsNotWantedAnyMoreIsNotResolved(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", late()))
	id := w.evaluate[0].ID
	w.apply(rota.CancelTask{Task: id})
	w.step(leader.Evaluated{Task: id, Resolve: rota.Resolve{Spec: small()}})
	if ops := proposals[rota.Resolve](w); len(ops) != 0 {
		t.Fatalf("proposed %v", ops)
	}
}

func TestRefusedSpecBecomesADeadLetter(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", late()))
	w.step(leader.Evaluated{Task: w.evaluate[0].ID, Resolve: rota.Resolve{Spec: late()}}) // still late
	w.commitAll()
	task, _ := w.state.Snapshot().Task(w.evaluate[0].ID)
	if task.Status != rota.StatusDeadLettered || task.Cause != rota.CauseExpression {
		t.Fatalf("task is %s, cause %s", task.Status, task.Cause)
	}
}

func TestFormatRisesWhenEveryReplicaCanFollow(t *testing.T) {
	newer := register("b")
	newer.Info.MaxFormat = 2
	w := newWorld(t, register("a"), newer)
	w.commitAll()
	w.step(leader.Replicas{IDs: []rota.NodeID{"id-a", "id-b"}})
	if ops := proposals[rota.RaiseFormat](w); len(ops) != 0 {
		t.Fatalf("proposed %v although a cannot read it", ops)
	}
	w.step(leader.Replicas{IDs: []rota.NodeID{"id-b", "id-c"}})
	if ops := proposals[rota.RaiseFormat](w); len(ops) != 0 {
		t.Fatalf("proposed %v although c has not said what it can read", ops)
	}
	w.step(leader.Replicas{IDs: []rota.NodeID{"id-b"}})
	if ops := proposals[rota.RaiseFormat](w); len(ops) != 1 || ops[0].Format != 2 {
		t.Fatalf("proposed %v", ops)
	}
}

// A node that was upgraded and kept its session did not register again: what its process
// says counts.
func TestFormatRisesByWhatTheProcessesSay(t *testing.T) {
	w := newWorld(t, register("a"), register("b"))
	w.commitAll()
	w.step(leader.Replicas{IDs: []rota.NodeID{"id-a", "id-b", "id-server-only"}, Format: 2})
	if ops := proposals[rota.RaiseFormat](w); len(ops) != 1 || ops[0].Format != 2 {
		t.Fatalf("proposed %v", ops)
	}
}

// A refusal may overtake the changes of the entry that refused it.
func TestRefusalIsJudgedByTheRecordsAfterIt(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	w.apply(submit("A1", small()))
	p := w.proposed[0]
	w.proposed = nil
	// The node begins a new session; of that entry, and of the one that refuses the
	// placement, the core hears only afterwards.
	entry := func(op rota.Op) (rota.Result, rota.Applied) {
		results, changes := w.state.Apply(rota.Entry{Format: w.state.Format(), Term: term, At: w.now.At, Commands: []rota.Command{{Op: op}}})
		return results[0], w.applied(term, changes)
	}
	_, registered := entry(register("a"))
	refused, placed := entry(p.Op)
	w.step(leader.ProposalDone{Token: p.Token, Result: refused})
	w.step(leader.Applied{Applied: registered})
	w.step(leader.Applied{Applied: placed})
	w.commitAll()
	if c := w.state.Counts(); c[rota.StatusAssigned] != 1 {
		t.Fatalf("counts %v: the task waits for a change that was there before", c)
	}
}

// What the state machine is due to do may turn out to be nothing.
func TestDueThatDoesNothingIsNotRepeatedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.commitAll()
	due := func() int { return len(proposals[rota.Due](w)) }
	stuck := func() {
		w.step(leader.Applied{Applied: rota.Applied{Index: w.state.Index(), Term: term, At: w.state.Now(), NextDue: w.now.At - 1, Format: 1}})
	}
	stuck()
	if due() != 1 {
		t.Fatalf("%d proposals", due())
	}
	for _, p := range w.proposed {
		w.step(leader.ProposalDone{Token: p.Token, Result: rota.Result{Index: w.state.Index()}})
	}
	w.proposed = nil
	stuck()
	if due() != 0 {
		t.Fatal("proposed again in the same moment")
	}
	if wake, ok := w.core.NextWake(w.now); !ok || wake <= w.now.Mono {
		t.Fatalf("wakes at %v, %v; now is %v", wake, ok, w.now.Mono)
	}
	w.pass(w.cfg.CoolDown)
	if due() != 1 {
		t.Fatalf("%d proposals after the pause", due())
	}
}

// A node may register again and listen before the leader saw the new session.
func TestStreamMayOvertakeTheNextRegistration(t *testing.T) {
	w := newWorld(t, register("a"))
	w.commitAll()
	results, changes := w.state.Apply(rota.Entry{Format: w.state.Format(), Term: term, At: w.now.At, Commands: []rota.Command{{Op: register("a")}}})
	w.step(leader.StreamAttached{Token: 5, Session: results[0].Session})
	if _, closed := w.closed[5]; closed || len(w.pushed[5]) != 0 {
		t.Fatalf("closed %v, pushed %v before the session was seen", w.closed, w.pushed[5])
	}
	w.step(leader.Applied{Applied: w.applied(term, changes)})
	if len(w.pushed[5]) != 1 || !w.pushed[5][0].Full {
		t.Fatalf("pushed %v", w.pushed[5])
	}
}
