package cluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// fatals collects what a store says a node must not survive.
type fatals struct {
	mu   sync.Mutex
	errs []error
}

func (f *fatals) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *fatals) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.errs
}

func entries(from, to, term uint64) []*raft.Log {
	var all []*raft.Log
	for i := from; i <= to; i++ {
		all = append(all, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, 100)})
	}
	return all
}

func newLedger(t *testing.T, inner raft.LogStore, m MarkStore) (*ledger, *fatals) {
	t.Helper()
	f := &fatals{}
	opened, err := openMark(m, nil, f.add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.close() })
	l, err := openLedger(inner, nil, opened, nil, f.add)
	if err != nil {
		t.Fatal(err)
	}
	return l, f
}

func TestTheEnvelopeIsTakenOffAgain(t *testing.T) {
	inner := raft.NewInmemStore()
	l, f := newLedger(t, inner, nil)
	sent := entries(1, 3, 7)
	if err := l.StoreLogs(sent); err != nil {
		t.Fatal(err)
	}
	for _, e := range sent {
		if e.Extensions != nil {
			t.Error("the caller's entry was changed: other goroutines share it")
		}
	}
	l.recent = recent{}
	for i := uint64(1); i <= 3; i++ {
		var e, raw raft.Log
		if err := l.GetLog(i, &e); err != nil {
			t.Fatal(err)
		}
		if err := inner.GetLog(i, &raw); err != nil {
			t.Fatal(err)
		}
		if len(raw.Extensions) != envelopeSize || e.Extensions != nil || e.Term != 7 || !bytes.Equal(e.Data, sent[i-1].Data) {
			t.Errorf("stored %+v, read %+v", raw, e)
		}
	}
	if err := l.GetLog(4, new(raft.Log)); err != raft.ErrLogNotFound { //nolint:errorlint // raft compares so
		t.Errorf("an entry that is not there: %v", err)
	}
	if len(f.all()) != 0 {
		t.Error(f.all())
	}
}

// TestAFlippedBitIsNoticed in index, term, type and data, when read and when opened.
func TestAFlippedBitIsNoticed(t *testing.T) {
	flips := map[string]func(*raft.Log){
		"data":     func(e *raft.Log) { e.Data = append([]byte(nil), e.Data...); e.Data[40] ^= 1 },
		"term":     func(e *raft.Log) { e.Term ^= 2 },
		"type":     func(e *raft.Log) { e.Type = raft.LogNoop },
		"checksum": func(e *raft.Log) { e.Extensions = append([]byte(nil), e.Extensions...); e.Extensions[2] ^= 4 },
		"none":     func(e *raft.Log) { e.Extensions = nil },
	}
	for name, flip := range flips {
		t.Run(name, func(t *testing.T) {
			inner := raft.NewInmemStore()
			l, f := newLedger(t, inner, nil)
			if err := l.StoreLogs(entries(1, 5, 1)); err != nil {
				t.Fatal(err)
			}
			var e raft.Log
			if err := inner.GetLog(3, &e); err != nil {
				t.Fatal(err)
			}
			flip(&e)
			if err := inner.StoreLog(&e); err != nil {
				t.Fatal(err)
			}
			l.recent = recent{}
			err := l.GetLog(3, new(raft.Log))
			if !strings.Contains(err.Error(), "entry 3") || len(f.all()) != 1 {
				t.Errorf("read: %v, fatal %v", err, f.all())
			}
			if err := l.StoreLogs(entries(6, 6, 1)); err == nil {
				t.Error("a broken ledger stores on")
			}
			if _, err := openLedger(inner, nil, nil, nil, f.add); !errors.Is(err, ErrDamaged) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// TestAFlippedBitOnDiskIsNoticed in an old entry and in the newest. (Source:
// RELIABILITY.md, section 3: both stores return flipped bits without an error;
// raft-wal drops a damaged end as if it had never been written.)
func TestAFlippedBitOnDiskIsNoticed(t *testing.T) {
	payload := bytes.Repeat([]byte("PAYLOAD-"), 64)
	places := map[string]func([]byte) int{
		"newest": func(b []byte) int { return bytes.LastIndex(b, payload) },
		"oldest": func(b []byte) int { return bytes.Index(b, payload) },
	}
	for _, kind := range []string{StoreBolt, StoreWAL} {
		for place, find := range places {
			t.Run(kind+"/"+place, func(t *testing.T) {
				dir := t.TempDir()
				if err := fillLog(kind, dir, payload, 20); err != nil {
					t.Fatal(err)
				}
				path := fileWith(t, dir, payload)
				whole, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				whole[find(whole)+100] ^= 8
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				err = fillLog(kind, dir, payload, 0)
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLostEntries) {
					t.Errorf("opened with: %v", err)
				}
				t.Log(err)
			})
		}
	}
}

// fillLog opens the log in a directory, as a node does, and stores n entries.
func fillLog(kind, dir string, payload []byte, n uint64) (err error) {
	s, err := openStores(kind, dir, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f := &fatals{}
	m, err := openMark(s.Mark, nil, f.add)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	l, err := openLedger(s.Log, nil, m, nil, f.add)
	if err != nil {
		return err
	}
	for i := uint64(1); i <= n; i++ {
		if err := l.StoreLog(&raft.Log{Index: i, Term: 1, Data: payload}); err != nil {
			return err
		}
	}
	return errors.Join(f.all()...)
}

func fileWith(t *testing.T, dir string, content []byte) string {
	t.Helper()
	found := ""
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, content) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no file holds the entry: %v", err)
	}
	return found
}

// TestACutFileIsRefused: bolt would end the process with SIGBUS, raft-wal would
// open silently without its newest entries. (Source: RELIABILITY.md, section 3.)
func TestACutFileIsRefused(t *testing.T) {
	for _, kind := range []string{StoreBolt, StoreWAL} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			payload := bytes.Repeat([]byte("PAYLOAD-"), 256)
			if err := fillLog(kind, dir, payload, 200); err != nil {
				t.Fatal(err)
			}
			path := fileWith(t, dir, payload)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(bytes.LastIndex(whole, payload)*9/10)); err != nil {
				t.Fatal(err)
			}
			err = fillLog(kind, dir, payload, 0)
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLostEntries) {
				t.Errorf("opened with: %v", err)
			}
			t.Log(err)
		})
	}
}

