package rota_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"pgregory.net/rapid"
)

// TestKeysSurviveTheWire: what MakeKey writes, ParseKey reads back, whatever the
// values hold. (Source: JOBSPEC.md, section 3.)
func TestKeysSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.StringN(0, 8, 16), 0, 3).Draw(t, "values")
		key, err := rota.MakeKey("task_1", values...)
		if err != nil {
			if !strings.Contains(err.Error(), "limit") {
				t.Fatalf("MakeKey(%q): %v", values, err)
			}
			return
		}
		label, got, err := rota.ParseKey(string(key))
		if err != nil {
			t.Fatalf("ParseKey(%q): %v", key, err)
		}
		if label != "task_1" || fmt.Sprint(got) != fmt.Sprint(values) || len(got) != len(values) {
			t.Fatalf("ParseKey(%q) = %q %q, want %q", key, label, got, values)
		}
	})
}

func TestKeysHaveOneSpelling(t *testing.T) {
	for _, bad := range []string{"", "a[", "a[b", "a[b]c", "a[%41]", "a[%4]", "a[%zz]", "a[b c]", "1a", "a b", "a[x,y", "a]b", strings.Repeat("k", 129)} {
		if _, _, err := rota.ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) accepts it", bad)
		}
	}
	for in, want := range map[string]string{"a b": "t[a%20b]", "1,2": "t[1%2C2]", "é": "t[é]", "": "t[]", "\xff": "t[%FF]", "a]b": "t[a%5Db]"} {
		if got, err := rota.MakeKey("t", in); err != nil || string(got) != want {
			t.Errorf("MakeKey(t, %q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestFencesGrowAndStayExactInJSON(t *testing.T) {
	f := rota.NewFence(3, 1<<47+9)
	b, err := json.Marshal(f)
	if err != nil || string(b) != `"985162418487305"` {
		t.Fatalf("%s, %v", b, err)
	}
	var back rota.Fence
	if err := json.Unmarshal(b, &back); err != nil || back != f || back.Attempt() != 1<<47+9 || back.Incarnation() != 3 {
		t.Fatalf("read back %d: incarnation %d attempt %d, %v", back, back.Incarnation(), back.Attempt(), err)
	}
	if rota.NewFence(2, rota.MaxAttempt) >= rota.NewFence(3, 1) {
		t.Error("a fence of the next incarnation is not above every fence before")
	}
}

func TestMoneyIsWrittenAsPeopleDo(t *testing.T) {
	for m, want := range map[rota.MicroUSD]string{0: "$0.00", 1_200_000: "$1.20", 150: "$0.00015", -3_000_000: "-$3.00", 1: "$0.000001", math.MinInt64: "-$9223372036854.775808"} {
		if got := m.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(m), got, want)
		}
	}
}

func TestAnInstantNotReachedIsNull(t *testing.T) {
	b, err := json.Marshal([]rota.Instant{0, rota.InstantOf(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))})
	if err != nil || string(b) != `[null,"2026-01-02T03:04:05.000000006Z"]` {
		t.Fatalf("%s, %v", b, err)
	}
	var back []rota.Instant
	if err := json.Unmarshal(b, &back); err != nil || back[0] != 0 || back[1].Time().Nanosecond() != 6 {
		t.Fatalf("read back %v, %v", back, err)
	}
}

// TestWordsOnTheWireRoundTrip: every status, cause and kind reads back from its
// own word, and no two share one.
func TestWordsOnTheWireRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range rota.Statuses {
		var back rota.Status
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s || seen[s.String()] {
			t.Errorf("status %v: %v, %v", s, back, err)
		}
		seen[s.String()] = true
	}
	for _, c := range rota.Causes {
		if back, err := rota.ParseCause(c.String()); err != nil || back != c {
			t.Errorf("cause %v: %v, %v", c, back, err)
		}
	}
	if _, err := rota.ParseCause("tired"); err == nil {
		t.Error("an unknown cause is accepted")
	}
}

func TestARefusalKeepsItsKindThroughWrapping(t *testing.T) {
	result := rota.Result{Kind: rota.KindConflict, Detail: "node name taken"}
	err := fmt.Errorf("register: %w", result.Err())
	if !errors.Is(err, rota.ErrConflict) || rota.KindOf(err) != rota.KindConflict || !strings.Contains(err.Error(), "taken") {
		t.Fatalf("%v is of kind %v", err, rota.KindOf(err))
	}
	if (&rota.Result{}).Err() != nil || rota.KindOf(errors.New("other")) != rota.KindNone {
		t.Error("done is not an error")
	}
}

