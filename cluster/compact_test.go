package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// TestLogIsBoundedByBytes: what lies on disk is bounded in bytes, whatever the entries'
// sizes; and a large state is not written again for every little piece of log.
func TestLogIsBoundedByBytes(t *testing.T) {
	cfg := &Config{SnapshotEntries: 1000, SnapshotBytes: 1 << 20}
	for _, c := range []struct {
		name string
		of   backlog
		due  bool
	}{
		{"nothing", backlog{}, false},
		{"few small entries", backlog{entries: 999, bytes: 100_000}, false},
		{"many small entries", backlog{entries: 1000, bytes: 100_000}, true},
		{"few large entries", backlog{entries: 8, bytes: 1 << 20}, true},
		{"a large state lets more bytes pass", backlog{entries: 80, bytes: 10 << 20, snapshot: 16 << 20}, false},
		{"as many as it has", backlog{entries: 80, bytes: 16 << 20, snapshot: 16 << 20}, true},
		{"and more small entries", backlog{entries: 1000, bytes: 1 << 20, snapshot: 16 << 20}, false},
		{"up to an eighth of it", backlog{entries: 1000, bytes: 2 << 20, snapshot: 16 << 20}, true},
		{"but not any number", backlog{entries: 8000, bytes: 1000, snapshot: 16 << 20}, true},
	} {
		if got := c.of.due(cfg, 100); got != c.due {
			t.Errorf("%s: due %v, want %v", c.name, got, c.due)
		}
	}
}

// TestLogSizeFollowsTheLog: bytes are counted to a mark, through losses at both ends.
func TestLogSizeFollowsTheLog(t *testing.T) {
	const each = 1000
	var s logSize
	for i := uint64(1); i <= 1000; i++ {
		s.add(i, each-entryBytes)
	}
	about := func(what string, got, want, tolerance uint64) {
		t.Helper()
		if got+tolerance < want || got > want+tolerance {
			t.Errorf("%s: %d, want about %d", what, got, want)
		}
	}
	about("after 400", s.after(400), 600*each, markBytes+each)
	about("after the last", s.after(1000), 0, 0)
	about("within 300 entries' bytes", s.within(300*each), 300, 2*markBytes/each)
	if all := s.within(1 << 40); all > 1000 || all < 900 {
		t.Errorf("within more than there is: %d entries of 1000", all)
	}
	s.cut(801) // the end goes
	s.add(801, each-entryBytes)
	about("after 400, without the end", s.after(400), 401*each, 2*markBytes+each)
	s.drop(500) // the beginning goes
	if n := s.within(1 << 40); n > 801-500+markBytes/each+1 {
		t.Errorf("within all that is left: %d entries", n)
	}
	if n := s.within(0); n < 1 || n > markBytes/each {
		t.Errorf("within nothing: %d entries, want the newest, and at most a mark's", n)
	}
}

// TestBeginningOfTheLogGoesInPieces: nothing but the range is gone afterwards, and the
// newest entries are still at hand.
func TestBeginningOfTheLogGoesInPieces(t *testing.T) {
	l, _ := newLedger(t, raft.NewInmemStore(), nil)
	if err := l.StoreLogs(entries(1, 5*dropAtOnce, 1)); err != nil {
		t.Fatal(err)
	}
	cut := uint64(3*dropAtOnce + 7)
	if err := l.DeleteRange(1, cut); err != nil {
		t.Fatal(err)
	}
	first, err := l.FirstIndex()
	if err != nil || first != cut+1 {
		t.Errorf("the log begins at %d, %v; want %d", first, err, cut+1)
	}
	var e raft.Log
	if err := l.GetLog(cut, &e); err != raft.ErrLogNotFound { //nolint:errorlint // Raft compares with ==
		t.Errorf("a dropped entry: %v", err)
	}
	if err := l.GetLog(cut+1, &e); err != nil || e.Index != cut+1 {
		t.Errorf("the first that stays: %d, %v", e.Index, err)
	}
	if len(l.recent.entries) != recentEntries {
		t.Errorf("%d entries at hand, want %d", len(l.recent.entries), recentEntries)
	}
}

// TestFileThatGrewGetsSmallAgain: with every entry that was in it.
func TestFileThatGrewGetsSmallAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.bolt")
	s, err := openBolt(path, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	const many = 120
	for i := uint64(1); i <= many; i++ {
		if err := s.Log.StoreLog(&raft.Log{Index: i, Data: bytes.Repeat([]byte{1}, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stable.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Fatal(err)
	}
	if err := s.Log.DeleteRange(1, many-3); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+shrinkSuffix, []byte("left by one that died"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = openBolt(path, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() > before.Size()/8 {
		t.Errorf("%d bytes before, %d after", before.Size(), after.Size())
	}
	for i := uint64(many - 2); i <= many; i++ {
		var e raft.Log
		if err := s.Log.GetLog(i, &e); err != nil || len(e.Data) != 1<<20 {
			t.Errorf("entry %d: %d bytes, %v", i, len(e.Data), err)
		}
	}
	if term, err := s.Stable.GetUint64([]byte("CurrentTerm")); err != nil || term != 7 {
		t.Errorf("term %d, %v", term, err)
	}
	if _, err := os.Stat(path + shrinkSuffix); !os.IsNotExist(err) {
		t.Errorf("the copy is still there: %v", err)
	}
}

// TestUnfinishedSnapshotsGo: what a node that was killed left does not pile up.
func TestUnfinishedSnapshotsGo(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, raftDir, "snapshots", "2-10-1000.tmp")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "state.bin"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openStores(StoreBolt, dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(s.Close(), s.Mark.Close()) })
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}
