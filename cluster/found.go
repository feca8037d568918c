package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// found writes the first configuration, on the one node that was chosen to.
func (c *Cluster) found(conf *raft.Config, snaps raft.SnapshotStore, trans raft.Transport) error {
	mem := c.ident.membership()
	if mem.Founders == nil {
		return nil
	}
	kept, err := snaps.List()
	if err != nil {
		return fmt.Errorf("found the log: %w", err)
	}
	if len(mem.Founders) > 0 && c.ledger.end() == 0 && len(kept) == 0 {
		var first raft.Configuration
		for _, f := range mem.Founders {
			first.Servers = append(first.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(f.Node), Address: raft.ServerAddress(f.Raft)})
		}
		if mem.Restores {
			err = c.foundFrom(snaps, trans, first)
		} else {
			err = raft.BootstrapCluster(conf, c.ledger, c.ballot, snaps, trans, first)
		}
		if err != nil {
			return fmt.Errorf("found the log: %w", err)
		}
	}
	if err := c.ident.change(func(m *membership) { m.Founders, m.HadLog, m.Restores = nil, true, false }); err != nil {
		return err
	}
	if mem.Restores {
		return os.Remove(filepath.Join(c.cfg.DataDir, restoreFile))
	}
	return nil
}

// foundFrom makes the revived state of a backup the first snapshot of a new log. A crash
// before it is whole leaves nothing of it; the next start begins again.
func (c *Cluster) foundFrom(snaps raft.SnapshotStore, trans raft.Transport, first raft.Configuration) error {
	b, state, err := loadBackup(filepath.Join(c.cfg.DataDir, restoreFile))
	if err != nil {
		return err
	}
	revival := fsm.Revival{
		Incarnation: b.next(), Now: rota.InstantOf(c.cfg.Seams.Wall()), Quiet: c.cfg.LeaderTTL, Seed: c.cfg.Seams.Seed(),
	}
	if err := state.Revive(revival); err != nil {
		return err
	}
	term := b.Term + 1 // views of the old cluster are older in every way
	if err := c.ballot.SetUint64([]byte("CurrentTerm"), term); err != nil {
		return err
	}
	sink, err := snaps.Create(raft.SnapshotVersionMax, state.Index(), term, first, state.Index(), trans)
	if err != nil {
		return err
	}
	if err := (written{state.Snapshot()}).Persist(sink); err != nil {
		return err
	}
	c.log.Info("the cluster goes on from a snapshot", "of", b.ClusterID, "index", b.Index, "written_at", b.At,
		"incarnation", revival.Incarnation, "no_node_is_taken_in_for", c.cfg.LeaderTTL)
	return nil
}
