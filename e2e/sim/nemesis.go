package sim

import (
	"time"

	"github.com/rota-sched/rota/agent"
)

// nemesis plans the history's faults. Every fault undoes itself.
func (w *World) nemesis() {
	n := 3 + w.rng.IntN(10)
	for range n {
		at := w.between(4*time.Second, w.cfg.Faults-time.Second)
		w.after(at, w.fault)
	}
}

// left is how long the nemesis is still at work: faults end before it does.
func (w *World) left() time.Duration { return max(0, w.cfg.Faults-time.Duration(w.now)) }

func (w *World) lasting(most time.Duration) time.Duration {
	return min(w.between(most/100, most), w.left())
}

func (w *World) anyMachine() *machine { return w.machines[w.rng.IntN(len(w.machines))] }

// leading is the machine that leads, or any.
func (w *World) leading() *machine {
	for _, m := range w.servers {
		if m.node != nil && !m.node.dead && m.node.replica.role == leads {
			return m
		}
	}
	return w.servers[w.rng.IntN(len(w.servers))]
}

// fault lets one bad thing happen.
func (w *World) fault() {
	w.check.faults++
	m := w.anyMachine()
	if w.chance(40) {
		m = w.leading()
	}
	switch n := w.rng.IntN(32); n {
	case 0, 1, 2, 3, 4:
		w.kill(m, n)
	case 5:
		if w.chance(40) && m.up() { // the agent alone hangs: the server beside it goes on
			w.pause(m.agent.p, w.lasting(15*time.Second), m.name+": agent")
		} else {
			w.pause(m.node, w.lasting(20*time.Second), m.name+": node process")
		}
	case 6:
		if m.keeper != nil {
			w.pause(m.keeper.p, w.between(time.Millisecond, w.slack), m.name+": keeper")
		}
	case 7, 8, 9:
		w.partition(m)
	case 10:
		w.trouble(m)
	case 11:
		w.tell("FAULT %s: planned stop", m.name)
		w.leave(m)
	case 12:
		w.lateAnswers(m)
	case 13:
		w.shutDoor()
	case 14, 15:
		w.hungStores()
	case 16, 17, 18:
		w.deposed()
	case 19, 20, 21:
		w.atTheEdge(m)
	default:
		w.logFault(n)
	}
}

// kill ends processes, or the whole machine.
func (w *World) kill(m *machine, n int) {
	back := w.between(50*time.Millisecond, 5*time.Second)
	if w.chance(15) {
		back = w.between(time.Millisecond, 200*time.Millisecond)
	}
	switch n {
	case 0, 1:
		w.tell("FAULT %s: node process killed, back in %v", m.name, back)
		m.killNode()
		w.after(back, m.startNode)
	case 2:
		w.tell("FAULT %s: keeper killed", m.name)
		m.killKeeper()
	case 3:
		w.tell("FAULT %s: node process and keeper killed, back in %v", m.name, back)
		m.killNode()
		m.killKeeper()
		w.after(back, m.startNode)
	default:
		back = w.lasting(25 * time.Second)
		w.tell("FAULT %s: machine lost, back in %v", m.name, back)
		m.crash()
		w.after(back, m.boot0)
	}
}

func (w *World) pause(p *program, d time.Duration, what string) {
	if p == nil || p.dead || p.stopped {
		return
	}
	w.tell("FAULT %s stopped for %v", what, d)
	p.stop()
	w.after(d, p.resume)
}

// partition cuts some links for a while.
func (w *World) partition(m *machine) {
	d := w.lasting(20 * time.Second)
	var links [][2]*machine
	what, oneWay := "", w.chance(25)
	switch w.rng.IntN(3) {
	case 0:
		what = m.name + " alone"
		for _, o := range w.machines {
			if o != m {
				links = append(links, [2]*machine{m, o})
			}
		}
		if oneWay && w.chance(50) {
			for i := range links {
				links[i][0], links[i][1] = links[i][1], links[i][0]
			}
		}
	case 1:
		what = "two halves"
		half := w.rng.Perm(len(w.machines))
		for i, x := range half {
			for _, y := range half[i+1:] {
				if x < len(half)/2 != (y < len(half)/2) {
					links = append(links, [2]*machine{w.machines[x], w.machines[y]})
				}
			}
		}
	case 2:
		o := w.anyMachine()
		if o == m {
			return
		}
		what = m.name + " and " + o.name
		links = append(links, [2]*machine{m, o})
	}
	flaps := w.chance(25)
	w.tell("FAULT partition: %s, one way %v, flapping %v, for %v", what, oneWay, flaps, d)
	w.cutLinks(links, oneWay, flaps, w.now.add(d))
}

// cutLinks cuts links until a moment; flapping, they come and go meanwhile.
func (w *World) cutLinks(links [][2]*machine, oneWay, flaps bool, until moment) {
	d := time.Duration(until - w.now)
	if d <= 0 {
		return
	}
	if flaps {
		d = min(d, w.between(20*time.Millisecond, 900*time.Millisecond))
	}
	for _, l := range links {
		w.net.change(l[0], l[1], oneWay, 1)
	}
	w.after(d, func() {
		for _, l := range links {
			w.net.change(l[0], l[1], oneWay, -1)
		}
		if w.now < until {
			w.after(w.between(20*time.Millisecond, 900*time.Millisecond), func() { w.cutLinks(links, oneWay, flaps, until) })
			return
		}
		w.tell("a partition heals")
	})
}

// trouble is a slow disk, a slow network, or messages that arrive twice.
func (w *World) trouble(m *machine) {
	d := w.lasting(15 * time.Second)
	switch {
	case w.chance(40) && m.disk != nil:
		w.tell("FAULT %s: slow disk for %v", m.name, d)
		m.disk.slow = true
		w.after(d, func() { m.disk.slow = false })
	case w.chance(60):
		w.tell("FAULT slow network for %v", d)
		w.net.slow = true
		w.after(d, func() { w.net.slow = false })
	default:
		w.tell("FAULT messages arrive twice for %v", d)
		w.net.dup = 5 + w.rng.IntN(40)
		w.after(d, func() { w.net.dup = 0 })
	}
}

// leave is a planned stop; the node comes back, or, of those that hold no log, now
// and then does not.
func (w *World) leave(m *machine) {
	if !m.up() {
		return
	}
	m.leaves = !m.server && w.chance(50)
	kill := m.leaves || w.chance(30)
	m.agent.p.do(func() { m.agent.step(agent.Leaving{Kill: kill}) })
}

// heal ends what the nemesis began and has not ended yet.
func (w *World) heal() {
	w.tell("everything heals")
	w.net.cut, w.net.slow, w.net.dup, w.trap = map[[2]*machine]int{}, false, 0, nil
	clear(w.net.lag)
	clear(w.net.held)
	for _, m := range w.machines {
		if d := m.disk; d != nil {
			d.slow, d.sluggish, d.full = false, false, false
			d.hang(w.now)
		}
		m.shut = false
		if m.lost || m.boots == 0 {
			m.boot0()
		}
		if m.node.stopped {
			m.node.resume()
		}
		if m.agent.p.stopped {
			m.agent.p.resume()
		}
	}
	w.clients.undrainAll()
}
