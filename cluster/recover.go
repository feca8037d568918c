package cluster

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

const recoveredPrefix = "before-recovery-"

// Recovery is what a server's data directory still holds, and what is missing.
type Recovery struct {
	ClusterID   string
	Node        rota.NodeID
	From        string // the directory of the log that was read
	Servers     []RecoveryServer
	Incarnation uint16
	Index, Term uint64 // of the newest entry that is readable
	Now         rota.Instant
	Sizes       fsm.Sizes
	Counts      [16]int
	Snapshot    uint64 // index of the snapshot it began with; 0: none
	// Mark is the newest entry that this server is known to have had on disk. Above Index
	// it is lost here.
	Mark, MarkTerm uint64
	Damage         string // where reading ended before the log did; empty: nowhere
	Aside          string // where the old log was put; empty: nothing was changed
}

// RecoveryServer is a server of the old cluster.
type RecoveryServer struct {
	ID    rota.NodeID
	Raft  string
	Voter bool
	Here  bool
}

// Recover reads what a stopped server's data directory holds of the cluster's state. With
// force it founds a new cluster's data from that: the old log, identity and membership
// are put aside, and the next start, with --bootstrap-expect, goes on from the state under
// a new cluster ID and a higher incarnation. from names the directory with the log; empty:
// the data directory's own, or the newest that was put aside.
func Recover(dir, from string, force bool) (rec *Recovery, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("there is no data directory %s", dir)}
	}
	d := &identity{dir: dir}
	if err := d.take(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	mem, err := readMembership(filepath.Join(dir, clusterFile))
	if err != nil {
		return nil, err
	}
	if from == "" {
		if from, err = newestLog(dir); err != nil {
			return nil, err
		}
	}
	rec, state, err := readLog(from)
	if err != nil {
		return nil, err
	}
	if mem != nil {
		rec.ClusterID = mem.ClusterID
	}
	if id, err := os.ReadFile(filepath.Join(from, nodeIDFile)); err == nil {
		rec.Node = rota.NodeID(strings.TrimSpace(string(id)))
	}
	for i := range rec.Servers {
		rec.Servers[i].Here = rec.Servers[i].ID == rec.Node
	}
	if !force {
		return rec, nil
	}
	rec.Aside, err = startOver(dir, rec, state)
	return rec, err
}

// newestLog finds the directory that holds the newest log: the data directory itself, or
// one that was put aside in it.
func newestLog(dir string) (string, error) {
	aside, err := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
	if err != nil {
		return "", err
	}
	slices.Sort(aside)
	slices.Reverse(aside)
	for _, at := range append([]string{dir}, aside...) {
		s, _, err := openToRead(at)
		if err != nil {
			continue
		}
		last, lastErr := s.Log.LastIndex()
		snaps, snapsErr := s.Snapshots.List()
		_ = closeStores(s)
		if lastErr == nil && last > 0 || snapsErr == nil && len(snaps) > 0 {
			return at, nil
		}
	}
	return "", &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("nothing of a log is left in %s: take another server's data directory, or a snapshot", dir)}
}

// openToRead opens the stores in a directory. damage is why its log could not be opened:
// the snapshots are there all the same.
func openToRead(dir string) (s Stores, damage, err error) {
	raftAt := filepath.Join(dir, raftDir)
	if _, err := os.Stat(raftAt); err != nil {
		return s, nil, err
	}
	kind := StoreBolt
	if _, err := os.Stat(filepath.Join(raftAt, "wal")); err == nil {
		kind = StoreWAL
	}
	s, err = openStores(kind, dir, hclog.NewNullLogger())
	if err == nil {
		return s, nil, nil
	}
	if rota.KindOf(err) != rota.KindNone {
		return s, nil, err
	}
	snaps, snapErr := raft.NewFileSnapshotStoreWithLogger(raftAt, snapshotsKept, hclog.NewNullLogger())
	if snapErr != nil {
		return s, nil, errors.Join(err, snapErr)
	}
	mark, markErr := openMarkFile(filepath.Join(raftAt, "mark"))
	if markErr != nil {
		mark = nil
	}
	none := raft.NewInmemStore()
	return Stores{Log: none, Stable: none, Snapshots: snaps, Mark: mark, Close: func() error { return nil }}, err, nil
}

