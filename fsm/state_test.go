package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

func noop() *rota.TaskSpec { return &rota.TaskSpec{Driver: rota.DriverNoop} }

// submission is a run of n tasks without dependencies.
func submission(run string, n int) rota.SubmitRun {
	op := rota.SubmitRun{Run: rota.RunID(run), Job: "job", Hash: "h", Source: []byte("x"), Total: n}
	if n > 0 {
		op.Specs = []*rota.TaskSpec{noop()}
	}
	for i := range n {
		op.Tasks = append(op.Tasks, rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t%05d", i))})
	}
	return op
}

func do(s *State, op rota.Op) rota.Result {
	results, _ := s.Apply(rota.Entry{Format: s.Format(), At: s.Now() + 1, Commands: []rota.Command{{Op: op, RequestID: "", Namespace: "team"}}})
	return results[0]
}

// TestLimitsAreNamedAndKept: what is over a limit is refused, changes nothing, and
// says which limit it was. (DESIGN.md, section 12.)
func TestLimitsAreNamedAndKept(t *testing.T) {
	wide := submission("R2", 3000)
	var all []rota.Edge
	for i := range 1000 {
		all = append(all, rota.Edge{On: rota.TaskKey(fmt.Sprintf("t%05d", i))})
	}
	for i := 1000; i < 3000; i++ {
		wide.Tasks[i].DependsOn = all
	}
	tooWide := wide
	tooWide.Tasks = append([]rota.NewTask(nil), wide.Tasks...)
	tooWide.Tasks[999].DependsOn = all[:500]
	for _, c := range []struct {
		name   string
		limits func(*Limits)
		op     func(op *rota.SubmitRun)
		kind   rota.Kind
		words  string
	}{
		{"live tasks", func(l *Limits) { l.MaxLiveTasks = 12 }, nil, rota.KindOverloaded, "live tasks of the cluster"},
		{"live tasks just fit", func(l *Limits) { l.MaxLiveTasks = 13 }, nil, rota.KindNone, ""},
		{"outputs", func(l *Limits) { l.MaxOutput = 2 }, nil, rota.KindOverloaded, "inline outputs of the cluster"},
		{"under way", func(l *Limits) { l.MaxPendingTasks = 5 }, func(op *rota.SubmitRun) { op.Total = 6 }, rota.KindOverloaded, "submissions under way"},
		{"keys", func(l *Limits) { l.MaxRequests = 0 }, nil, rota.KindOverloaded, "idempotency keys"},
		{"source", nil, func(op *rota.SubmitRun) { op.Source = make([]byte, 1<<20+1) }, rota.KindTooLarge, "bytes of source"},
		{"files", nil, func(op *rota.SubmitRun) { op.Files = []rota.File{{Path: "a", Data: make([]byte, 1<<20)}} }, rota.KindTooLarge, "bytes of files"},
		{"spec", nil, func(op *rota.SubmitRun) { op.Specs[0].Input = make([]byte, 600<<10) }, rota.KindTooLarge, "bytes of a task's values"},
		{"edges fit", nil, func(op *rota.SubmitRun) { *op = wide }, rota.KindNone, ""},
		{"edges", nil, func(op *rota.SubmitRun) { *op = tooWide }, rota.KindTooLarge, "edges of a run"},
		{"priority", nil, func(op *rota.SubmitRun) { op.Priority = 101 }, rota.KindInvalid, "0..100"},
		{"duration", nil, func(op *rota.SubmitRun) { op.Specs[0].Timeouts.ScheduleToStart = 1<<63 - 1 }, rota.KindInvalid, "timeout"},
		{"memory", nil, func(op *rota.SubmitRun) { op.Specs[0].Resources.MemoryBytes = -1 }, rota.KindInvalid, "resource"},
		{"no spec", nil, func(op *rota.SubmitRun) { op.Tasks[0].Spec = 1 }, rota.KindInvalid, "spec 1 of 1"},
		{"nil spec", nil, func(op *rota.SubmitRun) { op.Specs[0] = nil }, rota.KindInvalid, "missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := DefaultLimits()
			if c.limits != nil {
				c.limits(&l)
			}
			s := NewWith(l)
			if r := do(s, submission("R1", 10)); r.Kind != rota.KindNone && c.name != "keys" {
				t.Fatal(r)
			}
			s.output = 3 // as if three bytes of outputs were kept
			op := submission("R2", 3)
			if c.op != nil {
				c.op(&op)
			}
			before := s.sum
			r := do(s, op)
			if r.Kind != c.kind || !strings.Contains(r.Detail, c.words) {
				t.Fatalf("%s: %s", r.Kind, r.Detail)
			}
			if refused := c.kind != rota.KindNone; refused != (s.sum == before) {
				t.Errorf("refused %t, and the records changed: %t", refused, s.sum != before)
			}
		})
	}
}

