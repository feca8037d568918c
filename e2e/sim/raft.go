package sim

import (
	"slices"
	"time"

	"github.com/rota-sched/rota/fsm"
)

// replica is one life of a server: the follower, candidate or leader of the
// modelled log. It keeps to Raft's rules (elections by majority, log matching,
// commit of the own term only, one change of voters at a time); everything else of
// the real one is left out.
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
	votes   []*machine
	next    map[*machine]uint64
	match   map[*machine]uint64
	acked   map[*machine]moment
	install map[*machine]moment // until when a snapshot sent is waited for
	beaten  moment              // when it last looked whether it reaches a majority
	contact time.Duration       // rota.Contact, on the own clock
	reign   *reign
	saving  bool
	waits   []awaited // for an index to be applied
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
		next: map[*machine]uint64{}, match: map[*machine]uint64{}, acked: map[*machine]moment{}, install: map[*machine]moment{},
	}
	r.d.drop()
	r.d.hung = 0
	r.d.synced = r.d.end()
	r.state = fsm.NewWith(m.limits())
	if r.d.snap != nil {
		r.restore(r.d.snap)
	}
	r.waitForLeader()
	return r
}

// config is the newest configuration in the log, committed or not.
func (r *replica) config() voters { return r.d.voters[len(r.d.voters)-1] }

func (r *replica) voter(m *machine) bool { return slices.Contains(r.config().are, m) }

// majority reports whether these machines are one of the voters.
func (r *replica) majority(are func(*machine) bool) bool {
	have := 0
	v := r.config().are
	for _, m := range v {
		if are(m) {
			have++
		}
	}
	return have > len(v)/2
}

// peers are the other servers: voters, and those that only follow.
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
			r.stand(false)
		}
	})
}

// stand is to be a candidate; at the leader's wish the others do not wait until
// they miss it.
func (r *replica) stand(wished bool) {
	r.waitForLeader()
	if r.w.noElections || r.d.full || !r.voter(r.m) {
		return
	}
	r.role, r.leader, r.votes = candidate, nil, []*machine{r.m}
	r.d.term++
	r.d.voted = r.m.id
	term := r.d.term
	index, lastTerm := r.d.last()
	for _, m := range r.config().are {
		if m != r.m {
			r.to(m, func(o *replica) { o.askedForVote(r, term, index, lastTerm, wished) })
		}
	}
	r.counted()
}

func (r *replica) askedForVote(from *replica, term, index, lastTerm uint64, wished bool) {
	if r.d.full || !wished && r.leader != nil && r.w.now-r.heard < moment(election) {
		return // it cannot write its vote down, or hears its leader well
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
	r.to(from.m, func(o *replica) { o.gotVote(r.m, term) })
}

func (r *replica) gotVote(from *machine, term uint64) {
	if r.role != candidate || term != r.d.term || slices.Contains(r.votes, from) {
		return
	}
	r.votes = append(r.votes, from)
	r.counted()
}

func (r *replica) counted() {
	if r.majority(func(m *machine) bool { return slices.Contains(r.votes, m) }) {
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
	for _, m := range r.w.servers {
		r.next[m], r.match[m], r.acked[m], r.install[m] = r.d.end()+1, 0, r.w.now, 0
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
	if !r.majority(func(m *machine) bool { return m == r.m || r.w.now-r.acked[m] < moment(quorumCheck) }) {
		r.w.tell("%s reaches no majority", r.m.name)
		r.follow(term, nil)
		return
	}
	for _, m := range r.peers() {
		r.sendEntries(m)
	}
	r.p.later(heartbeat, again)
}
