package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

const hintKept = 5 * time.Second // how long a word of who leads is believed

// contacts notes when this node last heard of others.
type contacts struct {
	mu     sync.Mutex // guards what follows
	began  time.Time
	leader time.Time
	others map[rota.NodeID]time.Time
}

func (k *contacts) init() { k.began, k.others = time.Now(), map[rota.NodeID]time.Time{} }

// heardLeader notes a leader's word: another's, or this node's own as leader.
func (k *contacts) heardLeader() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leader = time.Now()
}

// heardAny reports whether there was a leader since this node was started.
func (k *contacts) heardAny() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.leader.IsZero()
}

func (k *contacts) reached(id rota.NodeID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.others[id] = time.Now()
}

// since is the time since a server was last heard of; negative: never.
func (k *contacts) since(id rota.NodeID) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at, ok := k.others[id]; ok {
		return time.Since(at)
	}
	return -1
}

func (k *contacts) sinceLeader() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.leader.IsZero() {
		return time.Since(k.began)
	}
	return time.Since(k.leader)
}

// Status is how this node stands in the cluster.
type Status struct {
	ClusterID  string
	Node       rota.NodeID
	Name       string
	Leader     rota.NodeID // empty: none known
	LeaderHTTP string
	Leads      bool
	Voter      bool
	Replica    bool
	Term       uint64 // zero without a replica
	Index      uint64 // newest entry applied here
	Stored     uint64 // newest entry on disk here
	// Age bounds how old the state of this node may be: the time since the leader was
	// last heard.
	Age         time.Duration
	LastContact time.Duration // since this node last heard the leader; zero where it leads
}

// Status gives how this node stands.
func (c *Cluster) Status() Status {
	s := Status{Node: c.id, Name: c.cfg.Name}
	if mem := c.ident.membership(); mem != nil {
		s.ClusterID = mem.ClusterID
	}
	s.Leader, s.LeaderHTTP, _ = c.Leader()
	r := c.rafting()
	if r == nil {
		return s
	}
	re, _ := c.current()
	s.Leads = re != nil
	s.Term = r.CurrentTerm()
	s.Index = c.replica.applied.Load()
	s.Stored = c.ledger.end()
	_, config := c.ledger.configuration()
	for _, v := range config.Servers {
		if v.ID == raft.ServerID(c.id) {
			s.Replica = true
			s.Voter = v.Suffrage == raft.Voter
		}
	}
	if !s.Leads {
		s.LastContact = min(c.contact.sinceLeader(), time.Since(c.ledger.contact()))
		s.Age = s.LastContact
	}
	return s
}

// Leader is the node that leads, as far as this one knows, and its HTTP address.
func (c *Cluster) Leader() (id rota.NodeID, http string, ok bool) {
	c.mu.Lock()
	re, r, g, hint := c.reign, c.raft, c.gossip, c.hint
	c.mu.Unlock()
	if re != nil {
		return c.id, c.cfg.HTTPAdvertise, true
	}
	if g == nil {
		return "", "", false
	}
	if r != nil && !c.watch.hung() { // else Raft does not hear either
		if _, lid := r.LeaderWithID(); lid != "" {
			if lid == raft.ServerID(c.id) {
				return "", "", false // elected, but its barrier is not through
			}
			m, known := g.member(rota.NodeID(lid))
			return rota.NodeID(lid), m.HTTP, known && m.HTTP != ""
		}
		if c.holdsReplica() && !hint.heir {
			return "", "", false
		}
	}
	return guessLeader(g.snapshot(), hint)
}

// guessLeader is for a node that Raft does not tell: what a server said lately, unless
// gossip has told of a newer term since; else who calls itself leader of the newest
// term.
func guessLeader(members []Member, hint leaderHint) (id rota.NodeID, http string, ok bool) {
	term, leads := newestTerm(members)
	if hint.id != "" && hint.http != "" && time.Since(hint.at) < hintKept && term <= hint.term {
		return hint.id, hint.http, true
	}
	return leads.ID, leads.HTTP, leads.ID != ""
}

