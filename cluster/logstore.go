package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// envelope is what the ledger adds to an entry, in its Extensions, and takes off
// again when it is read: a version byte and the CRC32C over index, term, type and
// data. (bolt and raft-wal both return flipped bits without an error. Source:
// RELIABILITY.md, section 3.)
const (
	envelopeVersion = 1
	envelopeSize    = 5
	recentEntries   = 512
	recentBytes     = 16 << 20
	dropAtOnce      = 512 // entries
)

// ErrDamaged says that something read back from disk is not what was written.
var ErrDamaged = errors.New("damaged on disk")

// ledger is the log store that Raft sees: it checks what it reads, knows the
// newest entry, the configurations and the instant of the last word of a leader,
// keeps the high-water mark, and decides which errors a node must not survive.
type ledger struct {
	inner  raft.LogStore
	mark   *mark
	watch  *watchdog
	fatal  func(error)
	leads  func() bool // whether this node leads now: its own entries are no contact
	crc    *crc32.Table
	broken atomic.Pointer[error] // the first error that it must not survive
	closed atomic.Bool
	paces  paces

	mu      sync.Mutex // guards what follows
	last    raft.Log   // newest entry, without data
	heard   time.Time  // when a leader's entries were last stored, or the ledger was opened
	follows bool       // a leader's entries were stored since then
	configs []configAt // ascending
	recent  recent
	size    logSize
	snap    snapAt // newest snapshot
}

// configAt is a configuration entry of the log, or that of a snapshot.
type configAt struct {
	index  uint64
	config raft.Configuration
}

// openLedger reads and checks every entry.
func openLedger(inner raft.LogStore, snaps []*raft.SnapshotMeta, m *mark, w *watchdog, fatal func(error)) (*ledger, error) {
	l := &ledger{inner: inner, mark: m, watch: w, fatal: fatal, leads: func() bool { return false }, crc: crc32.MakeTable(crc32.Castagnoli), heard: time.Now()}
	var newest raft.SnapshotMeta
	for _, s := range snaps {
		if s.Index > newest.Index {
			newest = *s
		}
	}
	l.snap = snapAt{newest.Index, uint64(newest.Size)}
	if newest.Index > 0 {
		l.configs = append(l.configs, configAt{newest.ConfigurationIndex, newest.Configuration})
	}
	first, err := inner.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("find the log's first entry: %w", err)
	}
	last, err := inner.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("find the log's last entry: %w", err)
	}
	if first > 0 && first > newest.Index+1 {
		return nil, fmt.Errorf("%w: the log begins at entry %d, the newest snapshot ends at %d: what is between is missing", ErrDamaged, first, newest.Index)
	}
	for i := first; i <= last && i > 0; i++ {
		var e raft.Log
		err := l.read(i, &e)
		if errors.Is(err, raft.ErrLogNotFound) && i <= newest.Index {
			i = newest.Index // a follower that was sent a snapshot has a hole in front of it
			continue
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return nil, err
		}
		l.note(&e)
	}
	return l, m.check(max(l.last.Index, newest.Index), max(l.last.Term, newest.Term))
}

func (l *ledger) sum(e *raft.Log) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], e.Index)
	binary.BigEndian.PutUint64(head[8:], e.Term)
	head[16] = byte(e.Type)
	return crc32.Update(crc32.Checksum(head[:], l.crc), l.crc, e.Data)
}

// read gets an entry from the inner store, checks it and takes its envelope off.
// A store that trips over damaged bytes is damaged, too.
func (l *ledger) read(index uint64, e *raft.Log) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: entry %d of the log: %v", ErrDamaged, index, p)
		}
	}()
	if err := l.inner.GetLog(index, e); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) {
			return err
		}
		return fmt.Errorf("entry %d of the log: %w", index, err)
	}
	x := e.Extensions
	e.Extensions = nil
	switch {
	case len(x) != envelopeSize || x[0] != envelopeVersion:
		return fmt.Errorf("%w: entry %d of the log has no checksum", ErrDamaged, index)
	case e.Index != index || binary.BigEndian.Uint32(x[1:]) != l.sum(e):
		return fmt.Errorf("%w: entry %d of the log is not what was written", ErrDamaged, index)
	}
	return nil
}

// note remembers a stored entry; l.mu is held, or nobody else knows l yet.
func (l *ledger) note(e *raft.Log) {
	l.last = raft.Log{Index: e.Index, Term: e.Term}
	l.size.add(e.Index, len(e.Data))
	if e.Type == raft.LogConfiguration && (len(l.configs) == 0 || l.configs[len(l.configs)-1].index < e.Index) {
		l.configs = append(l.configs, configAt{e.Index, raft.DecodeConfiguration(e.Data)})
		if n := len(l.configs); n > 64 {
			l.configs = append([]configAt(nil), l.configs[n-32:]...)
		}
	}
}

// FirstIndex implements raft.LogStore.
func (l *ledger) FirstIndex() (uint64, error) {
	n, err := l.inner.FirstIndex()
	return n, l.judge("find the log's first entry", err)
}

// LastIndex implements raft.LogStore.
func (l *ledger) LastIndex() (uint64, error) {
	n, err := l.inner.LastIndex()
	return n, l.judge("find the log's last entry", err)
}

// GetLog implements raft.LogStore.
func (l *ledger) GetLog(index uint64, e *raft.Log) error {
	l.mu.Lock()
	cached := l.recent.get(index)
	l.mu.Unlock()
	if cached != nil {
		*e = *cached
		return nil
	}
	defer l.watch.begin("read the log")()
	err := l.read(index, e)
	if errors.Is(err, raft.ErrLogNotFound) {
		return raft.ErrLogNotFound // raft compares with ==
	}
	return l.judge("read the log", err)
}

