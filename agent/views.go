package agent

import (
	"time"

	"github.com/rota-sched/rota"
)

// viewState is how far the agent has followed the leader's views.
type viewState struct {
	incarnation uint16
	index       uint64 // of the newest view seen, ever
	open        uint64 // number of the stream that is open; 0: none
	full        bool   // that stream brought its full view
	term        uint64 // of that stream's newest view
	retryAt     BootTime
	backoff     time.Duration
}

// older reports whether a view comes before the newest seen.
func (v *viewState) older(incarnation uint16, index uint64) bool {
	return incarnation < v.incarnation || incarnation == v.incarnation && index < v.index
}

func (v *viewState) see(incarnation uint16, index uint64) bool {
	if v.older(incarnation, index) || incarnation == v.incarnation && index == v.index {
		return false
	}
	v.incarnation, v.index = incarnation, index
	return true
}

// keepStream opens the stream of views whenever there is none.
func (c *Core) keepStream(now BootTime) {
	v := &c.views
	if v.open != 0 || v.retryAt == 0 || now < v.retryAt {
		return
	}
	c.lease.seq++
	v.open, v.full, v.retryAt = c.lease.seq, false, 0
	c.do(OpenStream{Stream: v.open, Session: c.lease.session, Incarnation: v.incarnation, Index: v.index})
}

// streamEnded opens another stream soon.
func (c *Core) streamEnded(e StreamEnded, now BootTime) {
	v := &c.views
	if c.phase != phaseHeld || e.Stream != v.open {
		return
	}
	v.backoff = longer(v.backoff)
	v.open, v.full, v.retryAt = 0, false, now.Add(v.backoff)
	if v.backoff == backoffMost {
		c.warn("no stream of placements", "error", e.Err)
	}
	if rota.KindOf(e.Err) == rota.KindStale {
		c.lease.nextRenew = now // the renewal's answer is what ends a session
	}
}

// followLeader leaves a stream whose leader is not the one that renewed: its end
// may never be heard of when its host is gone.
func (c *Core) followLeader(term uint64, now BootTime) {
	v := &c.views
	if v.open != 0 && v.full && term > v.term {
		c.do(CloseStream{Stream: v.open})
		v.open, v.full, v.retryAt = 0, false, now
	}
}

// viewed does what a view says, unless it is older than the newest seen.
func (c *Core) viewed(e Viewed, now BootTime) {
	s, v := &c.views, e.View
	if c.phase != phaseHeld || e.Stream != s.open || v.Session != c.lease.session {
		return
	}
	if s.older(v.Incarnation, v.Index) {
		c.warn("view refused: it is older than the newest seen", "incarnation", v.Incarnation, "index", v.Index, "newest", s.index)
		return
	}
	if !v.Full && (!s.full || v.Incarnation != s.incarnation) {
		c.warn("stream without a full view first", "index", v.Index)
		c.do(CloseStream{Stream: s.open})
		c.streamEnded(StreamEnded{Stream: s.open}, now)
		return
	}
	s.full, s.backoff, s.term = true, 0, v.Term
	newer := s.see(v.Incarnation, v.Index)
	if newer {
		c.forget()
	}
	for i := range v.Stop {
		c.stopRef(Ref{Task: v.Stop[i].Task, Fence: v.Stop[i].Fence}, v.Stop[i].Cause)
	}
	if v.Full {
		c.stopUnlisted(v)
	}
	for i := range v.Start {
		c.place(v.Start[i])
	}
	if newer && c.lease.granted != 0 {
		c.extend()
	}
}

// stopUnlisted ends what a full view does not list.
func (c *Core) stopUnlisted(v *rota.View) {
	listed := make(map[Ref]bool, len(v.Start)+len(v.Stop))
	for i := range v.Start {
		listed[Ref{Task: v.Start[i].Task, Fence: v.Start[i].Fence}] = true
	}
	for i := range v.Stop {
		listed[Ref{Task: v.Stop[i].Task, Fence: v.Stop[i].Fence}] = true
	}
	for _, ref := range c.sorted(func(a *attempt) bool { return a.state != attemptEnded && !listed[a.ref] }) {
		c.stopRef(ref, rota.CauseCancelled)
	}
}

// memory is which answered attempts a view might still list. A fence may be
// forgotten once every view that lists it would be refused as old: the entry that
// took its release in comes before the entry of a renewal sent after the answer,
// and a view at or after that one has been seen.
type memory struct {
	answered []Ref // since the last renewal was sent
	batches  []memoryBatch
}

type memoryBatch struct {
	sent  BootTime // of the renewal
	index uint64   // of its entry; 0: not answered yet
	refs  []Ref
}

func (m *memory) renewing(sent BootTime) {
	if len(m.answered) > 0 {
		m.batches = append(m.batches, memoryBatch{sent: sent, refs: m.answered})
		m.answered = nil
	}
}

func (m *memory) renewed(sent BootTime, index uint64) {
	for i := range m.batches {
		if m.batches[i].sent <= sent && m.batches[i].index == 0 {
			m.batches[i].index = index
		}
	}
}

// forget drops what no view can list any more.
func (c *Core) forget() {
	b := c.memory.batches
	for len(b) > 0 && b[0].index != 0 && b[0].index <= c.views.index {
		for _, ref := range b[0].refs {
			delete(c.attempts, ref)
		}
		b = b[1:]
	}
	c.memory.batches = b
}
