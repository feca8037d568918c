package nemesis

import (
	"testing"
	"time"
)

// spoils makes a fault of a rule for all links between nodes.
func spoils(rule func(w *world) func(from, to int) link) func(w *world) func() {
	return func(w *world) func() {
		w.wires.set(rule(w))
		return func() { w.wires.set(nil) }
	}
}

// always is a rule that is the same for every link.
func always(l link) func(w *world) func(from, to int) link {
	return func(*world) func(int, int) link { return func(int, int) link { return l } }
}

// apart cuts groups of nodes off each other; the clients reach all of them, so that
// a deposed leader can be caught answering.
func apart(groups func(w *world) [][]int) func(w *world) func() {
	return spoils(func(w *world) func(int, int) link { return split(groups(w)...) })
}

func numbers(nodes []*node) []int {
	var out []int
	for _, n := range nodes {
		out = append(out, n.i)
	}
	return out
}

func leaderAlone(w *world) [][]int {
	l := w.leader()
	return [][]int{{l.i}, numbers(w.others(l))}
}

// leaderInMinority leaves the leader with one other node.
func leaderInMinority(w *world) [][]int {
	l := w.leader()
	rest := numbers(w.others(l))
	half := (len(w.nodes)-1)/2 - 1
	return [][]int{append([]int{l.i}, rest[:half]...), rest[half:]}
}

// leaderInMajority cuts the smaller half off that does not lead.
func leaderInMajority(w *world) [][]int {
	l := w.leader()
	rest := numbers(w.others(l))
	half := len(w.nodes) / 2
	return [][]int{append([]int{l.i}, rest[:half]...), rest[half:]}
}

// ring lets every node see its two neighbours only.
func ring(w *world) func(from, to int) link {
	n := len(w.nodes)
	return func(from, to int) link {
		d := (from - to + n) % n
		return link{block: d != 1 && d != n-1}
	}
}

// bridge joins two halves by one node only, which sees everybody.
func bridge(w *world) func(from, to int) link {
	middle := len(w.nodes) / 2
	return func(from, to int) link {
		return link{block: from != middle && to != middle && (from < middle) != (to < middle)}
	}
}

// mute lets nothing of the leader's arrive at others; deaf lets nothing arrive at it.
func mute(w *world) func(from, to int) link {
	l := w.leader().i
	return func(from, _ int) link { return link{block: from == l} }
}

func deaf(w *world) func(from, to int) link {
	l := w.leader().i
	return func(_, to int) link { return link{block: to == l} }
}

// flaps cuts the leader off and back, every 700 ms.
func flaps(w *world) func() {
	done, ended := make(chan struct{}), make(chan struct{})
	l := w.leader().i
	go func() {
		defer close(ended)
		tick := time.NewTicker(700 * time.Millisecond)
		defer tick.Stop()
		for on := true; ; on = !on {
			w.wires.set(func(from, to int) link { return link{block: on && (from == l || to == l)} })
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		w.wires.set(nil)
	}
}

// TestNetworkFails spoils the connections between five nodes, as hosts of one
// network that the test switches itself.
func TestNetworkFails(t *testing.T) {
	possible(t)
	size := 5
	if testing.Short() {
		size = 3
	}
	w := newWorld(t, plan{nodes: size, wires: true})
	tl := w.follow(t)
	w.suffer(t, tl, fault{name: "leader cut off 8 s", hold: 8 * time.Second, do: apart(leaderAlone)})
	w.suffer(t, tl, fault{name: "30 % loss 8 s", hold: 8 * time.Second, do: spoils(always(link{loss: 0.3}))})
	if testing.Short() {
		return
	}
	ms := time.Millisecond
	for _, f := range []fault{
		{name: "leader cut off 20 s (longer than its lease)", hold: 20 * time.Second, do: apart(leaderAlone)},
		{name: "halves, leader in the minority", hold: 14 * time.Second, do: apart(leaderInMinority)},
		{name: "halves, leader in the majority", hold: 14 * time.Second, do: apart(leaderInMajority)},
		{name: "ring, each sees two neighbours", hold: 10 * time.Second, do: spoils(ring)},
		{name: "two halves, one node sees both", hold: 10 * time.Second, do: spoils(bridge)},
		{name: "nothing from the leader arrives", hold: 8 * time.Second, do: spoils(mute)},
		{name: "nothing arrives at the leader", hold: 8 * time.Second, do: spoils(deaf)},
		{name: "leader cut off and back every 0.7 s", hold: 8 * time.Second, do: flaps},
		{name: "50 ms delay each way", hold: 8 * time.Second, do: spoils(always(link{delay: 50 * ms}))},
		{name: "500 ms delay each way", hold: 8 * time.Second, do: spoils(always(link{delay: 500 * ms}))},
		{name: "10 % loss", hold: 8 * time.Second, do: spoils(always(link{loss: 0.1}))},
		{name: "30 % duplicates", hold: 8 * time.Second, do: spoils(always(link{twice: 0.3}))},
		{name: "reordering, 0 to 40 ms delay", hold: 8 * time.Second, do: spoils(always(link{jitter: 40 * ms}))},
		{name: "gossip alone blocked 15 s", hold: 15 * time.Second, do: spoils(always(link{block: true, only: []uint16{portGossip}}))},
		{name: "Raft alone blocked 15 s", hold: 15 * time.Second, do: spoils(always(link{block: true, only: []uint16{portRaft}}))},
		{name: "HTTP between nodes alone blocked 8 s", hold: 8 * time.Second, do: spoils(always(link{block: true, only: []uint16{portHTTP}}))},
		{name: "nobody reaches anybody 15 s", hold: 15 * time.Second, do: spoils(always(link{block: true}))},
	} {
		w.suffer(t, tl, f)
	}
}
