package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// TestAWallClocksJumpMakesNothingDue: the cluster's time leans towards the wall
// clock by a tenth of the time that passes, and never goes back. (Source:
// DESIGN.md, section 4, "Determinism".)
func TestAWallClocksJumpMakesNothingDue(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	cases := []struct {
		name string
		wall time.Duration // the wall clock's error
		want time.Duration // what has passed after 100 s of boot time
	}{
		{"right", 0, 100 * time.Second},
		{"an hour ahead", time.Hour, 110 * time.Second},
		{"an hour behind", -time.Hour, 90 * time.Second},
		{"five seconds ahead", 5 * time.Second, 105 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var boot time.Duration
			k := newClock(rota.InstantOf(start), func() time.Time { return start.Add(boot + c.wall) }, func() time.Duration { return boot })
			last := k.now()
			for range 1000 {
				boot += 100 * time.Millisecond
				now := k.now()
				if now < last {
					t.Fatal("time went back")
				}
				last = now
			}
			if got := last.Sub(rota.InstantOf(start)); got != c.want {
				t.Errorf("%s passed, want %s", got, c.want)
			}
		})
	}
}

func proposals(sizes ...int) []*proposal {
	var all []*proposal
	for _, n := range sizes {
		all = append(all, newProposal(rota.Command{}, make([]byte, n)))
	}
	return all
}

// TestABatchIsBounded by operations and bytes, and a large operation travels alone.
// (Source: DESIGN.md, section 4.)
func TestABatchIsBounded(t *testing.T) {
	cases := []struct {
		name  string
		sizes []int
		want  []int // proposals in each batch
	}{
		{"one", []int{10}, []int{1}},
		{"many small", make([]int, 600), []int{256, 256, 88}},
		{"bytes", []int{100 << 10, 20 << 10, 10 << 10, 100}, []int{2, 2}},
		{"exactly full", []int{64 << 10, 64 << 10, 1}, []int{2, 1}},
		{"large first", []int{1 << 20, 1, 1}, []int{1, 2}},
		{"large last", []int{1, 1, 1 << 20}, []int{2, 1}},
		{"large ones", []int{1 << 20, 1 << 20}, []int{1, 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := newQueue(1000)
			if err := q.add(proposals(c.sizes...)...); err != nil {
				t.Fatal(err)
			}
			var got []int
			for q.waits() > 0 {
				got = append(got, len(q.take(t.Context())))
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("batches of %v, want %v", got, c.want)
			}
		})
	}
}

func TestAFullQueueRefuses(t *testing.T) {
	q := newQueue(3)
	ps := proposals(1, 1, 1)
	if err := q.add(ps...); err != nil {
		t.Fatal(err)
	}
	if err := q.add(proposals(1)...); !errors.Is(err, rota.ErrOverloaded) {
		t.Errorf("a fourth: %v", err)
	}
	if !q.withdraw(ps[1]) || q.withdraw(ps[1]) {
		t.Error("a proposal is withdrawn once")
	}
	if err := q.add(proposals(1)...); err != nil {
		t.Errorf("after one was withdrawn: %v", err)
	}
	q.close(errNotProposed)
	if a := <-ps[0].done; !errors.Is(a.err, errNotProposed) {
		t.Errorf("closed: %v", a.err)
	}
	if err := q.add(proposals(1)...); !errors.Is(err, errNotProposed) {
		t.Errorf("after the end: %v", err)
	}
	bulky := newQueue(1000)
	for range queueBytes / MaxOpBytes { // all of the lane of work
		if err := bulky.add(proposals(MaxOpBytes)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := bulky.add(proposals(MaxOpBytes)...); !errors.Is(err, rota.ErrOverloaded) {
		t.Errorf("over the bytes: %v", err)
	}
}

// TestTheServersOfTheLogNeverLoseTheirMajority: whatever the leader knows, a step
// keeps a majority of the voters alive if there was one, makes no server twice,
// stays within the limits, and steps come to an end.
func TestTheServersOfTheLogNeverLoseTheirMajority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &roster{
			self: "s0", voters: rapid.SampledFrom([]int{3, 5}).Draw(t, "voters"), replace: 10 * time.Minute, now: time.Unix(1e9, 0),
			members: map[rota.NodeID]Member{}, reached: map[rota.NodeID]bool{}, asked: map[rota.NodeID]bool{}, good: map[rota.NodeID]int{}, silent: map[rota.NodeID]time.Time{},
		}
		n := rapid.IntRange(1, 18).Draw(t, "nodes")
		servers := rapid.IntRange(1, min(n, MaxReplicas)).Draw(t, "servers")
		for i := range n {
			id := rota.NodeID(fmt.Sprintf("s%d", i))
			m := Member{ID: id, Name: string(id), Roles: []rota.Role{rota.RoleServer}, Raft: "a" + string(id), State: MemberAlive}
			if i > 0 {
				m.State = rapid.SampledFrom([]MemberState{MemberAlive, MemberAlive, MemberDead, MemberLeft}).Draw(t, "state")
			}
			if m.State != MemberAlive {
				r.silent[id] = r.now.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "silent")) * time.Minute)
			}
			if m.State == MemberAlive && i >= servers && rapid.IntRange(0, 3).Draw(t, "replaces") == 0 {
				m.Replaces = rota.NodeID(fmt.Sprintf("s%d", rapid.IntRange(1, n).Draw(t, "replaced")))
			}
			r.asked[id] = rapid.IntRange(0, 5).Draw(t, "asked") > 0
			r.members[id] = m
			r.reached[id] = m.State != MemberAlive && rapid.IntRange(0, 4).Draw(t, "reached") == 0
			r.good[id] = rapid.IntRange(0, 3).Draw(t, "good")
			if i < servers {
				s := raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(rapid.SampledFrom([]string{"a" + string(id), "old"}).Draw(t, "address"))}
				if i > 0 && rapid.Bool().Draw(t, "follows") {
					s.Suffrage = raft.Nonvoter
				}
				r.servers = append(r.servers, s)
			}
		}
		for id := range r.asked {
			if r.members[id].State == MemberAlive && r.replaced(id) { // two live nodes never are one
				m := r.members[id]
				m.State = MemberDead
				r.members[id] = m
			}
		}
		majority := func() bool {
			alive := r.count(func(s raft.Server) bool { return r.voting(s) && r.alive(s) })
			return alive >= r.count(r.voting)/2+1
		}
		had := majority()
		for steps := 0; ; steps++ {
			c, ok := r.next()
			if !ok {
				break
			}
			if steps > 100 {
				t.Fatalf("it never ends: %+v", c)
			}
			r.apply(c)
			if had && !majority() {
				t.Fatalf("%+v takes the majority away: %+v", c, r.servers)
			}
			if len(r.servers) > MaxReplicas {
				t.Fatalf("%d servers", len(r.servers))
			}
			seen := map[raft.ServerID]bool{}
			for _, s := range r.servers {
				if seen[s.ID] {
					t.Fatalf("%s is there twice", s.ID)
				}
				seen[s.ID] = true
			}
			if !seen["s0"] {
				t.Fatal("the leader removed itself")
			}
		}
	})
}

