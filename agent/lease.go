package agent

import (
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// leaseState is the node's right to run things.
type leaseState struct {
	session rota.Session
	// granted is the newest deadline that the cluster's answers allow: when a
	// renewal was sent, plus the TTL. held is what the keeper has taken over of it;
	// only held counts.
	granted, held BootTime
	nextRenew     BootTime
	renewing      int // renewals without an answer
	nextPoll      BootTime
	polling       BootTime // when the poll in flight was sent
	extendAt      BootTime // when the keeper is asked again that was not ready
	trouble       bool     // renewals fail: said once
	seq           uint64   // of streams
}

// end is the deadline that counts: the keeper's, or before it answered for the
// first time the cluster's.
func (l *leaseState) end() BootTime {
	if l.held == 0 {
		return l.granted
	}
	return l.held
}

// maxRenewing bounds the renewals that wait for an answer at the same time.
const maxRenewing = 4

// holdLease renews, polls while renewals fail, and gives the session up when the
// keeper is about to.
func (c *Core) holdLease(now BootTime) {
	l, t := &c.lease, c.cfg.Times
	if now >= l.end().Add(-t.Kill) {
		c.endSession("the lease ran out", now)
		return
	}
	if l.extendAt != 0 && now >= l.extendAt {
		c.extend()
	}
	if now >= l.nextRenew {
		l.nextRenew = now.Add(t.Renew)
		if l.renewing < maxRenewing {
			l.renewing++
			c.memory.renewing(now)
			c.do(Renew{Session: l.session, Sent: now})
		}
	}
	// The newest grant was sent at granted - TTL. Two intervals later renewals are
	// failing, and the voters are asked.
	if l.polling != 0 {
		return
	}
	l.nextPoll = max(l.nextPoll, l.granted.Add(2*t.Renew-t.TTL))
	if now >= l.nextPoll {
		if !l.trouble {
			l.trouble = true
			c.warn("renewals fail, asking the voters", "ends_in", l.end().Sub(now))
		}
		l.polling, l.nextPoll = now, now.Add(t.Renew)
		c.do(Poll{Sent: now})
	}
}

// renewed takes a renewal's answer. The deadline counts from when it was sent.
// (Source: RELIABILITY.md, section 2, rule 2.)
func (c *Core) renewed(e Renewed, now BootTime) {
	if c.phase != phaseHeld || e.Session != c.lease.session {
		return
	}
	c.lease.renewing--
	switch {
	case e.Err == nil && e.Renewal.Incarnation < c.views.incarnation:
		c.warn("answer of an older incarnation ignored", "incarnation", e.Renewal.Incarnation)
	case e.Err == nil && e.Renewal.Current:
		c.followLeader(e.Renewal.Term, now)
		c.memory.renewed(e.Sent, e.Renewal.Index)
		if c.grant(e.Sent.Add(c.cfg.Times.TTL)) && c.lease.trouble {
			c.lease.trouble = false
			c.say("renewed again", "leader", string(e.Renewal.Leader))
		}
	case e.Err == nil || rota.KindOf(e.Err) == rota.KindStale:
		c.endSession("the cluster does not know it any more", now)
	}
}

// grant lets the session live until d, once the keeper has taken that over. A
// moment before the present grant's changes nothing.
func (c *Core) grant(d BootTime) bool {
	if d <= c.lease.granted {
		return false
	}
	c.lease.granted = d
	c.extend()
	return true
}

// extend tells the keeper the newest deadline and the newest view.
func (c *Core) extend() {
	l := &c.lease
	l.extendAt = 0
	c.do(Extend{Lease: Lease{Session: l.session, Deadline: l.granted, Incarnation: c.views.incarnation, Index: c.views.index}})
}

func (c *Core) extended(e Extended, now BootTime) {
	if c.phase != phaseHeld || e.Lease.Session != c.lease.session {
		return
	}
	switch k := rota.KindOf(e.Err); {
	case e.Err == nil:
		c.lease.held = max(c.lease.held, e.Lease.Deadline)
	case k == rota.KindStale || k == rota.KindEnded:
		c.endSession("the keeper has begun to kill", now)
	case k == rota.KindUnavailable: // it still ends the session before this one
		c.lease.extendAt = now.Add(backoffFirst)
	default:
		c.warn("keeper does not answer", "error", e.Err)
		c.keeperGone(now)
	}
}

// covered reports whether something may be started now (rule 2).
func (c *Core) covered(now BootTime) bool { return now < c.startLimit() }

// startLimit is the moment from which on nothing may be started.
func (c *Core) startLimit() BootTime {
	if c.lease.held == 0 {
		return 0
	}
	return c.lease.held.Add(-c.cfg.Times.Kill - c.cfg.Times.Renew)
}

// polled extends the lease when a majority of the voters has not heard a leader
// for so long that no leader may expire it (rule 7).
func (c *Core) polled(e Polled, now BootTime) {
	if c.phase != phaseHeld || e.Sent != c.lease.polling {
		return
	}
	c.lease.polling = 0
	c.lease.nextPoll = max(now, e.Sent.Add(c.cfg.Times.Renew))
	took := now.Sub(e.Sent)
	if e.Err != nil || took > c.cfg.Times.Poll || !leaderless(e.Contacts, c.cfg.Times.Gap+took) {
		return
	}
	c.grant(e.Sent.Add(c.cfg.Times.TTL))
}

// leaderless reports whether a majority of the voters of one configuration, all
// naming that configuration, had their last contact longer ago than silence.
func leaderless(contacts []rota.Contact, silence time.Duration) bool {
	seen := make(map[rota.NodeID]bool, len(contacts))
	silent := map[uint64]int{}
	for i := range contacts {
		k := &contacts[i]
		if !k.Voter || seen[k.Server] || !slices.Contains(k.Voters, k.Server) {
			continue
		}
		seen[k.Server] = true
		if k.Age > silence {
			silent[k.ConfigIndex]++
			if silent[k.ConfigIndex] > len(k.Voters)/2 {
				return true
			}
		}
	}
	return false
}
