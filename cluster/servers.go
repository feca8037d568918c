package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

// FindServer finds a server of the log by ID, by name, or by the beginning of an ID
// that no other has.
func (c *Cluster) FindServer(word string) (ServerState, error) {
	var found []ServerState
	for _, s := range c.Servers() {
		if string(s.ID) == word {
			return s, nil
		}
		if s.Name == word || (len(word) >= 4 && len(word) < len(s.ID) && string(s.ID[:len(word)]) == word) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return ServerState{}, &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf(
			"no server of the log has the name or ID %q; `rota server list` shows them", word)}
	default:
		return ServerState{}, &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf("%d servers match %q: give the whole ID", len(found), word)}
	}
}

// RemoveServer takes a server out of the log's configuration, for good: it does not come
// back under this ID. Only on the leader. It refuses what would leave no live majority
// of the voters. A leader that is to remove itself hands over the lead first, and answers
// KindNoLeader: the next one does it.
func (c *Cluster) RemoveServer(ctx context.Context, word string) (ServerState, error) {
	r := c.rafting()
	re, _ := c.current()
	if r == nil || re == nil {
		return ServerState{}, errNoReign
	}
	s, err := c.FindServer(word)
	if err != nil {
		return s, err
	}
	if err := c.rosterNow(map[rota.NodeID]int{}, nil).mayRemove(s.ID, c.answering(ctx)); err != nil {
		return s, err
	}
	if s.ID == c.id {
		if err := c.TransferLeadership(ctx); err != nil {
			return s, &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf("server %s leads, and the lead could not be handed over first: %v", s.Name, err)}
		}
		return s, &rota.Refusal{Kind: rota.KindNoLeader, Detail: fmt.Sprintf("server %s led and has handed over the lead first; try again", s.Name)}
	}
	index, _ := c.ledger.configuration()
	if err := r.RemoveServer(raft.ServerID(s.ID), index, c.cfg.Timeouts.Raft).Error(); err != nil {
		return s, &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf("server %s could not be removed: %v; look at `rota server list` and try again", s.Name, err)}
	}
	c.log.Info("changed the log's servers", "change", "remove", "server", s.ID, "name", s.Name, "reason", "by hand")
	return s, nil
}

// answering asks every voter, now: gossip believes in a server that died for some seconds
// longer.
func (c *Cluster) answering(ctx context.Context) map[rota.NodeID]bool {
	answers := map[rota.NodeID]bool{c.id: true}
	var addrs []string
	for _, s := range c.Servers() {
		if s.Voter && s.ID != c.id && s.HTTP != "" {
			addrs = append(addrs, s.HTTP)
		}
	}
	for _, p := range c.probeAll(ctx, addrs) {
		if p.err == nil {
			answers[p.reply.Node] = true
		}
	}
	return answers
}

// mayRemove says why a server must stay.
func (r *roster) mayRemove(id rota.NodeID, answers map[rota.NodeID]bool) error {
	refuse := func(format string, args ...any) error {
		return &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(format, args...)}
	}
	at := slices.IndexFunc(r.servers, func(s raft.Server) bool { return s.ID == raft.ServerID(id) })
	if at < 0 {
		return &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("server %s is not in the log's configuration", id)}
	}
	if !r.voting(r.servers[at]) {
		return nil
	}
	left := r.count(r.voting) - 1
	alive := r.count(func(s raft.Server) bool {
		return r.voting(s) && s.ID != raft.ServerID(id) && answers[rota.NodeID(s.ID)]
	})
	switch {
	case left == 0:
		return refuse("it is the only server that votes: without it there is no cluster")
	case alive < left/2+1:
		return refuse("%d voters would be left and %d of them answer, but a majority of %d is needed: bring others back, or add servers, first", left, alive, left/2+1)
	}
	return nil
}

// Transfer hands the lead to the named voter, or to the one that is furthest where the
// word is empty. Only on the leader.
func (c *Cluster) Transfer(ctx context.Context, word string) (ServerState, error) {
	r := c.rafting()
	if re, _ := c.current(); r == nil || re == nil {
		return ServerState{}, errNoReign
	}
	if word == "" {
		if voters := c.rosterNow(map[rota.NodeID]int{}, nil); voters.count(voters.voting) < 2 {
			return ServerState{}, &rota.Refusal{Kind: rota.KindConflict, Detail: "there is no other voter to lead"}
		}
		return ServerState{}, c.handOver(ctx, r.LeadershipTransfer())
	}
	s, err := c.FindServer(word)
	switch {
	case err != nil:
		return s, err
	case s.ID == c.id:
		return s, nil
	case !s.Voter:
		return s, &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf("server %s does not vote, so it cannot lead", s.Name)}
	case !s.Alive && (s.Contact < 0 || s.Contact > reachedLately):
		return s, &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf("server %s does not answer, so it cannot lead", s.Name)}
	}
	return s, c.handOver(ctx, r.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Raft)))
}

// handOver waits for a transfer of the lead.
func (c *Cluster) handOver(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }() // ends within Raft's election timeout
	select {
	case err := <-done:
		if err != nil {
			return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "the lead could not be handed over: " + err.Error()}
		}
		return nil
	case <-ctx.Done():
		return &rota.Refusal{Kind: rota.KindUnknown, Detail: "the lead is being handed over, but that has not ended in time: " + ctx.Err().Error()}
	}
}
