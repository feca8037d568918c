package sim

import (
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// disk is what a server keeps when its process dies: Raft's term, vote and log,
// and sometimes a snapshot of the state.
type disk struct {
	term  uint64
	voted rota.NodeID
	log   []logEntry // the first has index 1
	busy  moment     // until when it is at work
	slow  bool
	hung  moment // until when it does not come back from a call

	saved      []byte // fsm's snapshot
	savedIndex uint64
}

type logEntry struct {
	term uint64
	data []byte // fsm's encoding; nil: the barrier of a new leader
	// sent is S: when its leader proposed it, on that leader's clock.
	sent time.Duration
}

func (d *disk) last() (index, term uint64) { return uint64(len(d.log)), d.termAt(uint64(len(d.log))) }

func (d *disk) termAt(index uint64) uint64 {
	if index == 0 || index > uint64(len(d.log)) {
		return 0
	}
	return d.log[index-1].term
}

// replica is one life of a server: the follower, candidate or leader of the
// modelled log. It keeps to Raft's rules (elections by majority, log matching,
// commit of the own term only); everything else of the real one is left out.
type replica struct {
	w     *World
	p     *program
	m     *machine
	d     *disk
	state *fsm.State

	role    role
	leader  *machine // as far as it knows
	heard   moment   // of that leader
	commit  uint64
	applied uint64
	timer   uint64 // number of the newest election timer
	votes   int
	next    map[*machine]uint64
	match   map[*machine]uint64
	acked   map[*machine]moment
	beaten  moment        // when it last looked whether it reaches a majority
	contact time.Duration // rota.Contact, on the own clock
	reign   *reign
}

type role uint8

const (
	follower role = iota
	candidate
	leads
)

// Raft's times. (Source: DESIGN.md, section 5; the quorum check stands for the
// leader lease.)
const (
	heartbeat   = 75 * time.Millisecond
	election    = 300 * time.Millisecond
	quorumCheck = 400 * time.Millisecond
)

func newReplica(m *machine) *replica {
	r := &replica{
		w: m.w, p: m.node, m: m, d: m.disk, contact: m.bootClock(),
		next: map[*machine]uint64{}, match: map[*machine]uint64{}, acked: map[*machine]moment{},
	}
	r.d.busy, r.d.hung = m.w.now, 0 // what waited for the disk died with the process
	r.state = fsm.New()
	if len(r.d.saved) > 0 {
		r.restore()
	}
	r.waitForLeader()
	return r
}

func (r *replica) majority() int { return len(r.w.servers)/2 + 1 }

func (r *replica) peers() []*machine {
	var peers []*machine
	for _, s := range r.w.servers {
		if s != r.m {
			peers = append(peers, s)
		}
	}
	return peers
}

// to sends a message to the replica that lives on another server when it arrives.
func (r *replica) to(m *machine, f func(*replica)) {
	r.w.net.send(r.m, m, func() *program { return m.node }, func() {
		if m.node.replica != nil {
			f(m.node.replica)
		}
	})
}

func (r *replica) waitForLeader() {
	r.timer++
	timer := r.timer
	r.p.later(r.w.between(election, 2*election), func() {
		if r.timer == timer && r.role != leads {
			r.stand()
		}
	})
}

// stand is to be a candidate.
func (r *replica) stand() {
	r.waitForLeader()
	if r.w.noElections {
		return
	}
	r.role, r.leader, r.votes = candidate, nil, 1
	r.d.term++
	r.d.voted = r.m.id
	term := r.d.term
	index, lastTerm := r.d.last()
	for _, m := range r.peers() {
		r.to(m, func(o *replica) { o.askedForVote(r, term, index, lastTerm) })
	}
	if r.votes >= r.majority() {
		r.win()
	}
}

func (r *replica) askedForVote(from *replica, term, index, lastTerm uint64) {
	if r.leader != nil && r.w.now-r.heard < moment(election) {
		return // it hears its leader well
	}
	if term > r.d.term {
		r.follow(term, nil)
	}
	myIndex, myTerm := r.d.last()
	fresh := lastTerm > myTerm || lastTerm == myTerm && index >= myIndex
	if term < r.d.term || !fresh || r.d.voted != "" && r.d.voted != from.m.id {
		return
	}
	r.d.voted = from.m.id
	r.waitForLeader()
	r.to(from.m, func(o *replica) { o.gotVote(term) })
}

func (r *replica) gotVote(term uint64) {
	if r.role != candidate || term != r.d.term {
		return
	}
	if r.votes++; r.votes >= r.majority() {
		r.win()
	}
}

// follow steps back to being a follower.
func (r *replica) follow(term uint64, leader *machine) {
	if term > r.d.term {
		r.d.term, r.d.voted = term, ""
	}
	r.leader = leader
	if r.role == leads {
		r.w.tell("%s leads no more (term %d)", r.m.name, r.reign.term)
		reign := r.reign
		r.reign = nil
		r.role = follower
		reign.end()
		r.waitForLeader()
	}
	r.role = follower
}

func (r *replica) win() {
	r.role, r.leader, r.beaten = leads, r.m, 0
	index, _ := r.d.last()
	for _, m := range r.peers() {
		r.next[m], r.match[m], r.acked[m] = index+1, 0, r.w.now
	}
	r.w.tell("%s wins the election of term %d", r.m.name, r.d.term)
	r.reign = newReign(r)
	r.store(logEntry{term: r.d.term, sent: r.m.bootClock()})
	r.beat()
}

// beat keeps followers from standing for election, and steps down without a
// majority.
func (r *replica) beat() {
	term := r.d.term
	if r.role != leads {
		return
	}
	again := func() {
		if r.d.term == term {
			r.beat()
		}
	}
	if slept := r.w.now-r.beaten > moment(2*heartbeat); slept && r.beaten != 0 && r.w.chance(70) {
		// It slept, and does not know yet that it may have been deposed.
		r.beaten = r.w.now
		r.p.later(r.w.between(0, 3*heartbeat), again)
		return
	}
	r.beaten = r.w.now
	reached := 1
	for _, m := range r.peers() {
		if r.w.now-r.acked[m] < moment(quorumCheck) {
			reached++
		}
	}
	if reached < r.majority() {
		r.w.tell("%s reaches no majority", r.m.name)
		r.follow(term, nil)
		return
	}
	for _, m := range r.peers() {
		r.sendEntries(m)
	}
	r.p.later(heartbeat, again)
}

// store appends an entry to the own log; its commit follows.
func (r *replica) store(e logEntry) {
	r.d.log = append(r.d.log, e)
	index, term := r.d.last()
	for _, m := range r.peers() {
		r.sendEntries(m)
	}
	r.work(func() {
		if r.role == leads && r.d.term == term {
			r.match[r.m] = max(r.match[r.m], index)
			r.count()
		}
	})
}

// work has the disk do something; it does one thing after the other.
func (r *replica) work(f func()) {
	d := r.w.between(200*time.Microsecond, 3*time.Millisecond)
	if r.d.slow {
		d = r.w.between(50*time.Millisecond, 900*time.Millisecond)
	}
	r.d.busy = max(r.d.busy, r.w.now, r.d.hung).add(d)
	r.p.later(time.Duration(r.d.busy-r.w.now), f)
}

// maxSent bounds the entries of one message.
const maxSent = 64

func (r *replica) sendEntries(m *machine) {
	prev := r.next[m] - 1
	index, _ := r.d.last()
	entries := r.d.log[min(prev, index):min(prev+maxSent, index)]
	entries = entries[:len(entries):len(entries)]
	term, prevTerm, commit := r.d.term, r.d.termAt(prev), r.commit
	r.to(m, func(o *replica) { o.gotEntries(r.m, term, prev, prevTerm, entries, commit) })
}

func (r *replica) gotEntries(from *machine, term, prev, prevTerm uint64, entries []logEntry, commit uint64) {
	if term < r.d.term {
		t := r.d.term
		r.to(from, func(o *replica) { o.acknowledged(r.m, t, 0, false) })
		return
	}
	if term > r.d.term || r.role != follower || r.leader != from {
		r.follow(term, from)
	}
	r.heard = r.w.now
	r.waitForLeader()
	// Heartbeats do not wait for the disk: a leader whose followers' disks hang leads on.
	r.to(from, func(o *replica) {
		if o.role == leads && o.d.term == term {
			o.acked[r.m] = o.w.now
		}
	})
	take := func() {
		if r.d.term != term {
			return
		}
		ok := prev == 0 || prev <= uint64(len(r.d.log)) && r.d.termAt(prev) == prevTerm
		if ok {
			r.take(prev, entries, commit)
		}
		match := prev + uint64(len(entries))
		if !ok {
			match = min(prev-1, uint64(len(r.d.log)))
		}
		r.to(from, func(o *replica) { o.acknowledged(r.m, term, match, ok) })
	}
	switch backlog := r.d.busy - r.w.now; {
	case len(entries) == 0:
		take()
	case backlog < moment(2*time.Second): // else the leader sends it again
		r.work(take)
	}
}

// take writes a leader's entries into the log.
func (r *replica) take(prev uint64, entries []logEntry, commit uint64) {
	for i, e := range entries {
		index := prev + uint64(i) + 1
		if index <= uint64(len(r.d.log)) {
			if r.d.termAt(index) == e.term {
				continue
			}
			if index <= r.commit {
				r.w.broken("%s drops entry %d, which was committed", r.m.name, index)
				return
			}
			r.d.log = append([]logEntry(nil), r.d.log[:index-1]...)
		}
		r.d.log = append(r.d.log, e)
	}
	if len(entries) > 0 {
		r.contact = r.m.bootClock()
	}
	if to := min(commit, prev+uint64(len(entries))); to > r.commit {
		r.commit = to
		r.applyAll()
	}
}

func (r *replica) acknowledged(from *machine, term, match uint64, ok bool) {
	switch {
	case term > r.d.term:
		r.follow(term, nil)
		return
	case r.role != leads || term != r.d.term:
		return
	}
	r.acked[from] = r.w.now
	if !ok {
		r.next[from] = max(1, min(r.next[from]-1, match+1))
		r.sendEntries(from)
		return
	}
	if match > r.match[from] {
		r.match[from] = match
		r.count()
	}
	if index, _ := r.d.last(); r.role == leads {
		r.next[from] = max(r.next[from], match+1)
		if r.next[from] <= index && r.match[from] == match && match+maxSent < index {
			r.sendEntries(from)
		}
	}
}

// count commits what a majority has stored.
func (r *replica) count() {
	index, _ := r.d.last()
	for n := index; n > r.commit && r.d.termAt(n) == r.d.term; n-- {
		have := 0
		for _, m := range r.w.servers {
			if r.match[m] >= n {
				have++
			}
		}
		if have < r.majority() {
			continue
		}
		for i := r.commit + 1; i <= n; i++ {
			if r.d.termAt(i) == r.d.term {
				r.contact = max(r.contact, r.d.log[i-1].sent)
			}
		}
		r.commit = n
		r.applyAll()
		return
	}
}
