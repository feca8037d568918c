package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

const (
	removalLook  = time.Second     // between two looks
	removalAfter = 2 * time.Second // without a leader's word
)

// heedConfig notes that a committed configuration names this node.
func (c *Cluster) heedConfig(config raft.Configuration) {
	if holds(config, c.id) {
		c.member.Store(true)
	}
}

// errRemoved words that the node is no server of the log any more.
func errRemoved(dir string) error {
	return &rota.Refusal{Kind: rota.KindEnded, Detail: fmt.Sprintf(
		"this server was removed from the cluster, and its log is not the cluster's any more: "+
			"to have it back as a new server, move its data directory %s away and start it with --join", dir)}
}

// learnRemoval asks around once no leader is heard any more: a server that was removed
// is told nothing by Raft. A leader whose configuration is no older than this node's and
// does not name it has removed it, if it was ever in.
func (c *Cluster) learnRemoval(ctx context.Context, removed chan<- error) {
	for sleep(ctx, removalLook) {
		if !c.member.Load() || c.contact.sinceLeader() < removalAfter || c.raftLeads() {
			continue
		}
		index, _ := c.ledger.configuration()
		var addrs []string
		for _, m := range c.Members() {
			if m.State == MemberAlive && m.Server() && m.ID != c.id {
				addrs = append(addrs, m.HTTP)
			}
		}
		for _, p := range c.probeAll(ctx, addrs) {
			r := &p.reply
			if p.err != nil || r.Leader != r.Node || r.ConfigIndex < index || len(r.Servers) == 0 || slices.Contains(r.Servers, c.id) {
				continue
			}
			c.log.Error("this server was removed from the cluster", "leader", r.Name, "configuration", r.ConfigIndex)
			if err := c.ident.change(func(m *membership) { m.Removed = true }); err != nil {
				c.log.Warn("could not remember that this server was removed", "error", err)
			}
			removed <- errRemoved(c.cfg.DataDir)
			return
		}
	}
}
