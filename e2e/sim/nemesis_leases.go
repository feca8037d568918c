package sim

import (
	"slices"
	"time"
)

// Faults that aim at the leases: each breaks one thing that the protocol of
// RELIABILITY.md, section 2, is built upon.

// lateAnswers: a node's questions arrive at once, the answers late; then it is
// alone. (Rule 2: a deadline counts from the sending.)
func (w *World) lateAnswers(m *machine) {
	lag := w.times.TTL / 4
	d := w.lasting(8 * time.Second)
	w.tell("FAULT %s: answers are up to %v late for %v, then it is alone", m.name, lag, d)
	for _, o := range w.machines {
		if o != m {
			w.net.lag[[2]*machine{o, m}] = lag
		}
	}
	w.after(d, func() {
		for _, o := range w.machines {
			delete(w.net.lag, [2]*machine{o, m})
		}
		w.alone(m, w.lasting(3*w.times.TTL))
	})
}

// alone cuts a machine off.
func (w *World) alone(m *machine, d time.Duration) {
	w.tell("%s is alone for %v", m.name, d)
	for _, o := range w.machines {
		if o != m {
			w.net.change(m, o, false, 1)
		}
	}
	w.after(d, func() {
		w.tell("%s is not alone any more", m.name)
		for _, o := range w.machines {
			if o != m {
				w.net.change(m, o, false, -1)
			}
		}
	})
}

// shutDoor: the leader leads, but nobody gets through to it; the other servers
// answer polls. (Rule 7: a voter that hears its leader well must not help.)
func (w *World) shutDoor() {
	m := w.leading()
	d := w.lasting(3 * w.times.LeaderTTL)
	w.tell("FAULT %s: the door is shut for %v", m.name, d)
	m.shut = true
	w.after(d, func() {
		w.tell("%s: the door is open", m.name)
		m.shut = false
	})
}

// hungStores: no server's disk comes back for a while, but the leader's heartbeats
// go on, so it leads on afterwards. A node that cannot get through extends its
// lease by polls meanwhile. (Rule 7: for the leader, that is a gap.)
func (w *World) hungStores() {
	l := w.leading()
	hang := w.between(w.times.Gap, 2*w.times.TTL)
	hang = min(hang, w.left())
	w.tell("FAULT stores hang for %v, and the door of %s is shut", hang, l.name)
	shut := w.chance(60)
	l.shut = l.shut || shut
	w.after(w.between(0, w.times.TTL), func() {
		for _, m := range w.servers {
			m.disk.hang(w.now.add(hang))
		}
	})
	w.after(hang+w.between(0, 2*w.times.LeaderTTL), func() { l.shut = false })
}

// deposed: the leader sleeps, cut off together with one other machine, while the
// rest elects another. It wakes up believing that it leads, and that machine has
// nobody else to ask. (Rule 1: nothing is answered that was not committed.)
func (w *World) deposed() {
	l, m := w.leading(), w.anyMachine()
	if l == m || l.node == nil || l.node.dead || l.node.stopped {
		return
	}
	sleep, d := w.lasting(w.times.TTL), w.lasting(3*w.times.LeaderTTL)
	w.tell("FAULT %s sleeps for %v, cut off with %s for %v", l.name, sleep, m.name, d)
	l.node.stop()
	w.after(sleep, l.node.resume)
	for range 4 {
		w.after(sleep+w.between(0, 300*time.Millisecond), func() { w.clients.besiege(l) })
	}
	change := func(by int) {
		for _, o := range w.machines {
			if o != l && o != m {
				w.net.change(l, o, false, by)
				w.net.change(m, o, false, by)
			}
		}
	}
	change(1)
	w.after(max(d, sleep), func() { change(-1) })
}

// atTheEdge is one of the faults whose moment is chosen to the millisecond.
func (w *World) atTheEdge(m *machine) {
	if w.chance(70) {
		m = w.busiest()
	}
	switch w.rng.IntN(7) {
	case 6:
		w.sleepyKeeper()
	case 0:
		w.tell("FAULT of the network")
		w.alone(m, min(w.left(), 3*w.times.LeaderTTL))
	case 1, 2:
		w.lastPoll(m)
	case 3:
		w.restartedVoters()
	default:
		w.lastRenewal(m)
	}
}

// lastPoll: no store comes back from a write; a node asks the voters, and while
// their answers are on the way, the stores do. Then the node is alone. (Rules 2
// and 7: an extension counts from the sending of the poll.)
func (w *World) lastPoll(m *machine) {
	hang := min(w.times.TTL, w.left())
	if w.trap != nil || m == w.leading() || hang < 2*w.times.Gap {
		return
	}
	w.tell("FAULT stores hang for %v at most, until %s polls", hang, m.name)
	for _, s := range w.servers {
		s.disk.hang(w.now.add(hang))
	}
	from := w.now.add(w.times.Gap + w.times.Poll)
	w.after(hang, func() { w.trap = nil })
	w.trap = func(who *machine) {
		if who != m || w.now < from {
			return
		}
		w.trap = nil
		w.answersLate(m)
	}
}