// apply is what Raft does with a step.
func (r *roster) apply(c change) {
	for i, s := range r.servers {
		if s.ID != c.server.ID {
			continue
		}
		switch c.kind {
		case "remove":
			r.servers = append(append([]raft.Server(nil), r.servers[:i]...), r.servers[i+1:]...)
		case "demote":
			r.servers[i].Suffrage = raft.Nonvoter
		case "vote":
			r.servers[i].Suffrage = raft.Voter
		case "move":
			r.servers[i].Address = c.server.Address
		}
		return
	}
	c.server.Suffrage = raft.Nonvoter
	r.servers = append(r.servers, c.server)
}

// TestAStrangerIsTurnedAwayInClearWords: another cluster's server, one without the
// key, and whoever else calls.
func TestAStrangerIsTurnedAwayInClearWords(t *testing.T) {
	ours := pass{clusterID: "cluster-a", key: bytes.Repeat([]byte{1}, 32), id: "me"}
	wants := func(p pass, id string) func(io.ReadWriter) error {
		return func(c io.ReadWriter) error { return p.show(c, id) }
	}
	cases := []struct {
		name string
		call func(io.ReadWriter) error
		want string // heard by the caller; empty: it is let in
	}{
		{"one of us", wants(ours, "me"), ""},
		{"one of us that wants whoever is there", wants(ours, ""), ""},
		{"one of us that wants the node that was there before", wants(ours, "another"), "it is node me, and the caller wants another"},
		{"another cluster", wants(pass{clusterID: "cluster-b", key: ours.key}, "me"), "it refused this server: it belongs to cluster cluster-a, the caller to cluster-b"},
		{"wrong key", wants(pass{clusterID: "cluster-a", key: bytes.Repeat([]byte{2}, 32)}, "me"), "does not have its key"},
		{"one that does not look whether we have the key", func(c io.ReadWriter) error {
			hello := append([]byte(handshakeMagic), byte(len(ours.clusterID)))
			if _, err := c.Write(append(append(hello, ours.clusterID...), make([]byte, nonceSize)...)); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, make([]byte, 1+nonceSize+32)); err != nil {
				return err
			}
			if _, err := c.Write(make([]byte, 32)); err != nil {
				return err
			}
			return readRefusal(c)
		}, "does not have the cluster's key"},
		{"a browser", func(c io.ReadWriter) error {
			_, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			return err
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			caller, called := net.Pipe()
			answered := make(chan error, 1)
			go func() {
				err := ours.answer(called)
				_ = called.Close()
				answered <- err
			}()
			err := c.call(caller)
			_ = caller.Close()
			in := <-answered
			switch {
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the caller heard: %v", err)
			case c.want == "" && strings.HasPrefix(c.name, "one of us") && (err != nil || in != nil):
				t.Errorf("one of us: %v, %v", err, in)
			case (c.want != "" || !strings.HasPrefix(c.name, "one of us")) && in == nil:
				t.Error("a stranger was let in")
			}
		})
	}
}

