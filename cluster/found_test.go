package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
)

// TestAWordIsGivenToOneListAtATime, and kept for a while.
func TestAWordIsGivenToOneListAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := func(id string, proposer rota.NodeID) AcceptRequest {
			return AcceptRequest{ClusterID: id, Servers: []Founder{{Node: proposer}, {Node: "z"}}}
		}
		var f founding
		if !f.promise(list("a", "n1"), 10*time.Second) {
			t.Error("the first was refused")
		}
		if f.promise(list("b", "n2"), 10*time.Second) || f.promise(list("b", "n0"), 10*time.Second) {
			t.Error("given to two")
		}
		if !f.promise(list("c", "n1"), 10*time.Second) {
			t.Error("its own proposer may try again")
		}
		if f.found(list("a", "n1")) {
			t.Error("an older try founds")
		}
		time.Sleep(11 * time.Second)
		if f.found(list("c", "n1")) {
			t.Error("founded after the word had run out")
		}
		if !f.promise(list("b", "n2"), 10*time.Second) || !f.found(list("b", "n2")) {
			t.Error("the word had run out, but the next was refused")
		}
		if f.promise(list("b", "n2"), 10*time.Second) {
			t.Error("given after it had founded")
		}
	})
}

// TestOnlyTheLowestOfExactlyAsManyProposes a new cluster.
func TestOnlyTheLowestOfExactlyAsManyProposes(t *testing.T) {
	cases := []struct {
		name   string
		expect int
		seen   []ProbeReply
		silent []string
		want   bool
	}{
		{name: "alone, one expected", expect: 1, want: true},
		{name: "one expected, but an address does not answer", expect: 1, silent: []string{"x"}},
		{name: "alone, three expected", expect: 3},
		{name: "only joins", expect: 0, seen: []ProbeReply{{Expect: 3}, {Expect: 3}}},
		{name: "three of three", expect: 3, seen: []ProbeReply{{Expect: 3}, {Expect: 3}}, silent: []string{"x"}, want: true},
		{name: "one too many", expect: 3, seen: []ProbeReply{{Expect: 3}, {Expect: 3}, {Expect: 3}}},
		{name: "one that only joins beside", expect: 3, seen: []ProbeReply{{Expect: 3}, {Expect: 3}, {}}, want: true},
		{name: "another number", expect: 3, seen: []ProbeReply{{Expect: 3}, {Expect: 5}}},
		{name: "one has data", expect: 3, seen: []ProbeReply{{Expect: 3}, {Expect: 3, HasData: true}}},
		{name: "a name twice", expect: 3, seen: []ProbeReply{{Expect: 3, Name: "x"}, {Expect: 3, Name: "x"}}},
		{name: "another has a snapshot", expect: 3, seen: []ProbeReply{{Expect: 3}, {Expect: 3, Restores: true}}},
		{name: "not the lowest", expect: 3, seen: []ProbeReply{{Node: "a", Expect: 3}, {Expect: 3}}},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			c := &Cluster{id: "m", cfg: Config{BootstrapExpect: k.expect}}
			s := seen{replies: map[rota.NodeID]ProbeReply{}, silent: k.silent}
			for i, r := range k.seen {
				r.Server = true
				if r.Node == "" {
					r.Node = rota.NodeID(fmt.Sprintf("n%d", i))
				}
				if r.Name == "" {
					r.Name = string(r.Node)
				}
				s.replies[r.Node] = r
			}
			if got := c.mayFound(s); got != k.want {
				t.Errorf("may found: %v", got)
			}
		})
	}
}