// answersLate: a poll's questions have left; the stores come back to life, the
// answers are late, and the node is alone once they are there.
func (w *World) answersLate(m *machine) {
	late := w.times.Poll * 74 / 100
	w.tell("%s polls: answers are late by up to %v, stores go on, then it is alone", m.name, late)
	for _, o := range w.machines {
		if o != m {
			w.net.lag[[2]*machine{o, m}] = late
		}
	}
	w.after(2500*time.Microsecond, func() {
		var links [][2]*machine
		for _, o := range w.machines {
			if o != m {
				links = append(links, [2]*machine{m, o})
			}
		}
		w.cutLinks(links, true, false, w.now.add(min(w.left(), 3*w.times.LeaderTTL)))
		for _, s := range w.servers {
			s.disk.hang(w.now)
		}
	})
	w.after(late+10*time.Millisecond, func() {
		for _, o := range w.machines {
			delete(w.net.lag, [2]*machine{o, m})
		}
		w.alone(m, min(w.left(), 3*w.times.LeaderTTL))
	})
}

// restartedVoters: a node cannot get through to the leader and asks the voters; all
// but the leader are restarted while its questions are on the way. (Rule 7: a start
// counts as a contact.)
func (w *World) restartedVoters() {
	l := w.leaderNow()
	if l == nil || w.trap != nil {
		return
	}
	var m *machine
	for _, x := range w.check.alive {
		if !l.voter(x.m) {
			m = x.m
		}
	}
	if m == nil {
		return
	}
	d := min(w.left(), 2*w.times.LeaderTTL)
	w.tell("FAULT %s: the door is shut for %v; voters restart as %s polls", l.m.name, d, m.name)
	l.m.shut = true
	w.after(d, func() { l.m.shut, w.trap = false, nil })
	w.trap = func(who *machine) {
		if who != m {
			return
		}
		w.trap = nil
		for _, v := range l.config().are {
			if v != l.m && v.up() {
				v.killNode()
				v.startNode()
			}
		}
	}
}

// sleepyKeeper: a node that runs nothing is alone until its lease runs out; at that
// moment its keeper sleeps, and the network heals: the agent has another session
// before its keeper says that the old one is over.
func (w *World) sleepyKeeper() {
	var m *machine
	for _, o := range w.machines {
		busy := func(x *process) bool { return x.m == o }
		if o.up() && o.keeper != nil && !o.keeper.p.dead && o != w.leading() && !slices.ContainsFunc(w.check.alive, busy) {
			m = o
		}
	}
	if m == nil || w.times.TTL > w.left() {
		return
	}
	w.tell("FAULT %s is alone until its lease runs out while its keeper sleeps", m.name)
	change := func(by int) {
		for _, o := range w.machines {
			if o != m {
				w.net.change(m, o, false, by)
			}
		}
	}
	change(1)
	w.after(50*time.Millisecond, func() {
		over := m.trueUntil(time.Duration(m.agent.core.Deadline().Add(-w.times.Kill)))
		w.after(over-2*time.Millisecond, func() {
			change(-1)
			if k := m.keeper; k != nil {
				w.pause(k.p, w.slack, m.name+": keeper")
			}
		})
	})
}

// lastRenewal: what a node asks for is held up on the way, and the machine is lost.
// Its last words arrive at the very moment at which its session is given up, on a
// log that is not the quickest. (Rule 5: an expiry is a compare-and-set.)
func (w *World) lastRenewal(m *machine) {
	l := w.leading()
	ttl := w.times.LeaderTTL * 1000 / time.Duration(1000+l.drift)
	if m == l || !m.up() || ttl+2*time.Second > w.left() {
		return
	}
	w.tell("FAULT what %s says is held up, and the machine lost; it arrives when its session is given up", m.name)
	w.net.held[m] = w.now.add(ttl + time.Second)
	w.after(100*time.Millisecond, func() {
		until := w.check.renewedAt[m.id].add(ttl - w.between(0, 60*time.Millisecond))
		w.net.held[m] = until
		w.after(5*w.times.Renew/2, func() {
			if !m.lost {
				m.crash()
			}
		})
		wait := time.Duration(until - w.now)
		w.after(wait-20*time.Millisecond, func() { w.sluggish(true) })
		w.after(wait+200*time.Millisecond, func() { w.sluggish(false) })
		w.after(wait+time.Second, m.boot0)
	})
}
