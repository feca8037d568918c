package cluster

import (
	"context"
	"errors"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

// compactLook is how often a server asks whether a snapshot is due. What is logged between
// two looks comes on top of the allowance.
const compactLook = 500 * time.Millisecond

// snapAt is a snapshot: the newest entry in it and its size in bytes.
type snapAt struct{ index, bytes uint64 }

// backlog is what of the log lies after the newest snapshot.
type backlog struct {
	entries, bytes uint64
	snapshot       uint64 // bytes of that snapshot
}

// ownShare is this server's part of what another may let pass, in percent: 100 to 149, by its
// ID. Servers with the same log would otherwise all be busy with their snapshots at once.
func ownShare(id rota.NodeID) uint64 {
	return 100 + uint64(crc32.ChecksumIEEE([]byte(id))%50)
}

// due says whether the state has to be written down again. The log may grow by as many
// bytes as the last snapshot had, and by SnapshotBytes in any case: a state of 1 GB is
// not written for every 64 MiB of log, and what is on disk stays under five times the state
// and two allowances (two snapshots are kept). A log of small entries is due by their number, because every one of
// them is applied again at a restart: SnapshotEntries, up to eight times as many
// where the snapshot is large.
func (b backlog) due(cfg *Config, share uint64) bool {
	b.bytes, b.entries = b.bytes*100/share, b.entries*100/share
	switch {
	case b.bytes >= max(cfg.SnapshotBytes, b.snapshot):
		return true
	case b.entries >= cfg.SnapshotEntries && b.bytes >= b.snapshot/8:
		return true
	default:
		return b.entries >= 8*cfg.SnapshotEntries
	}
}

func (l *ledger) backlog() backlog {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := backlog{bytes: l.size.after(l.snap.index), snapshot: l.snap.bytes}
	if l.last.Index > l.snap.index {
		b.entries = l.last.Index - l.snap.index
	}
	return b
}

// trailing is how many entries are kept behind a snapshot.
func (l *ledger) trailing(cfg *Config) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(cfg.TrailingEntries, l.size.within(cfg.TrailingBytes))
}

// compact has the state written down when it is due, until ctx ends. Raft itself only
// counts entries, and its own looks are switched off.
func (c *Cluster) compact(ctx context.Context, r *raft.Raft) {
	wait, share := compactLook, ownShare(c.id)
	for sleep(ctx, wait) {
		wait = compactLook
		if !c.ledger.backlog().due(&c.cfg, share) {
			continue
		}
		rc := r.ReloadableConfig()
		rc.TrailingLogs = c.ledger.trailing(&c.cfg)
		if err := r.ReloadConfig(rc); err != nil {
			c.log.Error("the log's allowance cannot be changed", "error", err)
		}
		err := r.Snapshot().Error()
		if errors.Is(err, raft.ErrRaftShutdown) {
			return
		}
		if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			// Raft has logged it. While a configuration is not applied yet, it is soon over; a
			// full disk takes longer.
			wait = 10 * compactLook
		}
	}
}

// snapshotStore notes every snapshot that is kept.
type snapshotStore struct {
	raft.SnapshotStore
	ledger    *ledger
	committed func(raft.Configuration)
}

// Create implements raft.SnapshotStore.
func (s snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, config raft.Configuration, configIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, config, configIndex, trans)
	if err != nil {
		return nil, err
	}
	return &notedSink{SnapshotSink: sink, kept: func(bytes uint64) {
		s.ledger.installed(snapAt{index, bytes}, configAt{configIndex, config})
		s.committed(config)
	}}, nil
}

type notedSink struct {
	raft.SnapshotSink
	bytes uint64
	kept  func(bytes uint64)
}

// Write implements raft.SnapshotSink.
func (s *notedSink) Write(b []byte) (int, error) {
	n, err := s.SnapshotSink.Write(b)
	s.bytes += uint64(n)
	return n, err
}

// Close implements raft.SnapshotSink.
func (s *notedSink) Close() error {
	err := s.SnapshotSink.Close()
	if err == nil {
		s.kept(s.bytes)
	}
	return err
}