// newestTerm is the newest term that a living node says to lead in, and that node.
func newestTerm(members []Member) (term uint64, leads Member) {
	for _, m := range members {
		if m.State == MemberAlive && m.LeadTerm > term {
			term, leads = m.LeadTerm, m
		}
	}
	return term, leads
}

// route is where to send what only the leader can do: to the leader, or to a
// server that knows more than this node.
func (c *Cluster) route() (http string, ok bool) {
	if _, http, ok = c.Leader(); ok {
		return http, http != c.cfg.HTTPAdvertise
	}
	if c.ledger != nil && c.holdsReplica() {
		return "", false
	}
	for _, m := range c.Members() {
		if m.State == MemberAlive && m.Server() && m.ID != c.id {
			return m.HTTP, true
		}
	}
	return "", false
}

// hear notes what a server said about who leads.
func (c *Cluster) hear(id rota.NodeID, http string) {
	term, _ := newestTerm(c.Members())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hint = leaderHint{id: id, http: http, at: time.Now(), term: term}
}

// forget drops what was heard of a leader that does not answer.
func (c *Cluster) forget(http string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hint.http == http {
		c.hint = leaderHint{}
	}
}

// Servers gives the servers of the log, by the newest configuration this node has.
// Nil on a node without a replica.
func (c *Cluster) Servers() []ServerState {
	if c.ledger == nil {
		return nil
	}
	leader, _, _ := c.Leader()
	g := c.gossiping()
	_, config := c.ledger.configuration()
	servers := make([]ServerState, 0, len(config.Servers))
	for _, s := range config.Servers {
		st := ServerState{ID: rota.NodeID(s.ID), Raft: string(s.Address), Voter: s.Suffrage == raft.Voter}
		st.Leader = leader == st.ID
		if g != nil {
			if m, ok := g.member(st.ID); ok {
				st.Name, st.HTTP, st.Alive, st.Replaces, st.MaxFormat = m.Name, m.HTTP, m.State == MemberAlive, m.Replaces, m.MaxFormat
			}
		}
		switch {
		case st.ID == c.id:
			st.Alive = true
		case st.Leader:
			st.Contact = c.contact.sinceLeader()
		default:
			st.Contact = c.contact.since(st.ID)
		}
		servers = append(servers, st)
	}
	return servers
}

// Members gives all nodes that gossip knows, sorted by name.
func (c *Cluster) Members() []Member {
	if g := c.gossiping(); g != nil {
		return g.snapshot()
	}
	return nil
}

// Contact is this voter's word about when it last stored what a leader sent. It
// answers also while the disk hangs. (Source: RELIABILITY.md, section 2, rule 7.)
func (c *Cluster) Contact() rota.Contact {
	k := rota.Contact{Server: c.id}
	if c.ledger == nil {
		return k
	}
	index, config := c.ledger.configuration()
	k.ConfigIndex = index
	for _, s := range config.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		k.Voters = append(k.Voters, rota.NodeID(s.ID))
		k.Voter = k.Voter || s.ID == raft.ServerID(c.id)
	}
	last := c.ledger.contact()
	c.mu.Lock()
	if c.committed.After(last) {
		last = c.committed
	}
	c.mu.Unlock()
	k.Age = time.Since(last)
	return k
}

// TransferLeadership hands the lead to another voter; nothing happens if this node
// does not lead.
func (c *Cluster) TransferLeadership(ctx context.Context) error {
	r := c.rafting()
	if r == nil || r.State() != raft.Leader {
		return nil
	}
	future := r.LeadershipTransfer()
	done := make(chan error, 1)
	go func() { done <- future.Error() }() // ends within Raft's election timeout
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("hand over the lead: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hand over the lead: %w", ctx.Err())
	}
}

// Leave says goodbye: it hands over the lead, if there is another voter to take
// it, and tells gossip. The node stays a server of the log and may come back; end
// Run's context next.
func (c *Cluster) Leave(ctx context.Context) error {
	err := c.TransferLeadership(ctx)
	if g := c.gossiping(); g != nil {
		timeout := updateTimeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline))
		}
		err = errors.Join(err, g.leave(max(timeout, time.Millisecond)))
	}
	return err
}
