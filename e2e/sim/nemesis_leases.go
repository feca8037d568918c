package sim

import "time"

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
			m.disk.hung = w.now.add(hang)
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