func closeStores(s Stores) error {
	var err error
	if s.Mark != nil {
		err = s.Mark.Close()
	}
	return errors.Join(err, s.Close())
}

// readLog applies what is readable of a snapshot and the entries behind it. Entries that
// were stored and perhaps never committed count as committed: nobody is left to ask.
func readLog(dir string) (*Recovery, *fsm.State, error) {
	s, damage, err := openToRead(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log in %s: %w", dir, err)
	}
	defer func() { _ = closeStores(s) }() // nothing was written
	rec := &Recovery{From: dir}
	if damage != nil {
		rec.Damage = damage.Error()
	}
	quiet := newWatchdog(0, 0, nil, nil)
	ignore := func(error) {}
	if m, err := openMark(s.Mark, quiet, ignore); err == nil && m != nil {
		rec.Mark, rec.MarkTerm = m.written.index, m.written.term
		m.stop()
	}
	r := newReplica(ignore, bootTime)
	var servers raft.Configuration
	snaps, err := s.Snapshots.List()
	if err != nil {
		return nil, nil, fmt.Errorf("list the snapshots in %s: %w", dir, err)
	}
	for _, meta := range snaps { // the newest first
		if _, source, err := s.Snapshots.Open(meta.ID); err == nil && r.Restore(source) == nil {
			rec.Snapshot, rec.Index, rec.Term, servers = meta.Index, meta.Index, meta.Term, meta.Configuration
			break
		}
		rec.note(fmt.Errorf("the snapshot of entry %d is not readable", meta.Index))
	}
	l := &ledger{inner: s.Log, watch: quiet, fatal: ignore, crc: crc32.MakeTable(crc32.Castagnoli)}
	last, err := s.Log.LastIndex()
	if err != nil {
		rec.note(err)
	}
	for i := rec.Index + 1; i <= last; i++ {
		var e raft.Log
		if err := l.read(i, &e); err != nil {
			rec.note(err)
			break
		}
		if e.Type == raft.LogCommand {
			if o, ok := r.Apply(&e).(outcome); ok && o.err != nil {
				return nil, nil, o.err
			}
		}
		if e.Type == raft.LogConfiguration {
			servers = raft.DecodeConfiguration(e.Data)
		}
		rec.Index, rec.Term = e.Index, e.Term
	}
	if rec.Index == 0 {
		return nil, nil, &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("nothing of the log in %s is readable (%s): take another server's data directory, or a snapshot", dir, rec.Damage)}
	}
	for _, v := range servers.Servers {
		rec.Servers = append(rec.Servers, RecoveryServer{ID: rota.NodeID(v.ID), Raft: string(v.Address), Voter: v.Suffrage == raft.Voter})
	}
	rec.Incarnation, rec.Now, rec.Sizes, rec.Counts = r.state.Incarnation(), r.state.Now(), r.state.Sizes(), r.state.Counts()
	return rec, r.state, nil
}

// note keeps the first thing that was wrong.
func (r *Recovery) note(err error) {
	if r.Damage == "" {
		r.Damage = err.Error()
	}
}

// startOver puts what is left of the old cluster aside and leaves the state as the
// backup that the next start founds a cluster from.
func startOver(dir string, rec *Recovery, state *fsm.State) (string, error) {
	aside := filepath.Join(dir, recoveredPrefix+time.Now().UTC().Format("20060102-150405"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", unusable(dir, err)
	}
	snap := state.Snapshot()
	head := BackupHead{ClusterID: rec.ClusterID, Node: string(rec.Node), Term: rec.Term, Index: snap.Index(), Incarnation: snap.Incarnation(), At: time.Now().UTC()}
	if err := writeWith(filepath.Join(dir, restoreFile), func(w io.Writer) error { return writeBackup(w, head, snap) }); err != nil {
		return "", err
	}
	for _, name := range []string{raftDir, nodeIDFile, clusterFile} { // the cluster last: without it nothing else is looked at
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", unusable(dir, err)
		}
	}
	return aside, errors.Join(syncDir(aside), syncDir(dir))
}
