package sim

import "time"

// network carries messages between machines. A cut link loses them, or delivers
// them late, as TCP does after a short cut.
type network struct {
	w *World
	// cut counts the partitions that keep messages from going from one machine to
	// another.
	cut  map[[2]*machine]int
	slow bool
	dup  int // of 100 messages, how many arrive twice
	// held keeps what a machine sends until a moment.
	held map[*machine]moment
	// lag delays what goes from one machine to another, that direction only.
	lag map[[2]*machine]time.Duration
}

func (n *network) open(from, to *machine) bool {
	return from == to || n.cut[[2]*machine{from, to}] == 0
}

func (n *network) delay() time.Duration {
	d := n.w.between(100*time.Microsecond, 2*time.Millisecond)
	if n.slow {
		d += n.w.between(0, 250*time.Millisecond)
	}
	return d
}

// send carries a message to whatever process runs there when it arrives. get
// gives that process; nil: nobody listens.
func (n *network) send(from, to *machine, get func() *program, f func()) {
	n.sendOnce(from, to, get, f)
	if from != to && n.dup > 0 && n.w.chance(n.dup) {
		n.w.after(n.w.between(0, time.Second), func() { n.sendOnce(from, to, get, f) })
	}
}

// sendOnce carries what no network doubles: a request on a connection of its own.
func (n *network) sendOnce(from, to *machine, get func() *program, f func()) {
	if from == to {
		n.deliver(from, to, n.w.between(20*time.Microsecond, 200*time.Microsecond), get, f, 0)
		return
	}
	d := n.delay()
	if lag := n.lag[[2]*machine{from, to}]; lag > 0 {
		d += n.w.between(lag/2, lag)
	}
	if until := n.held[from]; until > n.w.now {
		d += time.Duration(until-n.w.now) + n.w.between(0, 5*time.Millisecond)
	}
	n.deliver(from, to, d, get, f, 0)
}

// resends is how often TCP tries again what a cut link ate.
const resends = 6

func (n *network) deliver(from, to *machine, d time.Duration, get func() *program, f func(), tries int) {
	n.w.after(d, func() {
		if n.open(from, to) {
			if p := get(); p != nil {
				p.do(f)
			}
			return
		}
		if tries < resends && n.w.chance(70) {
			n.deliver(from, to, 200*time.Millisecond<<tries, get, f, tries+1)
		}
	})
}

// change cuts, or heals, both directions of a link; oneWay only the first.
func (n *network) change(a, b *machine, oneWay bool, by int) {
	n.cut[[2]*machine{a, b}] += by
	if !oneWay {
		n.cut[[2]*machine{b, a}] += by
	}
}
