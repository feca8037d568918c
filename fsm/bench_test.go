package fsm

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

var benchSession = rota.Session{Node: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Boot: "boot", Counter: 1}

func benchState(b *testing.B) *State {
	b.Helper()
	l := DefaultLimits()
	l.MaxLiveTasks, l.KeepRunsCount, l.KeepTasksCount = 1<<30, 1<<30, 1<<30
	s := NewWith(l)
	info := rota.NodeInfo{
		ID: benchSession.Node, Name: "n1", Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 1 << 40, MemoryBytes: 1 << 50, Slots: 1 << 40},
	}
	benchApply(b, s, rota.RegisterNode{Info: info, Boot: "boot"})
	return s
}

func benchApply(b *testing.B, s *State, ops ...rota.Op) {
	b.Helper()
	e := rota.Entry{Format: 1, Term: 1, At: s.Now() + 1}
	for _, op := range ops {
		e.Commands = append(e.Commands, rota.Command{Namespace: "default", Op: op})
	}
	results, _ := s.Apply(e)
	for i := range results {
		if results[i].Kind != rota.KindNone {
			b.Fatal(results[i])
		}
		for _, k := range results[i].Items {
			if k != rota.KindNone {
				b.Fatal(k)
			}
		}
	}
}

func benchRun(i int) rota.RunID { return rota.RunID(fmt.Sprintf("01JD%020d00", i)) }

// benchSubmit gives the submission of a run of n independent tasks.
func benchSubmit(i, n int) rota.SubmitRun {
	spec := &rota.TaskSpec{
		Driver: rota.DriverNoop, Priority: 50, Command: []string{"true"}, Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 64 << 20},
		Retry: rota.Retry{MaxAttempts: 3, Backoff: rota.BackoffExponential, Initial: time.Second, Max: time.Minute, MultiplierMilli: 2000, Jitter: true},
	}
	op := rota.SubmitRun{Run: benchRun(i), Job: "bench", Hash: "hash", Source: []byte("source"), Total: n, Specs: []*rota.TaskSpec{spec}}
	for t := range n {
		op.Tasks = append(op.Tasks, rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("work[%d]", t))})
	}
	return op
}

func benchTask(i int) rota.TaskID {
	return rota.TaskID{Run: benchRun(i / 100), Key: rota.TaskKey(fmt.Sprintf("work[%d]", i%100))}
}

// fill submits runs of 100 tasks until there are n tasks.
func benchFill(b *testing.B, s *State, n int) {
	b.Helper()
	for i := range (n + 99) / 100 {
		benchApply(b, s, benchSubmit(i, 100))
	}
}

const benchBatch = 64

func BenchmarkApplySubmit(b *testing.B) {
	s := benchState(b)
	ops := make([]rota.Op, b.N)
	for i := range ops {
		ops[i] = benchSubmit(i, 1)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; at += benchBatch {
		benchApply(b, s, ops[at:min(at+benchBatch, b.N)]...)
	}
}

func benchPlacements(n int) []rota.NewPlacement {
	list := make([]rota.NewPlacement, n)
	for i := range list {
		list[i] = rota.NewPlacement{Task: benchTask(i), Session: benchSession}
	}
	return list
}

func BenchmarkApplyPlace(b *testing.B) {
	s := benchState(b)
	benchFill(b, s, b.N)
	list := benchPlacements(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; at += benchBatch {
		benchApply(b, s, rota.Place{Placements: list[at:min(at+benchBatch, b.N)]})
	}
}

func benchReport(i int) rota.ReportItem {
	return rota.ReportItem{Task: benchTask(i), Fence: 1, Started: true, Outcome: &rota.Outcome{Ran: time.Millisecond}, Released: true}
}

func BenchmarkApplyStartFinish(b *testing.B) {
	s := benchState(b)
	benchFill(b, s, b.N)
	list := benchPlacements(b.N)
	for at := 0; at < b.N; at += benchBatch {
		benchApply(b, s, rota.Place{Placements: list[at:min(at+benchBatch, b.N)]})
	}
	items := make([]rota.ReportItem, b.N)
	for i := range items {
		items[i] = benchReport(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; at += benchBatch {
		benchApply(b, s, rota.Report{Session: benchSession, Items: items[at:min(at+benchBatch, b.N)]})
	}
}

// BenchmarkApplyFollowed is BenchmarkApplyStartFinish with a snapshot kept after
// every entry, as a serving node does.
func BenchmarkApplyFollowed(b *testing.B) {
	s := benchState(b)
	benchFill(b, s, b.N)
	list := benchPlacements(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	var last *Snapshot
	for at := 0; at < b.N; at += benchBatch {
		benchApply(b, s, rota.Place{Placements: list[at:min(at+benchBatch, b.N)]})
		last = s.Snapshot()
	}
	runtime.KeepAlive(last)
}

func BenchmarkApplyRenew(b *testing.B) {
	s := benchState(b)
	op := rota.RenewLeases{Sessions: []rota.Session{benchSession}}
	b.ReportAllocs()
	for b.Loop() {
		benchApply(b, s, op)
	}
}

func BenchmarkEncodeCommand(b *testing.B) {
	c := rota.Command{Namespace: "default", Op: rota.Report{Session: benchSession, Items: []rota.ReportItem{benchReport(7)}}}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendCommand(buf[:0], &c)
	}
}

func BenchmarkDecodeCommand(b *testing.B) {
	c := rota.Command{Namespace: "default", Op: rota.Report{Session: benchSession, Items: []rota.ReportItem{benchReport(7)}}}
	buf := AppendCommand(nil, &c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeCommand(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeEntry decodes batches as they come from the log: time per item.
func BenchmarkDecodeEntry(b *testing.B) {
	var op rota.Report
	op.Session = benchSession
	for i := range benchBatch {
		op.Items = append(op.Items, benchReport(i))
	}
	buf := AppendEntry(nil, &rota.Entry{Format: 1, Commands: []rota.Command{{Namespace: "default", Op: op}}})
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; at += benchBatch {
		if _, err := DecodeEntry(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := benchState(b)
	benchFill(b, s, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		s.Snapshot()
	}
}

func BenchmarkEncodeSnapshot(b *testing.B) {
	s := benchState(b)
	benchFill(b, s, 100_000)
	var size bytes.Buffer
	if err := s.Snapshot().Encode(&size); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size.Len()))
	for b.Loop() {
		if err := s.Snapshot().Encode(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	s := benchState(b)
	benchFill(b, s, 100_000)
	var buf bytes.Buffer
	if err := s.Snapshot().Encode(&buf); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(buf.Len()))
	for b.Loop() {
		if _, err := Restore(bytes.NewReader(buf.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBytesPerTask reports the heap that a queued task of a run of 100 takes.
func BenchmarkBytesPerTask(b *testing.B) {
	const tasks = 200_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := benchState(b)
		benchFill(b, s, tasks)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/tasks, "B/task")
		runtime.KeepAlive(s)
	}
}
