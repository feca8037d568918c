package fsm

import (
	"bytes"
	"reflect"
	"strconv"
	"testing"

	"github.com/rota-sched/rota"
)

// filler gives every field of a value a content of its own, so that a field which
// an encoder forgets is missed.
type filler struct{ n int }

func (f *filler) fill(tb testing.TB, v reflect.Value) {
	tb.Helper()
	f.n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text-" + strconv.Itoa(f.n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n*1_000_003) - 5_000_000)
	case reflect.Uint64:
		v.SetUint(uint64(f.n) << 33)
	case reflect.Uint16:
		v.SetUint(uint64(f.n*7) + 300)
	case reflect.Uint8: // enumerations
		v.SetUint(uint64(f.n%2) + 1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(tb, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(tb, v.Index(0))
		f.fill(tb, v.Index(1))
	case reflect.Array:
		for i := range v.Len() {
			f.fill(tb, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(tb, v.Field(i))
			}
		}
	default:
		tb.Fatalf("no content for %s", v.Type())
	}
}

func filled[T any](tb testing.TB) T {
	tb.Helper()
	var v T
	(&filler{}).fill(tb, reflect.ValueOf(&v).Elem())
	return v
}

// everyOp is one of each operation, with every field set.
func everyOp(tb testing.TB) []rota.Op {
	tb.Helper()
	return []rota.Op{
		filled[rota.RaiseFormat](tb), filled[rota.RegisterNode](tb), filled[rota.RenewLeases](tb), filled[rota.ExpireSession](tb),
		filled[rota.MarkNode](tb), filled[rota.MarkUnfit](tb), filled[rota.SubmitRun](tb), filled[rota.AddTasks](tb), filled[rota.Resolve](tb), filled[rota.Place](tb),
		filled[rota.Report](tb),
		rota.Due{},
		filled[rota.CancelRun](tb), filled[rota.CancelTask](tb), filled[rota.Answer](tb),
		filled[rota.StoreJob](tb), filled[rota.MarkJob](tb),
	}
}

// TestEveryFieldTravels: what a leader writes is what a replica reads, whole.
func TestEveryFieldTravels(t *testing.T) {
	e := rota.Entry{Format: 3, Term: 1 << 40, At: 12345, Seed: 1<<64 - 1}
	for _, op := range everyOp(t) {
		c := rota.Command{RequestID: "key", Namespace: "team", Principal: "someone", Shard: 9, Op: op}
		e.Commands = append(e.Commands, c)
		got, err := DecodeCommand(AppendCommand(nil, &c))
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%T: %v\nwant %+v\ngot  %+v", op, err, c, got)
		}
	}
	b := AppendEntry(nil, &e)
	got, err := DecodeEntry(b)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("entry: %v\nwant %+v\ngot  %+v", err, e, got)
	}
	if !bytes.Equal(AppendEntry(nil, &got), b) {
		t.Error("an entry encodes differently the second time")
	}
	result := filled[rota.Result](t)
	result.At = 0 // the entry's: it travels beside the results
	if got, err := DecodeResult(AppendResult(nil, &result)); err != nil || !reflect.DeepEqual(got, result) {
		t.Errorf("result: %v\nwant %+v\ngot  %+v", err, result, got)
	}
	view := filled[rota.View](t)
	if got, err := DecodeView(AppendView(nil, &view)); err != nil || !reflect.DeepEqual(got, view) {
		t.Errorf("view: %v\nwant %+v\ngot  %+v", err, view, got)
	}
}

// TestEmptyAndMissingListsDiffer: "retry on nothing" is not "retry on everything".
func TestEmptyAndMissingListsDiffer(t *testing.T) {
	for _, on := range [][]rota.Cause{nil, {}, {rota.CauseOOM}} {
		spec := &rota.TaskSpec{Retry: rota.Retry{On: on}}
		r := &reader{b: appendSpec(nil, spec)}
		if got := r.spec(); r.end() != nil || !reflect.DeepEqual(got, spec) {
			t.Errorf("on %v came back as %v, %v", on, got.Retry.On, r.err)
		}
	}
}

