package fsm

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
)

func wishing() []*rota.TaskSpec {
	c := func(attribute string, op rota.Operator, value string) []rota.Constraint {
		return []rota.Constraint{{Attribute: attribute, Operator: op, Values: []string{value}}}
	}
	plain := func() *rota.TaskSpec {
		return &rota.TaskSpec{Driver: rota.DriverNoop, Retry: rota.Retry{MaxAttempts: 1}}
	}
	list := []*rota.TaskSpec{plain(), plain(), plain(), plain(), plain()}
	list[0].DistinctHosts = true
	list[1].Affinities = []rota.Affinity{{Constraint: c("label.a", rota.OpEqual, "b")[0], Weight: -7}}
	list[2].Spreads = []rota.Spread{{Attribute: "label.rack", Weight: 5}}
	list[3].Constraints = c("node.kernel", rota.OpVersion, "> 5")
	list[4].Constraints = c("gpu.count", rota.OpEqual, "0")
	return list
}

func wishRun(n int, spec *rota.TaskSpec, keys ...rota.TaskKey) rota.SubmitRun {
	op := benchSubmit(n, len(keys))
	op.Specs = []*rota.TaskSpec{spec}
	for i, key := range keys {
		op.Tasks[i] = rota.NewTask{Key: key}
	}
	return op
}

// olderSpec reads a spec as a build does that does not know rota.FormatPlacement.
func olderSpec(b []byte) (*rota.TaskSpec, int) {
	r := &reader{b: b}
	s := r.plainSpec()
	return s, len(r.b)
}

// TestWishesAreRefusedUntilAllReplicasKnowThem, and what an older build makes of such a
// spec is a refusal, too, so that states never differ.
func TestWishesAreRefusedUntilAllReplicasKnowThem(t *testing.T) {
	for i, spec := range wishing() {
		s := New()
		mustDo(t, s, rota.RaiseFormat{Format: rota.FormatPlacement - 1})
		before := s.Snapshot().Counts()
		results, _ := s.Apply(rota.Entry{Format: 1, Commands: []rota.Command{{Op: wishRun(i, spec, "t")}}})
		if results[0].Kind != rota.KindFormat || s.Snapshot().Counts() != before {
			t.Errorf("spec %d: %v %s", i, results[0].Kind, results[0].Detail)
		}
		older, left := olderSpec(appendSpec(nil, spec))
		if kind, detail := s.checkSpec(older); left != 0 || kind != rota.KindInvalid || !strings.Contains(detail, "not built yet") {
			t.Errorf("spec %d: an older build leaves %d bytes and says %v %s", i, left, kind, detail)
		}
		mustDo(t, s, rota.RaiseFormat{Format: rota.FormatPlacement})
		mustDo(t, s, wishRun(i, spec, "t"))
		roundTrip(t, s)
		checkState(t, s)
	}
}

// TestSpecsWithoutWishesAreWrittenAsBefore: logs and snapshots of older builds are read,
// and theirs read these.
func TestSpecsWithoutWishesAreWrittenAsBefore(t *testing.T) {
	spec := filled[rota.TaskSpec](t)
	spec.Affinities, spec.Spreads, spec.DistinctHosts = nil, nil, false
	b := appendSpec(nil, &spec)
	older, left := olderSpec(b)
	if left != 0 || !reflect.DeepEqual(older, &spec) {
		t.Errorf("%d bytes left, read as %+v", left, older)
	}
	for _, spec := range wishing() {
		r := &reader{b: appendSpec(nil, spec)}
		if got := r.spec(); r.end() != nil || !reflect.DeepEqual(got, spec) {
			t.Errorf("%+v came back as %+v, %v", spec, got, r.err)
		}
	}
	spec.Driver += modernMark
	r := &reader{b: appendSpec(nil, &spec)}
	if r.spec(); r.err == nil {
		t.Error("a mark on a spec that needs none was read")
	}
}

