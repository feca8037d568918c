package sim

import "time"

// store appends an entry to the own log; its commit follows. A full disk ends the
// lead. (Source: RELIABILITY.md, section 3.)
func (r *replica) store(e logEntry) {
	if r.d.full {
		r.w.tell("%s: the disk is full", r.m.name)
		r.follow(r.d.term, nil)
		return
	}
	r.d.append(e)
	index, term := r.d.last()
	for _, m := range r.peers() {
		r.sendEntries(m)
	}
	r.work(func() {
		if r.role == leads && r.d.term == term {
			r.d.synced = max(r.d.synced, index)
			r.match[r.m] = max(r.match[r.m], index)
			r.count()
		}
	})
}

// maxSent bounds the entries of one message.
const maxSent = 64

func (r *replica) sendEntries(m *machine) {
	term, commit := r.d.term, r.commit
	prev := r.next[m] - 1
	var entries []logEntry
	switch {
	case prev < r.d.base: // the log does not have it any more
		r.sendSnapshot(m)
		prev = 0
	default:
		from := min(prev, r.d.end()) - r.d.base
		to := min(prev+maxSent, r.d.end()) - r.d.base
		entries = r.d.log[from:to:to]
	}
	prevTerm := r.d.termAt(prev)
	r.to(m, func(o *replica) { o.gotEntries(r.m, term, prev, prevTerm, entries, commit) })
}

// heedLeader takes a leader's message in; false: it leads no more.
func (r *replica) heedLeader(from *machine, term uint64) bool {
	if term < r.d.term {
		t := r.d.term
		r.to(from, func(o *replica) { o.acknowledged(r.m, t, 0, false) })
		return false
	}
	if term > r.d.term || r.role != follower || r.leader != from {
		r.follow(term, from)
	}
	r.heard = r.w.now
	r.waitForLeader()
	return true
}

// heardOf answers a heartbeat, which does not wait for the disk: a leader whose
// followers' disks hang leads on.
func (r *replica) heardOf(from *machine, term uint64) {
	r.to(from, func(o *replica) {
		if o.role == leads && o.d.term == term {
			o.acked[r.m] = o.w.now
		}
	})
}

func (r *replica) gotEntries(from *machine, term, prev, prevTerm uint64, entries []logEntry, commit uint64) {
	if !r.heedLeader(from, term) {
		return
	}
	if r.d.full && len(entries) > 0 {
		r.heardOf(from, term)
		return
	}
	take := func() {
		if r.d.term != term {
			return
		}
		// What a snapshot covers was committed: it matches.
		ok := prev <= r.d.base || prev <= r.d.end() && r.d.termAt(prev) == prevTerm
		if ok {
			r.take(prev, entries, commit)
		}
		match := prev + uint64(len(entries))
		if !ok {
			match = min(prev-1, r.d.end())
		}
		r.to(from, func(o *replica) { o.acknowledged(r.m, term, match, ok) })
	}
	switch {
	case len(entries) == 0 && prev <= max(r.d.synced, r.d.base):
		take()
	case r.d.backlog() < 2*time.Second: // else the leader sends it again
		r.heardOf(from, term)
		r.work(take)
	default:
		r.heardOf(from, term)
	}
}

// take writes a leader's entries into the log.
func (r *replica) take(prev uint64, entries []logEntry, commit uint64) {
	for i, e := range entries {
		index := prev + uint64(i) + 1
		if index <= r.d.base {
			continue
		}
		if index <= r.d.end() {
			if r.d.termAt(index) == e.term {
				continue
			}
			if index <= r.commit {
				r.w.broken(kept, "%s drops entry %d, which was committed", r.m.name, index)
				return
			}
			r.d.cut(index)
		}
		r.d.append(e)
	}
	if len(entries) > 0 {
		r.contact = r.m.bootClock()
	}
	to := prev + uint64(len(entries))
	r.d.synced = max(r.d.synced, min(to, r.d.end()))
	if to = min(commit, to); to > r.commit {
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
	next := max(r.next[from], match+1)
	if !ok {
		next = max(1, min(r.next[from]-1, match+1))
	}
	moved := next != r.next[from] // what arrives twice is answered once
	r.next[from] = next
	if ok && match > r.match[from] {
		r.match[from] = match
		r.count()
	}
	if r.role == leads && moved && (!ok || match+maxSent < r.d.end()) {
		r.sendEntries(from)
	}
}

// count commits what a majority has stored.
func (r *replica) count() {
	for n := r.d.end(); n > r.commit && r.d.termAt(n) == r.d.term; n-- {
		if !r.majority(func(m *machine) bool { return r.match[m] >= n }) {
			continue
		}
		for i := max(r.commit, r.d.base) + 1; i <= n; i++ {
			if e := r.d.at(i); e.term == r.d.term {
				r.contact = max(r.contact, e.sent)
			}
		}
		r.commit = n
		r.applyAll()
		return
	}
}