// TestNewerFormatHaltsAndSkipsNothing: a replica that meets what it cannot apply
// stops; an entry applied all the same changes nothing.
func TestNewerFormatHaltsAndSkipsNothing(t *testing.T) {
	l := DefaultLimits()
	l.MaxFormat = 2
	s := NewWith(l)
	before := s.Digest()
	for name, e := range map[string]rota.Entry{
		"written under a newer format":   {Format: 2, Commands: []rota.Command{{Op: submission("R1", 1)}}},
		"raises beyond what is known":    {Format: 1, Commands: []rota.Command{{Op: rota.RaiseFormat{Format: 3}}}},
		"raises beyond, in second place": {Format: 1, Commands: []rota.Command{{Op: submission("R1", 1)}, {Op: rota.RaiseFormat{Format: 9}}}},
	} {
		if err := s.CanApply(&e); !errors.Is(err, ErrHalt) {
			t.Errorf("%s: %v", name, err)
		}
		results, changes := s.Apply(e)
		if len(results) != len(e.Commands) || results[0].Kind != rota.KindFormat || len(changes) > 0 || s.Digest() != before {
			t.Errorf("%s: %+v, %d changes", name, results, len(changes))
		}
	}
	if r := do(s, rota.RaiseFormat{Format: 2}); r.Kind != rota.KindNone || s.Format() != 2 {
		t.Fatalf("%+v, format %d", r, s.Format())
	}
	if r := do(s, rota.RaiseFormat{Format: 1}); r.Kind != rota.KindNone || s.Format() != 2 {
		t.Errorf("a format went back to %d", s.Format())
	}
	var buf bytes.Buffer
	if err := s.Snapshot().Encode(&buf); err != nil {
		t.Fatal(err)
	}
	l.MaxFormat = 1
	if _, err := RestoreWith(&buf, l); !errors.Is(err, ErrHalt) {
		t.Errorf("a binary of format 1 restores a state of format 2: %v", err)
	}
}

// TestAppliedTwiceIsRefused: an entry with an index that was applied changes nothing.
func TestAppliedTwiceIsRefused(t *testing.T) {
	s := New()
	e := rota.Entry{Format: 1, Index: 5, At: 100, Commands: []rota.Command{{Op: submission("R1", 1)}}}
	s.Apply(e)
	before := s.Digest()
	results, changes := s.Apply(e)
	if results[0].Kind != rota.KindStale || len(changes) > 0 || s.Digest() != before || s.Index() != 5 {
		t.Fatalf("%+v, %d changes, index %d", results, len(changes), s.Index())
	}
	// Time never goes back.
	s.Apply(rota.Entry{Format: 1, Index: 9, At: 50})
	if s.Now() != 100 || s.Index() != 9 {
		t.Errorf("now %d, index %d", s.Now(), s.Index())
	}
}

// TestSnapshotStaysAsItWas: readers of a snapshot see nothing of what is applied
// later. Run with the race detector.
func TestSnapshotStaysAsItWas(t *testing.T) {
	s := busyState()
	var wg sync.WaitGroup
	for i := range 50 {
		sn := s.Snapshot()
		digest := sn.Digest()
		var before bytes.Buffer
		if err := sn.Encode(&before); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			var after bytes.Buffer
			if err := sn.Encode(&after); err != nil {
				t.Error(err)
			}
			if sn.Digest() != digest || !bytes.Equal(before.Bytes(), after.Bytes()) {
				t.Error("a snapshot changed")
			}
			for r := range sn.Runs() {
				for task := range sn.Tasks(r.ID) {
					if _, ok := sn.Task(task.ID); !ok {
						t.Errorf("task %s is gone", task.ID)
					}
				}
			}
		})
		do(s, submission(fmt.Sprintf("X%d", i), 20))
		for task := range s.Snapshot().Queued() {
			do(s, rota.Place{Placements: []rota.NewPlacement{{Task: task.ID, Session: rota.Session{Node: "n1", Boot: "b", Counter: 1}}}})
		}
		if i%5 == 0 {
			do(s, rota.CancelRun{Run: rota.RunID(fmt.Sprintf("X%d", i))})
		}
	}
	wg.Wait()
}