// StoreLog implements raft.LogStore.
func (l *ledger) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore. The entries are shared with other
// goroutines and stay as they are: each goes into its envelope as a copy.
func (l *ledger) StoreLogs(entries []*raft.Log) error {
	if err := l.refuse(); err != nil {
		return err
	}
	wrapped := make([]*raft.Log, len(entries))
	copies := make([]raft.Log, len(entries))
	sums := make([]byte, len(entries)*envelopeSize)
	for i, e := range entries {
		x := sums[i*envelopeSize : (i+1)*envelopeSize : (i+1)*envelopeSize]
		x[0] = envelopeVersion
		binary.BigEndian.PutUint32(x[1:], l.sum(e))
		copies[i] = *e
		copies[i].Extensions = x
		wrapped[i] = &copies[i]
	}
	own := l.leads()
	done := l.watch.begin("store entries of the log")
	l.paces.begin(time.Now())
	err := l.inner.StoreLogs(wrapped)
	l.paces.end(time.Now())
	done()
	if err := l.judge("store entries of the log", err); err != nil {
		return err
	}
	l.mu.Lock()
	for _, e := range entries {
		l.note(e)
		l.recent.add(e)
	}
	if !own {
		l.heard, l.follows = time.Now(), true
	}
	last := l.last
	l.mu.Unlock()
	l.mark.raise(last.Index, last.Term)
	return nil
}

// DeleteRange implements raft.LogStore. Before the end of the log goes, the
// high-water mark is lowered, durably. Its beginning goes in pieces, so that entries
// can be stored in between: bolt writes one transaction at a time.
func (l *ledger) DeleteRange(lo, hi uint64) error {
	for hi < l.end() && hi-lo >= dropAtOnce {
		if err := l.deleteRange(lo, lo+dropAtOnce-1); err != nil {
			return err
		}
		lo += dropAtOnce
	}
	return l.deleteRange(lo, hi)
}

func (l *ledger) deleteRange(lo, hi uint64) error {
	if err := l.refuse(); err != nil {
		return err
	}
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if hi >= last.Index {
		if err := l.judge("lower the high-water mark", l.mark.lower(lo-1)); err != nil {
			return err
		}
	}
	done := l.watch.begin("drop entries of the log")
	err := l.inner.DeleteRange(lo, hi)
	done()
	if err := l.judge("drop entries of the log", err); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if hi < last.Index {
		l.recent.drop(hi)
		l.size.drop(hi)
	} else {
		l.recent = recent{}
		l.size.cut(lo)
		l.last = raft.Log{Index: lo - 1}
		for n := len(l.configs); n > 0 && l.configs[n-1].index >= lo; n = len(l.configs) {
			l.configs = l.configs[:n-1]
		}
	}
	return nil
}

// IsMonotonic implements raft.MonotonicLogStore.
func (l *ledger) IsMonotonic() bool {
	m, ok := l.inner.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// refuse gives the error that the ledger broke with, if it did.
func (l *ledger) refuse() error {
	if e := l.broken.Load(); e != nil {
		return *e
	}
	return nil
}

// judge words an error of the store. A full disk may empty again; whatever else
// a write or a sync says ends the node, since nobody knows what is on the disk
// afterwards (PostgreSQL's fsync lesson: never try again).
func (l *ledger) judge(what string, err error) error {
	if err == nil || l.closed.Load() {
		return err
	}
	err = fmt.Errorf("%s: %w", what, err)
	if noRoom(err) {
		l.watch.sayFull(err)
		return err
	}
	if l.broken.CompareAndSwap(nil, &err) {
		l.fatal(fmt.Errorf("the log store failed: %w", err))
	}
	return err
}

// contact is when a leader's entries were last stored, or when the ledger was
// opened.
func (l *ledger) contact() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

// followed reports whether a leader's entries were stored since the ledger was
// opened.
func (l *ledger) followed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.follows
}

// configuration is the newest configuration in the log. It answers also while the
// disk hangs.
func (l *ledger) configuration() (uint64, raft.Configuration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.configs); n > 0 {
		return l.configs[n-1].index, l.configs[n-1].config
	}
	return 0, raft.Configuration{}
}

// installed notes a snapshot, written here or brought by the leader, and its
// configuration.
func (l *ledger) installed(snap snapAt, config configAt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snap = snap
	if n := len(l.configs); n == 0 || l.configs[n-1].index < config.index {
		l.configs = append(l.configs, config)
	}
}

// end is the newest entry's index.
func (l *ledger) end() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Index
}

// recent keeps the newest entries for followers, bounded in number and bytes.
type recent struct {
	entries []*raft.Log // consecutive
	bytes   int
}

func (r *recent) add(e *raft.Log) {
	if n := len(r.entries); n > 0 && r.entries[n-1].Index+1 != e.Index {
		*r = recent{}
	}
	r.entries = append(r.entries, e)
	r.bytes += len(e.Data)
	drop := 0
	for len(r.entries)-drop > 1 && (len(r.entries)-drop > recentEntries || r.bytes > recentBytes) {
		r.bytes -= len(r.entries[drop].Data)
		r.entries[drop] = nil
		drop++
	}
	r.entries = r.entries[drop:]
}

// drop forgets the entries up to and with index.
func (r *recent) drop(index uint64) {
	n := 0
	for n < len(r.entries) && r.entries[n].Index <= index {
		r.bytes -= len(r.entries[n].Data)
		r.entries[n] = nil
		n++
	}
	r.entries = r.entries[n:]
}

func (r *recent) get(index uint64) *raft.Log {
	if len(r.entries) == 0 || index < r.entries[0].Index || index > r.entries[len(r.entries)-1].Index {
		return nil
	}
	return r.entries[index-r.entries[0].Index]
}
