package fsm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
)

// gpuRun is a submission of n tasks that ask for GPU, each in its own way.
func gpuRun(i, n int) rota.SubmitRun {
	op := benchSubmit(i, n)
	op.Specs = nil
	for k := range n {
		x := i*n + k
		r := rota.Resources{CPUMilli: int64(x%37+1) * 1000, MemoryBytes: int64(x) << 20, GPU: rota.GPUDemand{Count: 1, ShareMilli: int64(x % 7 * 100)}}
		op.Specs = append(op.Specs, &rota.TaskSpec{Driver: rota.DriverNoop, Resources: r, Retry: rota.Retry{MaxAttempts: 1}})
		op.Tasks[k].Spec = k
	}
	return op
}

func mustDo(t *testing.T, s *State, op rota.Op) []rota.Change {
	t.Helper()
	results, changes := s.Apply(rota.Entry{Format: 1, Term: 1, At: s.Now() + 1, Commands: []rota.Command{{Namespace: "default", Op: op}}})
	if results[0].Kind != rota.KindNone {
		t.Fatal(results[0])
	}
	return changes
}

// TestWorkIsLearnedFromTheFormatOn: what arrives is counted from the entry that raised
// the format, so that a replica of an older build, which halts there, never differs.
func TestWorkIsLearnedFromTheFormatOn(t *testing.T) {
	l := DefaultLimits()
	l.MaxFormat = rota.FormatArrivals - 1
	older, newer := NewWith(l), New()
	for _, s := range []*State{older, newer} {
		mustDo(t, s, rota.RaiseFormat{Format: rota.FormatArrivals - 1})
		mustDo(t, s, gpuRun(1, 100))
	}
	if older.Digest() != newer.Digest() || newer.arrivals.Total() != 0 {
		t.Fatalf("digests %s and %s before the format, %d arrivals", older.Digest(), newer.Digest(), newer.arrivals.Total())
	}
	mustDo(t, newer, rota.RaiseFormat{Format: rota.FormatArrivals})
	known := 0
	for _, c := range mustDo(t, newer, gpuRun(2, 100)) {
		if c.Type == rota.ChangeKnown && len(c.Known) > 0 {
			known++
		}
	}
	if n := newer.arrivals.Total(); n != 100 || known != 1 || len(newer.Snapshot().Known()) == 0 {
		t.Errorf("%d arrivals counted, %d times known", n, known)
	}
	mustDo(t, newer, benchSubmit(3, 100))
	if n := newer.arrivals.Total(); n != 100 {
		t.Errorf("%d arrivals counted, those without GPU too", n)
	}
}

// TestWhatWasLearnedOutlivesSnapshots: a state that was written down and read again
// at any moment counts on like one that was not, and a snapshot stays what it was.
func TestWhatWasLearnedOutlivesSnapshots(t *testing.T) {
	a, b := New(), New()
	for _, s := range []*State{a, b} {
		mustDo(t, s, rota.RaiseFormat{Format: rota.FormatArrivals})
	}
	for i := range 60 {
		early := a.Snapshot()
		before := early.Digest()
		op := gpuRun(i, 10+i)
		mustDo(t, a, op)
		mustDo(t, b, op)
		if i%3 == 0 {
			b = roundTrip(t, b)
		}
		if a.Digest() != b.Digest() {
			t.Fatalf("after %d submissions %d arrivals give %s, read again %s", i+1, a.arrivals.Total(), a.Digest(), b.Digest())
		}
		var buf bytes.Buffer
		if err := early.Encode(&buf); err != nil {
			t.Fatal(err)
		}
		if back, err := Restore(&buf); err != nil || back.Digest() != before {
			t.Fatalf("an older snapshot changed: %v", err)
		}
	}
	if a.arrivals.Settled < 2*rota.ArrivalsPerTurn {
		t.Fatalf("%d arrivals", a.arrivals.Total())
	}
}

// TestLearningIsBounded: neither many kinds of demands nor long ones make it large.
func TestLearningIsBounded(t *testing.T) {
	s := New()
	s.meta.format = rota.FormatArrivals
	for i := range 100_000 {
		spec := &rota.TaskSpec{Resources: rota.Resources{CPUMilli: int64(i), GPU: rota.GPUDemand{Count: 1 + i%8, Model: fmt.Sprint("m", i)}}}
		if i%10 == 0 {
			spec.Resources.GPU.Model = strings.Repeat("x", 1<<10) + fmt.Sprint(i)
		}
		s.w.changes = s.w.changes[:0]
		s.arrived(spec)
	}
	if b := appendArrivals(nil, &s.arrivals); len(b) > 128<<10 {
		t.Errorf("%d bytes", len(b))
	}
	if a := &s.arrivals; len(a.Counted) > rota.MaxShapes || len(a.Known) > rota.ArrivalsPerTurn/2 || a.Total() != 90_000 {
		t.Errorf("%d counted, %d known, of %d", len(a.Counted), len(a.Known), a.Total())
	}
}

// BenchmarkApplySubmitGPU is BenchmarkApplySubmit with tasks that are counted and,
// first, with the same that are not.
func BenchmarkApplySubmitGPU(b *testing.B) {
	for _, format := range []uint16{1, rota.FormatArrivals} {
		b.Run(fmt.Sprint("format=", format), func(b *testing.B) {
			s := benchState(b)
			benchApply(b, s, rota.RaiseFormat{Format: format})
			ops := make([]rota.Op, b.N)
			for i := range ops {
				op := gpuRun(i, 1)
				op.Specs[0].Retry = rota.Retry{MaxAttempts: 3}
				ops[i] = op
			}
			b.ReportAllocs()
			b.ResetTimer()
			for at := 0; at < b.N; at += benchBatch {
				benchApply(b, s, ops[at:min(at+benchBatch, b.N)]...)
			}
		})
	}
}
