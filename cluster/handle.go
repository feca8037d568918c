package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// HandleProbe says who this node is.
func (c *Cluster) HandleProbe(context.Context) (ProbeReply, error) {
	r := ProbeReply{
		Node: c.id, Name: c.cfg.Name, Server: c.cfg.server(), HTTP: c.cfg.HTTPAdvertise,
		Raft: c.raftAt, Gossip: c.gossAt, Wall: c.cfg.Seams.Wall(),
	}
	if mem := c.ident.membership(); mem != nil {
		r.ClusterID = mem.ClusterID
		r.Leader, r.LeaderHTTP, _ = c.Leader()
	} else {
		r.Expect = c.cfg.BootstrapExpect
		r.Restores = c.restores()
		r.Known = append(c.founder.met(), c.cfg.Join...)
	}
	if c.ledger != nil {
		r.Stored = c.ledger.end()
		r.HasData = r.Stored > 0 || c.replica.applied.Load() > 0
		r.Applied = c.replica.applied.Load()
		r.Checks = c.replica.checked()
		r.Member = c.member.Load()
		r.Pace = c.ledger.paces.lately(time.Now())
		index, config := c.ledger.configuration()
		r.ConfigIndex = index
		for _, s := range config.Servers {
			r.Servers = append(r.Servers, rota.NodeID(s.ID))
		}
	}
	return r, nil
}

// HandleJoin lets a node become part of the cluster: gossip does the rest, and the
// leader takes a server into the log's configuration when gossip brings it.
func (c *Cluster) HandleJoin(_ context.Context, req JoinRequest) (JoinReply, error) {
	mem := c.ident.membership()
	if mem == nil || !c.hasStarted() {
		c.founder.meet(req.HTTP)
		return JoinReply{}, &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf("node %s does not belong to a cluster itself yet", c.cfg.Name)}
	}
	if req.Node == "" || req.Node == c.id {
		return JoinReply{}, &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf("a node cannot join under the ID %q", req.Node)}
	}
	reply := JoinReply{ClusterID: mem.ClusterID, Key: mem.Key, Voters: mem.Voters, Gossip: []string{c.gossAt}}
	for _, m := range c.Members() {
		if m.State == MemberAlive && m.ID != c.id && m.ID != req.Node && len(reply.Gossip) < seedsKept {
			reply.Gossip = append(reply.Gossip, m.Gossip)
		}
	}
	return reply, nil
}

// HandleAccept gives this node's word to found a cluster with others, if it has no
// data, expects as many servers as the list has, and has not given it to others.
func (c *Cluster) HandleAccept(_ context.Context, req AcceptRequest) (AcceptReply, error) {
	refused := func(format string, args ...any) (AcceptReply, error) {
		return AcceptReply{Reason: fmt.Sprintf(format, args...)}, nil
	}
	n := len(req.Servers)
	switch {
	case req.ClusterID == "" || n == 0:
		return AcceptReply{}, &rota.Refusal{Kind: rota.KindInvalid, Detail: "the list of founders is empty"}
	case c.ident.membership() != nil:
		return refused("node %s belongs to a cluster already", c.cfg.Name)
	case !c.cfg.server() || c.cfg.BootstrapExpect != n:
		return refused("node %s expects %d servers, not %d", c.cfg.Name, c.cfg.BootstrapExpect, n)
	case c.ledger.end() > 0:
		return refused("node %s has data", c.cfg.Name)
	case c.restores():
		return refused("node %s has a snapshot to found the cluster from, and proposes it itself", c.cfg.Name)
	case !slices.IsSortedFunc(req.Servers, func(a, b Founder) int { return compareIDs(a.Node, b.Node) }):
		return AcceptReply{}, &rota.Refusal{Kind: rota.KindInvalid, Detail: "the list of founders is not sorted"}
	case !slices.ContainsFunc(req.Servers, func(f Founder) bool { return f.Node == c.id && f.Raft == c.raftAt }):
		return refused("node %s is not in the list", c.cfg.Name)
	case !c.founder.promise(req, c.cfg.Timeouts.Accept):
		return refused("node %s has given its word to other servers", c.cfg.Name)
	}
	return AcceptReply{Accepted: true}, nil
}

func compareIDs(a, b rota.NodeID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *Cluster) hasStarted() bool {
	select {
	case <-c.started:
		return true
	default:
		return false
	}
}