// TestRetryDelayGrowsIsCappedAndJittersInItsUpperHalf. (Source: JOBSPEC.md,
// section 2, Defaults.)
func TestRetryDelayGrowsIsCappedAndJittersInItsUpperHalf(t *testing.T) {
	r := rota.Retry{Backoff: rota.BackoffExponential, Initial: time.Second, Max: time.Minute, MultiplierMilli: 2000}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := r.Delay(n, 7); got != want {
			t.Errorf("delay after failure %d is %v, want %v", n, got, want)
		}
	}
	r.Jitter = true
	rapid.Check(t, func(t *rapid.T) {
		d := r.Delay(3, rapid.Uint64().Draw(t, "draw"))
		if d < 2*time.Second || d > 4*time.Second {
			t.Fatalf("jittered delay %v is outside 2s..4s", d)
		}
	})
	huge := rota.Retry{Backoff: rota.BackoffExponential, Initial: time.Hour, MultiplierMilli: 1 << 40}
	if d := huge.Delay(50, 0); d <= 0 {
		t.Errorf("an unbounded delay overflows to %v", d)
	}
}

// TestLeaseTimesKeepTheInequality. (Source: RELIABILITY.md, section 2.)
func TestLeaseTimesKeepTheInequality(t *testing.T) {
	for name, times := range map[string]rota.LeaseTimes{"default": rota.DefaultLeaseTimes(), "fast": rota.FastLeaseTimes()} {
		if err := times.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		equal := times
		equal.LeaderTTL = equal.TTL
		if equal.Check() == nil {
			t.Errorf("%s: equal TTLs on both sides are accepted", name)
		}
		slow := times
		slow.Kill = slow.TTL
		if slow.Check() == nil {
			t.Errorf("%s: a kill time as long as the TTL is accepted", name)
		}
	}
}

func gpuNode() *rota.Node {
	return &rota.Node{
		NodeInfo: rota.NodeInfo{
			ID: "n", Name: "n1", Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverExec}, Capabilities: []string{"web"},
			Labels: rota.PairsOf(map[string]string{"rack": "a", "zone": "9"}), OS: "linux",
			Capacity: rota.Capacity{CPUMilli: 4000, MemoryBytes: 8 << 30, Slots: 2, GPUs: []rota.GPU{
				{ID: "g0", Model: "NVIDIA H100 80GB HBM3", MemoryBytes: 81_559 << 20}, {ID: "g1", Model: "NVIDIA A10", MemoryBytes: 24 << 30},
			}},
		},
		Session: rota.Session{Node: "n", Boot: "b", Counter: 1},
	}
}

