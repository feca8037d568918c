package sim

import (
	"slices"
	"time"
)

// Faults that aim at the log: who votes, who leads, what is on the disks.

// leaderNow is the replica that leads; nil: none is known to.
func (w *World) leaderNow() *replica {
	if m := w.leading(); m.up() && m.node.replica.role == leads {
		return m.node.replica
	}
	return nil
}

func (w *World) anyServer() *machine { return w.servers[w.rng.IntN(len(w.servers))] }

// logFault is one of them, by its number among all.
func (w *World) logFault(n int) {
	switch n {
	case 22, 23:
		w.changeOfVoters()
	case 24:
		if r := w.leaderNow(); r != nil && w.chance(70) {
			r.transfer()
		} else if r != nil {
			w.tell("FAULT %s: steps down", r.m.name)
			r.follow(r.d.term, nil)
		}
	case 25:
		w.fullDisk()
	case 26, 27:
		w.savedAtABadMoment()
	case 28, 29:
		w.laggard()
	case 30:
		w.behind()
	case 31:
		d := w.lasting(15 * time.Second)
		w.tell("FAULT every disk is sluggish for %v", d)
		w.sluggish(true)
		w.after(d, func() { w.sluggish(false) })
	}
}

func (w *World) sluggish(on bool) {
	for _, m := range w.servers {
		m.disk.sluggish = on
	}
}

// changeOfVoters replaces a voter, adds or removes one, whatever else goes on.
func (w *World) changeOfVoters() {
	r := w.leaderNow()
	if r == nil {
		return
	}
	var in, out *machine
	for _, m := range w.servers {
		switch voter := r.voter(m); {
		case voter && (out == nil || w.chance(40)):
			out = m
		case !voter && (in == nil || w.chance(50)):
			in = m
		}
	}
	if in != nil {
		r.addVoter(in)
	}
	if out == nil || len(r.config().are) < 4 && w.chance(70) {
		return
	}
	w.after(w.between(10*time.Millisecond, 2*time.Second), func() {
		if r := w.leaderNow(); r != nil {
			r.dropVoter(out)
		}
	})
}

// fullDisk: a server can write nothing for a while.
func (w *World) fullDisk() {
	m, d := w.anyServer(), w.lasting(12*time.Second)
	w.tell("FAULT %s: full disk for %v", m.name, d)
	m.disk.full = true
	w.after(d, func() { m.disk.full = false })
}

// savedAtABadMoment: a server takes its time over a snapshot, and is killed then, or
// the lead goes elsewhere.
func (w *World) savedAtABadMoment() {
	for _, m := range w.servers {
		if m.up() && w.chance(60) {
			took := w.between(time.Millisecond, 3*time.Second)
			w.tell("FAULT %s writes a snapshot for %v", m.name, took)
			m.node.replica.save(took)
			if w.chance(40) {
				w.after(w.between(0, took*3/2), func() {
					w.tell("%s: node process killed", m.name)
					m.killNode()
					w.after(w.between(10*time.Millisecond, 3*time.Second), m.startNode)
				})
			}
		}
	}
}

// laggard: a server hears nothing for so long that the others' logs begin after the
// end of its own.
func (w *World) laggard() {
	m, d := w.anyServer(), w.lasting(9*time.Second)
	w.tell("FAULT %s hears of no entry for %v", m.name, d)
	var links [][2]*machine
	for _, o := range w.servers {
		if o != m {
			links = append(links, [2]*machine{o, m})
		}
	}
	w.cutLinks(links, w.chance(30), false, w.now.add(d))
	w.after(d-d/8, func() {
		for _, o := range w.servers {
			if o != m && o.up() {
				o.node.replica.save(w.between(time.Millisecond, max(d/8, 2*time.Millisecond)))
			}
		}
	})
}

// behind: the leader's duties hear of entries late, while a node comes back again
// and again: what it is told is of before.
func (w *World) behind() {
	r := w.leaderNow()
	if r == nil {
		return
	}
	g, d := r.reign, w.lasting(10*time.Second)
	w.tell("FAULT %s: its duties are behind the log for %v", r.m.name, d)
	g.lag = w.between(10*time.Millisecond, 400*time.Millisecond)
	w.after(d, func() { g.lag = 0 })
	for range 4 {
		w.after(w.between(0, d), func() {
			if m := w.busiest(); m != r.m && m.up() {
				m.killNode()
				w.after(w.between(time.Millisecond, 50*time.Millisecond), m.startNode)
			}
		})
	}
}

// busiest is the machine with most processes, or any.
func (w *World) busiest() *machine {
	n := map[*machine]int{}
	for _, x := range w.check.alive {
		n[x.m]++
	}
	return slices.MaxFunc(w.machines, func(a, b *machine) int { return n[a] - n[b] })
}
