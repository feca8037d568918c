package fsm

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rota-sched/rota"
)

// registerNode begins a session. What the node's former session still had counts
// as lost with it.
func (s *State) registerNode(op *rota.RegisterNode) rota.Result {
	info := normalInfo(op.Info)
	if kind, detail := s.checkNode(&info, op.Boot); kind != rota.KindNone {
		return refused(kind, detail)
	}
	if why := s.whyQuiet(); why != "" {
		return refused(rota.KindUnavailable, why)
	}
	old := s.nodeByID(info.ID)
	last := s.meta.sessions
	if old != nil {
		last = old.LastCounter
	}
	if op.Counter != 0 && op.Counter != last+1 {
		res := refused(rota.KindStale, fmt.Sprintf("a session with the counter %d cannot follow one with %d", op.Counter, last))
		res.Session = rota.Session{Node: info.ID, Counter: last}
		return res
	}
	switch {
	case old == nil:
		old = &node{Node: rota.Node{LastCounter: s.meta.sessions}}
		old.ID = info.ID
		s.nodes.Set(nodeItem{id: info.ID, rec: old})
		s.names.Set(nameItem{id: info.ID})
	case !old.Session.IsZero():
		s.endSession(old, failure{cause: rota.CauseNodeLost, message: "its node began a new session"})
	}
	n := s.editNode(info.ID)
	s.names.Delete(nameItem{name: n.Name, id: n.ID})
	s.names.Set(nameItem{name: info.Name, id: info.ID})
	n.NodeInfo = info
	n.LastCounter++
	n.Session = rota.Session{Node: info.ID, Boot: op.Boot, Counter: n.LastCounter}
	n.RenewedIndex = s.meta.index
	n.Suspect, n.Left, n.Unfit = false, false, ""
	n.RegisteredAt, n.ChangedAt = s.meta.now, s.meta.now
	n.Held = rota.Held{}
	s.w.buf = appendNodeInfo(s.w.buf[:0], &n.NodeInfo)
	n.fixed = hash(kindNode, s.w.buf)
	s.setLease(n.Session)
	s.emit(rota.Change{Type: rota.ChangeNode, Node: &n.Node})
	s.emit(rota.Change{Type: rota.ChangeRenewed, Renewed: []rota.Session{n.Session}})
	return rota.Result{Session: n.Session}
}

func (s *State) checkNode(info *rota.NodeInfo, boot string) (rota.Kind, string) {
	var b []byte
	switch b = appendNodeInfo(s.w.buf[:0], info); {
	case info.ID == "" || len(info.ID) > maxNameBytes:
		return rota.KindInvalid, "a node without an ID"
	case info.Name == "" || len(info.Name) > maxNameBytes:
		return rota.KindInvalid, "a node without a name"
	case len(b) > 64<<10:
		return rota.KindTooLarge, over("bytes of a node's facts", int64(len(b)), 64<<10)
	case len(boot) > maxNameBytes:
		return rota.KindInvalid, "the boot ID is too long"
	case !amountOK(info.Capacity.CPUMilli, info.Capacity.MemoryBytes, info.Capacity.DiskBytes, info.Capacity.Slots):
		return rota.KindInvalid, "the node's capacity is negative or far too large"
	}
	s.w.buf = b
	for i, g := range info.Capacity.GPUs {
		if !amountOK(g.MemoryBytes) || info.Capacity.GPUIndex(g.ID) != i {
			return rota.KindInvalid, fmt.Sprintf("the device %q is there twice, or its memory is negative", g.ID)
		}
	}
	if s.nodeByID(info.ID) == nil && s.nodes.Len() >= s.limits.MaxNodes {
		return rota.KindTooLarge, over("nodes", int64(s.nodes.Len()+1), int64(s.limits.MaxNodes))
	}
	if other := s.liveNamesake(info); other != nil {
		return rota.KindConflict, fmt.Sprintf("the name %q belongs to node %s at %s, which is %s: choose another --name, or stop that node", info.Name, other.ID, other.Address, other.State())
	}
	return rota.KindNone, ""
}

// liveNamesake finds another node of the name that has a session.
func (s *State) liveNamesake(info *rota.NodeInfo) *node {
	var found *node
	s.names.Ascend(nameItem{name: info.Name}, func(it nameItem) bool {
		if it.name != info.Name {
			return false
		}
		if n := s.nodeByID(it.id); n != nil && n.ID != info.ID && !n.Session.IsZero() {
			found = n
		}
		return found == nil
	})
	return found
}

// normalInfo sorts what look-ups expect to be sorted, on copies.
func normalInfo(info rota.NodeInfo) rota.NodeInfo {
	info.Labels = sortedPairs(info.Labels)
	info.Capabilities = sorted(info.Capabilities)
	info.Models = sorted(info.Models)
	return info
}

func sorted[T cmp.Ordered](l []T) []T {
	if slices.IsSorted(l) {
		return l
	}
	l = slices.Clone(l)
	slices.Sort(l)
	return l
}

func (s *State) setLease(session rota.Session) {
	l := &lease{session: session, index: s.meta.index}
	s.w.buf = appendUint(appendSession(s.w.buf[:0], session), l.index)
	l.sum = hash(kindLease, s.w.buf)
	s.sum = s.sum.add(l.sum)
	if old, ok := s.leases.Set(leaseItem{node: session.Node, rec: l}); ok {
		s.sum = s.sum.sub(old.rec.sum)
	}
}