func TestHostileWishesAreRefused(t *testing.T) {
	s := New()
	mustDo(t, s, rota.RaiseFormat{Format: rota.FormatPlacement})
	pattern := rota.Constraint{Attribute: "node.name", Operator: rota.OpRegexp, Values: []string{"("}}
	affinity := func(a string, weight int) rota.Affinity {
		return rota.Affinity{Constraint: rota.Constraint{Attribute: a, Operator: rota.OpEqual, Values: []string{"x"}}, Weight: weight}
	}
	for i, spec := range []rota.TaskSpec{
		{Constraints: []rota.Constraint{pattern}},
		{Affinities: []rota.Affinity{{Constraint: pattern, Weight: 1}}},
		{Affinities: []rota.Affinity{affinity("label.x", 0)}},
		{Affinities: []rota.Affinity{affinity("label.x", 1<<40)}},
		{Affinities: []rota.Affinity{affinity("moon", 1)}},
		{Affinities: make([]rota.Affinity, rota.MaxAffinities+1)},
		{Spreads: []rota.Spread{{Attribute: "gpu.model", Weight: 1}}},
		{Spreads: []rota.Spread{{Attribute: "label.x", Weight: -1}}},
		{Spreads: make([]rota.Spread, rota.MaxSpreads+1)},
	} {
		spec.Driver = rota.DriverNoop
		results, _ := s.Apply(rota.Entry{Format: 1, Commands: []rota.Command{{Op: wishRun(i, &spec, "t")}}})
		if results[0].Kind != rota.KindInvalid {
			t.Errorf("spec %d: %v %s", i, results[0].Kind, results[0].Detail)
		}
	}
}

// TestDistinctHostsHoldWhoeverProposes: a second task of the run and label is not
// granted on a node, one of another label or run is.
func TestDistinctHostsHoldWhoeverProposes(t *testing.T) {
	s := New()
	info := rota.NodeInfo{ID: "n", Name: "n", Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop}, Capacity: rota.Capacity{Slots: 100}}
	mustDo(t, s, rota.RaiseFormat{Format: rota.FormatPlacement})
	mustDo(t, s, rota.RegisterNode{Info: info, Boot: "b"})
	session := rota.Session{Node: "n", Boot: "b", Counter: 1}
	spec := wishing()[0]
	first, second := wishRun(1, spec, "t[a]", "t[b]", "tt", "s"), wishRun(2, spec, "t[a]")
	mustDo(t, s, first)
	mustDo(t, s, second)
	place := func(run rota.RunID, key rota.TaskKey) rota.Kind {
		results, _ := s.Apply(rota.Entry{Format: 1, Commands: []rota.Command{{Op: rota.Place{Placements: []rota.NewPlacement{{Task: rota.TaskID{Run: run, Key: key}, Session: session}}}}}})
		return results[0].Items[0]
	}
	for _, tc := range []struct {
		run  rota.RunID
		key  rota.TaskKey
		want rota.Kind
	}{{first.Run, "t[a]", rota.KindNone}, {first.Run, "t[b]", rota.KindNoFit}, {first.Run, "s", rota.KindNone}, {first.Run, "tt", rota.KindNone}, {second.Run, "t[a]", rota.KindNone}} {
		if got := place(tc.run, tc.key); got != tc.want {
			t.Errorf("%s/%s: %v, want %v", tc.run, tc.key, got, tc.want)
		}
	}
	fence := rota.NewFence(s.Incarnation(), 1)
	mustDo(t, s, rota.Report{Session: session, Items: []rota.ReportItem{{Task: rota.TaskID{Run: first.Run, Key: "t[a]"}, Fence: fence, Started: true, Outcome: &rota.Outcome{}, Released: true}}})
	if got := place(first.Run, "t[b]"); got != rota.KindNone {
		t.Errorf("after the room was given back: %v", got)
	}
	checkState(t, s)
}