// disk is a mark's file that a test can look into.
type disk struct {
	mu sync.Mutex
	b  [2 * markSlot]byte
	n  int64
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off >= d.n {
		return 0, io.EOF
	}
	return copy(p, d.b[off:]), nil
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n = max(d.n, off+int64(len(p)))
	return copy(d.b[off:], p), nil
}

func (d *disk) Sync() error  { return nil }
func (d *disk) Close() error { return nil }

func (m *mark) at() point {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.written
}

// TestTheMarkFollowsTheLog up within a tenth of a second and down before the log's
// end is dropped.
func TestTheMarkFollowsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		inner := raft.NewInmemStore()
		f := &fatals{}
		m, err := openMark(d, nil, f.add)
		if err != nil {
			t.Fatal(err)
		}
		l, err := openLedger(inner, nil, m, nil, f.add)
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= 10; i++ {
			if err := l.StoreLogs(entries(i, i, 3)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(markEvery)
		if at := m.at(); at != (point{10, 3}) {
			t.Errorf("the mark is at %v", at)
		}
		if err := l.DeleteRange(6, 10); err != nil {
			t.Fatal(err)
		}
		if at := m.at(); at != (point{index: 5}) {
			t.Errorf("the end was dropped, the mark is at %v", at)
		}
		if err := l.StoreLogs(entries(6, 7, 4)); err != nil {
			t.Fatal(err)
		}
		if err := l.DeleteRange(1, 3); err != nil { // the front goes with every snapshot
			t.Fatal(err)
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
		again, err := openMark(d, nil, f.add)
		if err != nil {
			t.Fatal(err)
		}
		if again.written != (point{7, 4}) {
			t.Errorf("read back %v", again.written)
		}
		for _, end := range []struct {
			point
			lost bool
		}{{point{7, 4}, false}, {point{8, 4}, false}, {point{9, 5}, false}, {point{6, 4}, true}, {point{7, 3}, true}, {point{0, 0}, true}} {
			if err := again.check(end.index, end.term); errors.Is(err, ErrLostEntries) != end.lost {
				t.Errorf("a log that ends at %v: %v", end.point, err)
			}
		}
		_ = again.close()
	})
}