func (s *State) dropLease(id rota.NodeID) {
	if old, ok := s.leases.Delete(leaseItem{node: id}); ok {
		s.sum = s.sum.sub(old.rec.sum)
	}
}

func (s *State) renewLeases(op *rota.RenewLeases) rota.Result {
	var renewed []rota.Session
	for _, session := range op.Sessions {
		if l := s.leaseOf(session.Node); l == nil || l.session != session {
			continue
		}
		s.setLease(session)
		renewed = append(renewed, session)
	}
	if len(renewed) > 0 {
		s.emit(rota.Change{Type: rota.ChangeRenewed, Renewed: renewed})
	}
	return rota.Result{}
}

// expireSession is a compare-and-set: a renewal that was applied after the one the
// proposer saw keeps the session. A release needs no comparison: the keeper, which
// alone may start anything there, has vouched that nothing lives.
func (s *State) expireSession(op *rota.ExpireSession) rota.Result {
	l := s.leaseOf(op.Session.Node)
	switch {
	case l == nil || l.session != op.Session:
		return refused(rota.KindStale, "the session "+op.Session.String()+" is not current")
	case !op.Released && op.Term != 0 && s.w.entry.Term != 0 && op.Term != s.w.entry.Term:
		return refused(rota.KindStale, fmt.Sprintf("the expiry was decided in term %d, this is %d", op.Term, s.w.entry.Term))
	case !op.Released && l.index > op.Seen:
		return refused(rota.KindStale, fmt.Sprintf("the session %s was renewed at index %d, after %d", op.Session, l.index, op.Seen))
	}
	var items []rota.Kind
	if op.Released {
		items = s.report(&rota.Report{Session: op.Session, Items: op.Items}).Items
	}
	n := s.nodeByID(op.Session.Node)
	message := "its node " + n.Name + " vanished: its lease ran out"
	switch {
	case op.Left:
		message = "its node " + n.Name + " was stopped"
	case op.Released:
		message = "the agent of its node " + n.Name + " died and the keeper ended what it ran"
	}
	s.endSession(n, failure{cause: rota.CauseNodeLost, message: message, planned: op.Left})
	n = s.editNode(n.ID)
	n.Session, n.RenewedIndex = rota.Session{}, 0
	n.Suspect, n.Left, n.Unfit = false, op.Left, ""
	n.ChangedAt = s.meta.now
	s.dropLease(n.ID)
	s.emit(rota.Change{Type: rota.ChangeNode, Node: &n.Node})
	return rota.Result{Items: items}
}

// endSession takes back everything that was placed on a node: every placement
// counts as possibly started.
func (s *State) endSession(n *node, f failure) {
	f.gaveUp = true
	var held []*hold
	s.holds.Ascend(holdItem{holdKey: holdKey{node: n.ID}}, func(it holdItem) bool {
		if it.node == n.ID {
			held = append(held, it.rec)
		}
		return it.node == n.ID
	})
	for _, h := range held {
		t := s.freeHold(h)
		if t == nil || t.Placement == nil || t.Placement.Fence != h.Fence {
			continue
		}
		s.fail(t, f)
		s.follow()
	}
}

func (s *State) markNode(op *rota.MarkNode) rota.Result {
	n := s.nodeByID(op.Node)
	if n == nil {
		return refused(rota.KindNotFound, fmt.Sprintf("no node has the ID %q", op.Node))
	}
	drain, suspect := n.Draining, n.Suspect
	if op.Drain != nil {
		drain = *op.Drain
	}
	if op.Suspect != nil && !n.Session.IsZero() {
		suspect = *op.Suspect
	}
	if drain == n.Draining && suspect == n.Suspect {
		return rota.Result{}
	}
	n = s.editNode(n.ID)
	n.Draining, n.Suspect, n.ChangedAt = drain, suspect, s.meta.now
	s.emit(rota.Change{Type: rota.ChangeNode, Node: &n.Node})
	return rota.Result{}
}

// maxUnfitBytes bounds a node's word why it is unfit.
const maxUnfitBytes = 1 << 10

// markUnfit takes a node's word on itself. That of a session that is over says
// nothing about the present one.
func (s *State) markUnfit(op *rota.MarkUnfit) rota.Result {
	l := s.leaseOf(op.Session.Node)
	if l == nil || l.session != op.Session {
		return refused(rota.KindStale, "the session "+op.Session.String()+" is not current")
	}
	n := s.nodeByID(op.Session.Node)
	why := clip(op.Why, maxUnfitBytes)
	if why == n.Unfit {
		return rota.Result{}
	}
	n = s.editNode(n.ID)
	n.Unfit, n.ChangedAt = why, s.meta.now
	s.emit(rota.Change{Type: rota.ChangeNode, Node: &n.Node})
	return rota.Result{}
}

// forgetNode drops a node that has been away for long. The floor of session
// counters keeps a node that comes back from repeating one.
func (s *State) forgetNode(id rota.NodeID) {
	n := s.nodeByID(id)
	if n == nil || s.forgetAt(n) == 0 || s.forgetAt(n) > s.meta.now {
		return
	}
	s.nodes.Delete(nodeItem{id: id})
	s.names.Delete(nameItem{name: n.Name, id: id})
	s.sum = s.sum.sub(n.sum)
	s.meta.sessions = max(s.meta.sessions, n.LastCounter)
}

// forgetAt is when a node without a session is forgotten; zero: never. An operator's
// drain is kept.
func (s *State) forgetAt(n *node) rota.Instant {
	if !n.Session.IsZero() || n.Draining {
		return 0
	}
	return n.ChangedAt.Add(s.limits.KeepNodes)
}
