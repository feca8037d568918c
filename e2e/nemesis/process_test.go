package nemesis

import (
	"syscall"
	"testing"
	"time"
)

// dies makes a fault of processes that are killed and started again.
func dies(who func(w *world) []*node, how func(n *node)) func(w *world) func() {
	return func(w *world) func() {
		victims := who(w)
		for _, n := range victims {
			how(n)
		}
		return func() {
			for _, n := range victims {
				if !n.alive() {
					n.start(w.t)
				}
			}
		}
	}
}

// hangs makes a fault of processes that are stopped and go on.
func hangs(who func(w *world) []*node, send func(n *node, s syscall.Signal)) func(w *world) func() {
	return func(w *world) func() {
		victims := who(w)
		for _, n := range victims {
			send(n, syscall.SIGSTOP)
		}
		return func() {
			for _, n := range victims {
				send(n, syscall.SIGCONT)
			}
			w.restartEnded(time.Second)
		}
	}
}

func theLeader(w *world) []*node    { return []*node{w.leader()} }
func aFollower(w *world) []*node    { return w.others(w.leader())[:1] }
func theFollowers(w *world) []*node { return w.others(w.leader()) }
func everybody(w *world) []*node    { return w.nodes }

func agentOf(n *node, s syscall.Signal)  { n.signal(s) }
func keeperOf(n *node, s syscall.Signal) { n.signalKeepers(s) }

// TestProcessesDieAndHang kills, stops and freezes the processes of nodes.
func TestProcessesDieAndHang(t *testing.T) {
	possible(t)
	w := newWorld(t, plan{nodes: 3})
	tl := w.follow(t)
	short := []fault{
		{name: "leader killed", hold: 2 * time.Second, do: dies(theLeader, (*node).kill)},
		{name: "keeper killed", hold: time.Second, do: dies(aFollower, func(n *node) { n.signalKeepers(syscall.SIGKILL) })},
	}
	long := []fault{
		{name: "follower killed", hold: 2 * time.Second, do: dies(aFollower, (*node).kill)},
		{name: "leader host gone (agent and keeper)", hold: 14 * time.Second, do: dies(theLeader, (*node).killHost)},
		{name: "two of three hosts gone", hold: 5 * time.Second, do: dies(theFollowers, (*node).killHost)},
		{name: "all agents killed at once", hold: time.Second, do: dies(everybody, (*node).kill)},
		{name: "all hosts gone at once", hold: 3 * time.Second, do: dies(everybody, (*node).killHost)},
		{name: "leader stopped 1 s", hold: time.Second, do: hangs(theLeader, agentOf)},
		{name: "leader stopped 5 s", hold: 5 * time.Second, do: hangs(theLeader, agentOf)},
		{name: "leader stopped 15 s", hold: 15 * time.Second, do: hangs(theLeader, agentOf)},
		{name: "follower stopped 15 s", hold: 15 * time.Second, do: hangs(aFollower, agentOf)},
		{name: "keeper stopped 5 s", hold: 5 * time.Second, do: hangs(aFollower, keeperOf)},
		{name: "all agents stopped 3 s", hold: 3 * time.Second, do: hangs(everybody, agentOf)},
		{name: "host frozen 15 s (agent, keeper, tasks)", hold: 15 * time.Second, overlap: true, do: freezes},
	}
	for _, f := range short {
		w.suffer(t, tl, f)
	}
	if testing.Short() {
		return
	}
	for _, f := range long {
		w.suffer(t, tl, f)
	}
}

// freezes stops a whole host by its cgroup, as a paused virtual machine.
func freezes(w *world) func() {
	n := w.others(w.leader())[0]
	if !n.freeze(true) {
		w.t.Skip("skipped: it takes a v2 cgroup that can be frozen")
	}
	return func() {
		n.freeze(false)
		w.restartEnded(time.Second)
	}
}

// restartEnded starts the nodes again that end by themselves within a time, as
// whatever looks after a service does, and notes that they did.
func (w *world) restartEnded(within time.Duration) {
	sleep(w.t.Context(), within)
	for _, n := range w.nodes {
		if !n.alive() {
			w.note("%s ended by itself: %s", n.name, n.lastWords())
			n.start(w.t)
		}
	}
}