func TestATornMarkLeavesTheOneBefore(t *testing.T) {
	d := &disk{}
	m, err := openMark(d, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 3; i++ {
		if err := m.write(point{i, 1}); err != nil {
			t.Fatal(err)
		}
	}
	_ = m.close()
	d.b[markSlot+8] ^= 1 // the third was written to the second slot
	m, err = openMark(d, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.written != (point{2, 1}) {
		t.Errorf("read %v", m.written)
	}
	_ = m.close()
	d.b[8] ^= 1
	if _, err := openMark(d, nil, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("both are damaged: %v", err)
	}
}

// failing is a log store whose writes fail, or hang.
type failing struct {
	raft.LogStore
	err  error
	hang chan struct{}
}

func (f *failing) StoreLogs(l []*raft.Log) error {
	if f.hang != nil {
		<-f.hang
	}
	if f.err != nil {
		return f.err
	}
	return f.LogStore.StoreLogs(l)
}

// TestAFailedWriteEndsTheNode, but a full disk may empty again.
func TestAFailedWriteEndsTheNode(t *testing.T) {
	inner := &failing{LogStore: raft.NewInmemStore(), err: &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}}
	l, f := newLedger(t, inner, nil)
	if err := l.StoreLogs(entries(1, 1, 1)); !errors.Is(err, syscall.ENOSPC) || len(f.all()) != 0 {
		t.Errorf("full disk: %v, fatal %v", err, f.all())
	}
	inner.err = nil
	if err := l.StoreLogs(entries(1, 1, 1)); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	inner.err = syscall.EIO
	if err := l.StoreLogs(entries(2, 2, 1)); !errors.Is(err, syscall.EIO) || len(f.all()) != 1 {
		t.Errorf("failed sync: %v, fatal %v", err, f.all())
	}
	inner.err = nil
	if err := l.StoreLogs(entries(2, 2, 1)); err == nil {
		t.Error("a write was tried again after a failed sync")
	}
}

// TestAHungDiskIsNoticed: slow after 2 s, dead after 10 s.
func TestAHungDiskIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fatals{}
		var slow []time.Duration
		w := newWatchdog(2*time.Second, 10*time.Second, func(_ string, d time.Duration) { slow = append(slow, d) }, f.add)
		inner := &failing{LogStore: raft.NewInmemStore(), hang: make(chan struct{})}
		l, err := openLedger(inner, nil, nil, w, f.add)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 2)
		go func() { done <- l.StoreLogs(entries(1, 1, 1)) }()
		time.Sleep(1900 * time.Millisecond)
		if w.hung() {
			t.Error("hung after 1.9 s")
		}
		time.Sleep(time.Second)
		if !w.hung() || len(slow) != 1 {
			t.Errorf("after 2.9 s: hung %v, said %v", w.hung(), slow)
		}
		inner.hang <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if w.hung() || len(f.all()) != 0 {
			t.Errorf("after the disk came back: hung %v, fatal %v", w.hung(), f.all())
		}
		go func() { done <- l.StoreLogs(entries(2, 2, 1)) }()
		time.Sleep(11 * time.Second)
		if len(f.all()) != 1 || !strings.Contains(f.all()[0].Error(), "store entries of the log") {
			t.Errorf("after 11 s: %v", f.all())
		}
		inner.hang <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.close()
	})
}

func TestAVoteIsRememberedExactly(t *testing.T) {
	inner := raft.NewInmemStore()
	b := newBallot(inner, nil, func(error) {})
	if _, err := b.GetUint64([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Errorf("a term that was never stored: %v", err)
	}
	if err := errors.Join(b.SetUint64([]byte("CurrentTerm"), 7), b.Set([]byte("LastVoteCand"), []byte("n1"))); err != nil {
		t.Fatal(err)
	}
	if term, err := b.GetUint64([]byte("CurrentTerm")); term != 7 || err != nil {
		t.Errorf("term %d, %v", term, err)
	}
	if who, err := b.Get([]byte("LastVoteCand")); string(who) != "n1" || err != nil {
		t.Errorf("vote %q, %v", who, err)
	}
	raw, err := inner.Get([]byte("CurrentTerm"))
	if err != nil {
		t.Fatal(err)
	}
	raw = append([]byte(nil), raw...)
	raw[7] ^= 1
	if err := inner.Set([]byte("CurrentTerm"), raw); err != nil {
		t.Fatal(err)
	}
	if _, err := b.GetUint64([]byte("CurrentTerm")); !errors.Is(err, ErrDamaged) {
		t.Errorf("a flipped bit: %v", err)
	}
}

// TestContactIsWhatALeaderSent: its own entries as leader do not count.
func TestContactIsWhatALeaderSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := openLedger(raft.NewInmemStore(), nil, nil, nil, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		opened := time.Now()
		time.Sleep(time.Second)
		l.leads = func() bool { return true }
		if err := l.StoreLogs(entries(1, 1, 1)); err != nil {
			t.Fatal(err)
		}
		if !l.contact().Equal(opened) {
			t.Error("entries of its own count")
		}
		l.leads = func() bool { return false }
		if err := l.StoreLogs(entries(2, 2, 1)); err != nil {
			t.Fatal(err)
		}
		if !l.contact().Equal(opened.Add(time.Second)) {
			t.Error("entries of a leader do not count")
		}
	})
}