// TestReadersFindTheirWay: prefixes, names, pages, dependents.
func TestReadersFindTheirWay(t *testing.T) {
	s := busyState()
	do(s, submission("R10", 5))
	do(s, submission("S1", 1))
	sn := s.Snapshot()
	for prefix, want := range map[string]int{"": 2, "R": 2, "R1": 2, "R10": 1, "S": 1, "T": 0, "S12": 0} {
		if got := sn.RunByPrefix(prefix); len(got) != want {
			t.Errorf("prefix %q finds %d runs, want %d", prefix, len(got), want)
		}
	}
	var ids []string
	for r := range sn.RunsOfNamespace("team") {
		ids = append(ids, string(r.ID))
	}
	if got := strings.Join(ids, " "); got != "S1 R10 R3 R1" {
		t.Errorf("runs %s", got)
	}
	if _, ok := sn.Run("R2"); ok {
		t.Error("a submission under way is visible")
	}
	if _, ok := sn.Task(rota.TaskID{Run: "R2", Key: "a"}); ok {
		t.Error("a task of a submission under way is visible")
	}
	var keys []string
	for task := range sn.TaskAt("R10", 3) {
		keys = append(keys, string(task.ID.Key))
	}
	if got := strings.Join(keys, " "); got != "t00003 t00004" {
		t.Errorf("tasks %s", got)
	}
	for d := range sn.Dependents(rota.TaskID{Run: "R1", Key: "a"}) {
		if d.ID.Key != "d" {
			t.Errorf("%s depends on a", d.ID.Key)
		}
	}
	if n, ok := sn.NodeByName("n2"); !ok || n.State() != rota.NodeLeft {
		t.Errorf("node n2: %t %+v", ok, n)
	}
	do(s, rota.RenewLeases{Sessions: []rota.Session{{Node: "n1", Boot: "b", Counter: 1}}})
	if n, ok := s.Snapshot().NodeByName("n1"); !ok || n.RenewedIndex != s.Index() {
		t.Errorf("node n1 renewed at %d, index %d", n.RenewedIndex, s.Index())
	}
	if v, ok := sn.VersionByHash("team", "job", "h"); !ok || v.Version != 1 {
		t.Errorf("version of h: %t %+v", ok, v)
	}
}

// TestLongChainsCascade: ten thousand tasks in a row are skipped in one entry,
// without a stack as deep.
func TestLongChainsCascade(t *testing.T) {
	s := New()
	op := submission("R1", rota.MaxTasksPerRun)
	for i := 1; i < len(op.Tasks); i++ {
		op.Tasks[i].DependsOn = []rota.Edge{{On: op.Tasks[i-1].Key}}
	}
	do(s, op)
	do(s, rota.CancelTask{Task: rota.TaskID{Run: "R1", Key: "t00000"}})
	r, ok := s.Snapshot().Run("R1")
	if !ok || r.Status != rota.RunCancelled || r.Counts[rota.StatusSkipped] != rota.MaxTasksPerRun-1 {
		t.Fatalf("%t %+v", ok, r)
	}
	checkState(t, s)
}

// TestWideJoinIsNotQuadraticInBytes: a fan-in of ten thousand counts down without
// hashing its ten thousand edges each time.
func TestWideJoinIsNotQuadraticInBytes(t *testing.T) {
	s := New()
	op := submission("R1", rota.MaxTasksPerRun)
	last := &op.Tasks[len(op.Tasks)-1]
	for i := range len(op.Tasks) - 1 {
		last.DependsOn = append(last.DependsOn, rota.Edge{On: op.Tasks[i].Key, Kind: rota.EdgeAny})
	}
	do(s, op)
	for i := range len(op.Tasks) - 1 {
		do(s, rota.CancelTask{Task: rota.TaskID{Run: "R1", Key: op.Tasks[i].Key}})
	}
	if n := s.queued.Len(); n != 1 || len(s.w.buf) > 2<<20 {
		t.Errorf("%d queued", n)
	}
}