// TestEveryFieldOfARecordIsKept: what a snapshot leaves out, a restored replica
// has lost, and what the digest leaves out may differ unseen.
func TestEveryFieldOfARecordIsKept(t *testing.T) {
	want := &task{run: 7, specAt: ownSpec, gaveUp: rota.CauseOOM, retryAt: 99, endings: []ending{{attempt: 3, outcome: 4}}}
	(&filler{}).fill(t, reflect.ValueOf(&want.Task).Elem())
	want.mishaps = &mishaps{nodeLost: 1, preempted: 2, throttled: 3, waited: 4, givenBack: 5, poison: []rota.NodeID{"n"}}
	want.Placement.Node = want.Placement.Session.Node
	r := &reader{b: appendTaskMoving(appendTaskFixed(nil, want), want)}
	got := &task{Task: rota.Task{ID: want.ID, Namespace: want.Namespace}}
	r.taskFixed(got)
	r.taskMoving(got)
	got.Placement.Task, got.Placement.Fence = want.Placement.Task, want.Placement.Fence // restore fills them in
	if err := r.end(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("task: %v\nwant %+v\ngot  %+v", err, want, got)
	}

	wantRun := &run{number: 5, output: 6, cancelled: true}
	(&filler{}).fill(t, reflect.ValueOf(&wantRun.Run).Elem())
	r = &reader{b: appendRunMoving(appendUint(appendRunFixed(nil, &wantRun.Run), wantRun.number), wantRun)}
	gotRun := &run{}
	r.runFixed(&gotRun.Run)
	gotRun.number = r.uint()
	r.runMoving(gotRun)
	if err := r.end(); err != nil || !reflect.DeepEqual(gotRun, wantRun) {
		t.Errorf("run: %v\nwant %+v\ngot  %+v", err, wantRun, gotRun)
	}

	wantNode := &node{Node: filled[rota.Node](t)}
	r = &reader{b: appendNodeMoving(appendNodeInfo(nil, &wantNode.NodeInfo), wantNode)}
	gotNode := &node{Node: rota.Node{NodeInfo: r.nodeInfo()}}
	r.nodeMoving(gotNode)
	if err := r.end(); err != nil || !reflect.DeepEqual(gotNode, wantNode) {
		t.Errorf("node: %v\nwant %+v\ngot  %+v", err, wantNode, gotNode)
	}

	hold := filled[rota.Hold](t)
	r = &reader{b: appendHold(nil, &hold)}
	if got := r.hold(); r.end() != nil || !reflect.DeepEqual(got, hold) {
		t.Errorf("hold: %v\nwant %+v\ngot  %+v", r.err, hold, got)
	}
	version := filled[rota.JobVersion](t)
	r = &reader{b: appendVersion(nil, &version)}
	if got := r.version(); r.end() != nil || !reflect.DeepEqual(got, version) {
		t.Errorf("version: %v\nwant %+v\ngot  %+v", r.err, version, got)
	}
	request := requestItem{&request{key: requestKey{"a", "b", "c"}, serial: 1, digest: "d", run: "r", number: 2, at: 3}}
	r = &reader{b: appendRequest(nil, request.rec)}
	if got := r.request(); r.end() != nil || !reflect.DeepEqual(got, request) {
		t.Errorf("request: %v\nwant %+v\ngot  %+v", r.err, request, got)
	}
	m := meta{index: 1, now: 2, format: 3, incarnation: 4, serial: 5, sessions: 6, usage: rota.Usage{Cost: 7, TokensIn: 8, TokensOut: 9}}
	r = &reader{b: appendMeta(nil, &m)}
	if got := r.meta(); r.end() != nil || got != m {
		t.Errorf("meta: %v\nwant %+v\ngot  %+v", r.err, m, got)
	}
}

// TestForeignOperationIsRefusedNotFatal: an operation that the encoder does not
// know must not become an entry that stops every replica.
func TestForeignOperationIsRefusedNotFatal(t *testing.T) {
	for _, op := range []rota.Op{nil, &rota.Due{}, &rota.Place{}} {
		e := rota.Entry{Format: 1, Commands: []rota.Command{{Op: op}, {Op: rota.Due{}}}}
		got, err := DecodeEntry(AppendEntry(nil, &e))
		if err != nil {
			t.Fatalf("%T: %v", op, err)
		}
		results, _ := New().Apply(got)
		if results[0].Kind != rota.KindInvalid || results[1].Kind != rota.KindNone {
			t.Errorf("%T: results %+v", op, results)
		}
	}
}

// TestTornBytesAreRefused: every prefix of an entry is an error, and none a panic.
func TestTornBytesAreRefused(t *testing.T) {
	e := rota.Entry{Format: 1}
	for _, op := range everyOp(t) {
		e.Commands = append(e.Commands, rota.Command{Op: op})
	}
	b := AppendEntry(nil, &e)
	for n := range b {
		if _, err := DecodeEntry(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes decode", n, len(b))
		}
	}
	if _, err := DecodeEntry(append(b, 0)); err == nil {
		t.Fatal("a byte too many is not noticed")
	}
}

// TestAnEntryOfEncodedCommandsIsTheSameEntry: whoever puts an entry together writes what
// encoding it as a whole would.
func TestAnEntryOfEncodedCommandsIsTheSameEntry(t *testing.T) {
	e := rota.Entry{Format: 2, Term: 7, At: 11, Seed: 13, Commands: []rota.Command{
		{RequestID: "k", Namespace: "n", Principal: "p", Op: rota.CancelRun{Run: "r", Reason: "why"}},
		{Op: rota.Due{}},
		{Shard: 3, Op: filled[rota.SubmitRun](t)},
	}}
	var raws [][]byte
	for i := range e.Commands {
		raws = append(raws, AppendCommand(nil, &e.Commands[i]))
	}
	if got, want := AppendEntryOf(nil, &e, raws), AppendEntry(nil, &e); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	if got := AppendEntryOf([]byte{1}, &rota.Entry{}, nil); !bytes.Equal(got[1:], AppendEntry(nil, &rota.Entry{})) {
		t.Errorf("an empty entry is %v", got)
	}
}
