package leader

import (
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// leases is the table of the sessions that are alive, and the one entry with
// renewals that may be on its way. (Source: RELIABILITY.md, section 2.)
type leases struct {
	table map[rota.NodeID]*lease
	order []*lease // by node
	asked []RenewalAsked
	out   *renewal
	tried bool          // an entry was ever proposed
	sent  time.Duration // when the newest one was
	// counting begins when the first entry of this leadership has committed: its
	// proposal's instant is known, which the barrier's is not.
	counting bool
	from     time.Duration // leases count from here at the earliest: the start, or the newest gap
	lastSent time.Duration // S of the newest entry that has committed
	nextEnd  time.Duration // no lease ends before; lowered only by a scan
}

// lease is one session that is alive.
type lease struct {
	session  rota.Session
	index    uint64        // of the entry that registered or renewed it last
	at       time.Duration // when this node saw that entry committed
	expiring bool          // ExpireSession is on its way, or its entry was not seen yet
	ended    uint64        // the entry of it; zero until its result is here
}

// renewal is the entry on its way.
type renewal struct {
	sent  time.Duration // S: its proposal
	asked []RenewalAsked
	index uint64 // zero until its result is here
}

func (l *leases) init() { l.table = map[rota.NodeID]*lease{} }

// observeNode takes in that a node has another session, or none.
func (l *leases) observeNode(n *rota.Node, index uint64, now time.Duration) {
	old := l.table[n.ID]
	if old != nil {
		l.order = slices.DeleteFunc(l.order, func(o *lease) bool { return o == old })
		delete(l.table, n.ID)
	}
	if n.Session.IsZero() {
		return
	}
	e := &lease{session: n.Session, index: index, at: now}
	l.table[n.ID] = e
	at, _ := slices.BinarySearchFunc(l.order, n.ID, func(o *lease, id rota.NodeID) int {
		switch {
		case o.session.Node < id:
			return -1
		case o.session.Node > id:
			return 1
		}
		return 0
	})
	l.order = slices.Insert(l.order, at, e)
}

// renewed takes in that an entry of this term renewed a session.
func (l *leases) renewed(s rota.Session, index uint64, now time.Duration) {
	if e := l.table[s.Node]; e != nil && e.session == s {
		e.index, e.at = index, now
	}
}

// gap notes that the leader's commits paused for longer than nodes may bridge by
// themselves, or that it must be assumed: every lease starts again.
func (l *leases) gap(now time.Duration) { l.from = now }

func (l *leases) ask(ev RenewalAsked) { l.asked = append(l.asked, ev) }

func (l *leases) forget(t Token) {
	gone := func(a RenewalAsked) bool { return a.Token == t }
	l.asked = slices.DeleteFunc(l.asked, gone)
	if l.out != nil {
		l.out.asked = slices.DeleteFunc(l.out.asked, gone)
	}
}

// driveLeases answers renewals whose entry has committed, proposes the next entry
// and ends what has run out.
func (c *Core) driveLeases(now Now) {
	l := &c.leases
	if l.out != nil && l.out.index != 0 && l.out.index <= c.applied {
		c.committed(now.Mono)
	}
	if l.out == nil && (!l.tried || now.Mono >= l.sent+c.cfg.RenewEvery) && l.wanted() {
		c.proposeRenewals(now.Mono)
	}
	if l.counting && now.Mono >= l.nextEnd {
		c.expire(now.Mono)
	}
}

// wanted reports whether an entry has a purpose: somebody asks, leases are out, or
// the leadership has not shown yet that it can commit.
func (l *leases) wanted() bool { return len(l.asked) > 0 || len(l.order) > 0 || !l.counting }

func (c *Core) proposeRenewals(now time.Duration) {
	l := &c.leases
	r := &renewal{sent: now, asked: l.asked}
	l.asked, l.out, l.sent, l.tried = nil, r, now, true
	// A session that is not in the table may have registered in an entry that was
	// not seen yet; the state machine ignores those that are over.
	named := map[rota.Session]bool{}
	var sessions []rota.Session
	for _, a := range r.asked {
		if !named[a.Session] {
			named[a.Session] = true
			sessions = append(sessions, a.Session)
		}
	}
	c.propose(rota.RenewLeases{Sessions: sessions}, func(d ProposalDone, _ Now) {
		if d.Failed || d.Result.Kind != rota.KindNone {
			// Their nodes still wait, and counted from before: a later entry serves
			// them as well.
			l.asked = append(r.asked, l.asked...)
			l.out = nil
			return
		}
		r.index = d.Result.Index
	})
}

// committed settles the entry on its way: it was applied, in this term, for no
// entry of another one was seen.
func (c *Core) committed(now time.Duration) {
	l := &c.leases
	r := l.out
	l.out = nil
	switch {
	case !l.counting:
		l.counting = true
		l.from = max(l.from, now)
	case now-l.lastSent > c.cfg.Times.Gap:
		l.gap(now)
	}
	l.lastSent = r.sent
	for _, a := range r.asked {
		e := l.table[a.Session.Node]
		current := e != nil && e.session == a.Session && e.index >= r.index
		c.act(AnswerRenewal{Token: a.Token, Renewal: rota.Renewal{
			Current: current, Incarnation: c.incarnation, Term: c.term, Index: r.index, Leader: c.id,
		}})
	}
}

// expire proposes the end of every session that was silent for the leader's TTL,
// if this leader has committed without a gap all the while.
func (c *Core) expire(now time.Duration) {
	l := &c.leases
	if now-l.lastSent > c.cfg.Times.Gap {
		l.nextEnd = now + c.cfg.RenewEvery // perhaps its next entry commits; that will be a gap
		return
	}
	l.nextEnd = now + c.cfg.Times.LeaderTTL
	for _, e := range l.order {
		end := max(e.at, l.from) + c.cfg.Times.LeaderTTL
		if e.ended != 0 && e.ended <= c.applied {
			e.expiring, e.ended = false, 0 // its entry found a newer renewal
		}
		switch {
		case now < end:
			l.nextEnd = min(l.nextEnd, end)
		case !e.expiring:
			c.proposeExpiry(e)
		}
	}
}

func (c *Core) proposeExpiry(e *lease) {
	e.expiring = true
	op := rota.ExpireSession{Session: e.session, Seen: e.index, Term: c.term}
	c.propose(op, func(d ProposalDone, now Now) {
		c.leases.nextEnd = min(c.leases.nextEnd, now.Mono+c.cfg.RenewEvery)
		if d.Failed || d.Result.Kind != rota.KindNone {
			e.expiring = false
			return
		}
		e.ended = d.Result.Index
	})
}

// wake is when the table wants to be looked at again.
func (l *leases) wake(cfg *Config) (time.Duration, bool) {
	wake, ok := l.nextEnd, l.counting && len(l.order) > 0
	if next := l.sent + cfg.RenewEvery; l.out == nil && l.tried && l.wanted() && (!ok || next < wake) {
		wake, ok = next, true
	}
	return wake, ok
}