// TestHashTellsRecordsApart: every bit counts, and about half of the digest
// follows.
func TestHashTellsRecordsApart(t *testing.T) {
	base := make([]byte, 67)
	for i := range base {
		base[i] = byte(i * 37)
	}
	h := hash(kindTask, base)
	for i := range len(base) * 8 {
		b := bytes.Clone(base)
		b[i/8] ^= 1 << (i % 8)
		o := hash(kindTask, b)
		if n := bits.OnesCount64(h.hi^o.hi) + bits.OnesCount64(h.lo^o.lo); n < 30 || n > 98 {
			t.Errorf("bit %d changes %d of 128 bits", i, n)
		}
	}
	seen := map[Digest]string{}
	note := func(what string, d Digest) {
		if was, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", was, what)
		}
		seen[d] = what
	}
	for n := range 70 { // zeros of every length, as every kind
		for kind := kindMeta; kind <= kindEnd; kind++ {
			note(fmt.Sprintf("kind %d, %d zeros", kind, n), hash(kind, make([]byte, n)))
		}
	}
	for i := range 100_000 {
		note(fmt.Sprint(i), hash(kindTask, []byte(fmt.Sprintf("task %d", i))))
	}
	a, b := hash(kindTask, []byte("a")), hash(kindTask, []byte("b"))
	if a.join(b) == b.join(a) || a.add(b).sub(b) != a || (Digest{}).sub(a).add(a) != (Digest{}) {
		t.Error("joining, adding and taking away are not what they should be")
	}
}

// TestDelayIsDrawnNotGuessed: equal tasks retry at different moments, and every
// replica at the same.
func TestDelayIsDrawnNotGuessed(t *testing.T) {
	spread := map[uint64]bool{}
	for i := range 1000 {
		key := fmt.Sprintf("t%d", i)
		d := draw(42, "R1", key, 1)
		if d != draw(42, "R1", key, 1) {
			t.Fatal("the draw is not a function of what it is for")
		}
		spread[d%100] = true
	}
	if len(spread) < 95 || draw(1, "R", "a", 1) == draw(2, "R", "a", 1) || draw(1, "R", "a", 1) == draw(1, "R", "a", 2) || draw(1, "R", "ab", 1) == draw(1, "Ra", "b", 1) {
		t.Errorf("%d of 100 hundredths were drawn", len(spread))
	}
}

// TestThrottledTaskGivesUpAfterADay: an overloaded provider costs 24 hours at most.
func TestThrottledTaskGivesUpAfterADay(t *testing.T) {
	s := New()
	for _, e := range busyLog()[:1] {
		s.Apply(e)
	}
	do(s, submission("T", 1))
	id := rota.TaskID{Run: "T", Key: "t00000"}
	session := rota.Session{Node: "n1", Boot: "b", Counter: 1}
	begin := s.Now()
	for fence := rota.Fence(1); ; fence++ {
		do(s, rota.Place{Placements: []rota.NewPlacement{{Task: id, Session: session}}})
		do(s, rota.Report{Session: session, Items: []rota.ReportItem{{Task: id, Fence: fence, Started: true, Outcome: &rota.Outcome{Cause: rota.CauseOverloaded}, Released: true}}})
		task, _ := s.Snapshot().Task(id)
		if task.Status == rota.StatusDeadLettered {
			if span := s.Now().Sub(begin); span < 23*time.Hour || span > 25*time.Hour || task.AttemptsUsed != 0 || !strings.Contains(task.Message, "24h") {
				t.Errorf("after %s, %d attempts used: %s", span, task.AttemptsUsed, task.Message)
			}
			if len(task.Attempts) != rota.MaxAttemptsKept {
				t.Errorf("%d attempts remembered", len(task.Attempts))
			}
			break
		}
		if task.Status != rota.StatusRetrying || fence > 2000 {
			t.Fatalf("attempt %d: %s", fence, task.Status)
		}
		s.Apply(rota.Entry{Format: 1, At: task.DueAt, Commands: []rota.Command{{Op: rota.Due{}}}})
	}
	checkState(t, s)
	roundTrip(t, s)
}