// TestAnAnswererWithoutTheKeyIsNotBelieved: the proof goes both ways.
func TestAnAnswererWithoutTheKeyIsNotBelieved(t *testing.T) {
	caller, called := net.Pipe()
	go func() {
		_ = pass{clusterID: "c", key: []byte("another")}.answer(called)
		_ = called.Close()
	}()
	var stranger *strangerError
	if err := (pass{clusterID: "c", key: []byte("ours")}).show(caller, ""); !errors.As(err, &stranger) {
		t.Errorf("believed: %v", err)
	}
	_ = caller.Close()
}

func FuzzForwardedProposals(f *testing.F) {
	cmd := rota.Command{RequestID: "r", Op: rota.RenewLeases{}}
	raw := fsm.AppendCommand(nil, &cmd)
	f.Add(appendBytes([]byte{forwardVersion, 1}, raw))
	f.Add([]byte{forwardVersion, 0})
	f.Add([]byte{forwardVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, _, err := decodeForward(b)
		if err == nil && len(batch) > MaxBatch {
			t.Error("too many")
		}
		d := &decoder{b: b}
		for d.err == nil {
			decodeAnswer(d)
		}
	})
}

// TestAReplicaThatCannotApplyAnEntryHalts: it never skips one, and writes no
// snapshot that would say it had not.
func TestAReplicaThatCannotApplyAnEntryHalts(t *testing.T) {
	newer := fsm.AppendEntry(nil, &rota.Entry{Format: 60000, Term: 1, At: 1, Commands: []rota.Command{{Op: rota.Due{}}}})
	for name, data := range map[string][]byte{"newer format": newer, "not an entry": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			f := &fatals{}
			r := newReplica(f.add, bootTime)
			good := fsm.AppendEntry(nil, &rota.Entry{Format: r.state.Format(), Term: 1, At: 1, Commands: []rota.Command{{Op: rota.Due{}}}})
			if o, _ := r.Apply(&raft.Log{Index: 1, Term: 1, Data: good}).(outcome); o.err != nil {
				t.Fatal(o.err)
			}
			o, _ := r.Apply(&raft.Log{Index: 2, Term: 1, Data: data}).(outcome)
			if o.err == nil || len(f.all()) != 1 || !strings.Contains(o.err.Error(), "entry 2") || !strings.Contains(o.err.Error(), "newer version") {
				t.Errorf("applied: %v, fatal %v", o.err, f.all())
			}
			if o, _ := r.Apply(&raft.Log{Index: 3, Term: 1, Data: good}).(outcome); o.err == nil || r.applied.Load() != 1 {
				t.Error("it went on")
			}
			if _, err := r.Snapshot(); err == nil {
				t.Error("it writes a snapshot")
			}
			if err := r.await(t.Context(), 2); err == nil {
				t.Error("a wait for the entry ended well")
			}
		})
	}
}

// TestAnEntryOfAnOlderLeadershipIsVoid: its proposer had decided on an older state.
func TestAnEntryOfAnOlderLeadershipIsVoid(t *testing.T) {
	r := newReplica(func(err error) { t.Error(err) }, bootTime)
	e := rota.Entry{Format: r.state.Format(), Term: 4, At: 5, Commands: []rota.Command{{Op: rota.RegisterNode{Info: rota.NodeInfo{ID: "n", Name: "n"}, Boot: "b"}}}}
	o, _ := r.Apply(&raft.Log{Index: 1, Term: 5, Data: fsm.AppendEntry(nil, &e)}).(outcome)
	if _, ok := r.snapshot().Node("n"); ok || !o.void || r.applied.Load() != 1 {
		t.Errorf("it took effect: %+v", o)
	}
	e.Term = 5
	o, _ = r.Apply(&raft.Log{Index: 2, Term: 5, Data: fsm.AppendEntry(nil, &e)}).(outcome)
	if _, ok := r.snapshot().Node("n"); !ok || o.void || len(o.results) != 1 || o.results[0].Index != 2 {
		t.Errorf("it did not take effect: %+v", o)
	}
}

// TestAFollowerOfTheLogThatFallsBehindIsTold, and the applying goroutine never
// waits for it.
func TestAFollowerOfTheLogThatFallsBehindIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplica(func(err error) { t.Error(err) }, func() time.Duration { return 0 })
		told := 0
		f := newFeed(func() { told++ })
		r.follow(f)
		data := fsm.AppendEntry(nil, &rota.Entry{Format: r.state.Format(), Term: 1, At: 1})
		for i := uint64(1); i <= feedLength+10; i++ {
			r.Apply(&raft.Log{Index: i, Term: 1, Data: data})
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		r.unfollow(f)
		last := uint64(0)
		for a := range f.ch {
			if a.Index != last+1 {
				t.Fatalf("entry %d after %d", a.Index, last)
			}
			last = a.Index
		}
		if last != feedLength {
			t.Errorf("%d entries", last)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.await(ctx, feedLength+11); !errors.Is(err, rota.ErrUnavailable) {
			t.Errorf("await: %v", err)
		}
	})
}