// TestFitsIsTheOneRuleOfAdmission walks every way in which a task can miss.
func TestFitsIsTheOneRuleOfAdmission(t *testing.T) {
	h100 := rota.GPUDemand{Count: 1, Model: "h100", MemoryBytes: 80 << 30}
	share := rota.GPUDemand{Count: 1, ShareMilli: 400}
	tests := []struct {
		name   string
		node   func(*rota.Node)
		held   rota.Held
		spec   rota.TaskSpec
		grants []rota.GPUGrant
		want   rota.Misfit
	}{
		{name: "plain", want: rota.MisfitNone},
		{name: "server only", node: func(n *rota.Node) { n.Roles = []rota.Role{rota.RoleServer} }, want: rota.MisfitRole},
		{name: "draining", node: func(n *rota.Node) { n.Draining = true }, want: rota.MisfitState},
		{name: "suspect", node: func(n *rota.Node) { n.Suspect = true }, want: rota.MisfitState},
		{name: "down", node: func(n *rota.Node) { n.Session = rota.Session{} }, want: rota.MisfitState},
		{name: "driver", spec: rota.TaskSpec{Driver: rota.DriverNoop}, want: rota.MisfitDriver},
		{name: "capability", spec: rota.TaskSpec{Capabilities: []string{"tpu"}}, want: rota.MisfitCapability},
		{name: "constraint", spec: rota.TaskSpec{Constraints: []rota.Constraint{{Attribute: "label.rack", Operator: rota.OpEqual, Values: []string{"b"}}}}, want: rota.MisfitConstraint},
		{name: "too big", spec: rota.TaskSpec{Resources: rota.Resources{CPUMilli: 4001}}, want: rota.MisfitTooBig},
		{name: "cpu now", held: rota.Held{CPUMilli: 3500}, spec: rota.TaskSpec{Resources: rota.Resources{CPUMilli: 600}}, want: rota.MisfitCPU},
		{name: "memory now", held: rota.Held{MemoryBytes: 8 << 30}, spec: rota.TaskSpec{Resources: rota.Resources{MemoryBytes: 1}}, want: rota.MisfitMemory},
		{name: "slots", held: rota.Held{Slots: 2}, want: rota.MisfitSlots},
		{name: "80 GB card reports less", spec: rota.TaskSpec{Resources: rota.Resources{GPU: h100}}, grants: []rota.GPUGrant{{ID: "g0", Milli: 1000}}, want: rota.MisfitNone},
		{name: "wrong device", spec: rota.TaskSpec{Resources: rota.Resources{GPU: h100}}, grants: []rota.GPUGrant{{ID: "g1", Milli: 1000}}, want: rota.MisfitGrant},
		{name: "no device named", spec: rota.TaskSpec{Resources: rota.Resources{GPU: h100}}, want: rota.MisfitGrant},
		{name: "twice the same", spec: rota.TaskSpec{Resources: rota.Resources{GPU: rota.GPUDemand{Count: 2}}}, grants: []rota.GPUGrant{{ID: "g0", Milli: 1000}, {ID: "g0", Milli: 1000}}, want: rota.MisfitGrant},
		{name: "model", spec: rota.TaskSpec{Resources: rota.Resources{GPU: rota.GPUDemand{Count: 2, Model: "H100"}}}, want: rota.MisfitGPUModel},
		{name: "gpu memory", spec: rota.TaskSpec{Resources: rota.Resources{GPU: rota.GPUDemand{Count: 1, MemoryBytes: 100 << 30}}}, want: rota.MisfitGPUMemory},
		{name: "share fits", held: rota.Held{GPUMilli: []int64{600}}, spec: rota.TaskSpec{Resources: rota.Resources{GPU: share}}, grants: []rota.GPUGrant{{ID: "g0", Milli: 400}}, want: rota.MisfitNone},
		{name: "share full", held: rota.Held{GPUMilli: []int64{601}}, spec: rota.TaskSpec{Resources: rota.Resources{GPU: share}}, grants: []rota.GPUGrant{{ID: "g0", Milli: 400}}, want: rota.MisfitGPU},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := gpuNode()
			if tt.node != nil {
				tt.node(n)
			}
			if tt.spec.Driver == "" {
				tt.spec.Driver = rota.DriverExec
			}
			if got := rota.Fits(n, tt.held, &tt.spec, tt.grants); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestConstraintsCompareNumbersAsNumbers(t *testing.T) {
	n := gpuNode()
	tests := []struct {
		attribute string
		operator  rota.Operator
		values    []string
		want      bool
	}{
		{"label.zone", rota.OpLess, []string{"10"}, true},
		{"label.zone", rota.OpGreater, []string{"10"}, false},
		{"label.rack", rota.OpIn, []string{"b", "a"}, true},
		{"label.rack", rota.OpNotEqual, []string{"a"}, false},
		{"label.none", rota.OpNotEqual, []string{"a"}, true},
		{"label.none", rota.OpEqual, []string{""}, false},
		{"capability.web", rota.OpEqual, []string{"true"}, true},
		{"capability.gpu", rota.OpEqual, []string{"false"}, true},
		{"gpu.model", rota.OpEqual, []string{"NVIDIA A10"}, true},
		{"gpu.memory", rota.OpGreater, []string{"80000000000"}, true},
		{"node.memory", rota.OpGreater, []string{"1000"}, true},
		{"node.os", rota.OpEqual, []string{"linux"}, true},
	}
	for _, tt := range tests {
		c := rota.Constraint{Attribute: tt.attribute, Operator: tt.operator, Values: tt.values}
		if got := c.Allows(n); got != tt.want {
			t.Errorf("%s: got %v, want %v", c, got, tt.want)
		}
		if !rota.IsConstraintAttribute(tt.attribute) {
			t.Errorf("%s is not taken for an attribute", tt.attribute)
		}
	}
}

// TestRoomTakenAndGivenBackIsTheRoomThatWas.
func TestRoomTakenAndGivenBackIsTheRoomThatWas(t *testing.T) {
	n := gpuNode()
	hold := rota.Hold{Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 5, DiskBytes: 7}, GPUs: []rota.GPUGrant{{ID: "g1", Milli: 250}}}
	taken := rota.Held{}.Add(&n.Capacity, hold)
	if taken.Slots != 1 || taken.FreeMilli(1) != 750 || taken.FreeMilli(0) != 1000 {
		t.Fatalf("after taking: %+v", taken)
	}
	back := taken.Remove(&n.Capacity, hold)
	if back.CPUMilli != 0 || back.MemoryBytes != 0 || back.DiskBytes != 0 || back.Slots != 0 || back.FreeMilli(1) != 1000 {
		t.Fatalf("after giving back: %+v", back)
	}
	if taken.FreeMilli(1) != 750 {
		t.Error("giving back changed the record it started from")
	}
}
