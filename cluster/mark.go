package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"time"
)

// MarkStore keeps the high-water mark: 8 KiB that survive a crash.
type MarkStore interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}

const (
	markSlot  = 4096 // two slots, written in turn, so that a torn write leaves one
	markSize  = 8 + 8 + 8 + 4
	markEvery = 100 * time.Millisecond
	markMagic = 0x524d4b31 // "RMK1", folded into the checksum
)

// ErrLostEntries says that the end of the log is gone: the node once had entries
// on disk, and may have acknowledged them, that are not there any more. Such a
// node must not vote.
var ErrLostEntries = errors.New("acknowledged entries are missing")

// mark is the newest (index, term) this node is known to have had on disk. It is
// raised a moment after entries were stored and lowered, durably, before the end
// of the log is dropped. A nil mark keeps nothing. (Source: RELIABILITY.md,
// section 3.)
type mark struct {
	file  MarkStore
	watch *watchdog
	fatal func(error)
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}

	mu      sync.Mutex // guards what follows, and the file
	seq     uint64
	written point // in the file
	want    point // to be written
}

type point struct{ index, term uint64 }

func (p point) less(o point) bool {
	return p.term < o.term || (p.term == o.term && p.index < o.index)
}

// openMark reads the mark; a new file has none.
func openMark(file MarkStore, w *watchdog, fatal func(error)) (*mark, error) {
	if file == nil {
		return nil, nil
	}
	m := &mark{file: file, watch: w, fatal: fatal, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	found := false
	written := false
	for slot := range int64(2) {
		var b [markSize]byte
		n, err := file.ReadAt(b[:], slot*markSlot)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the high-water mark: %w", err)
		}
		written = written || n > 0
		seq := binary.BigEndian.Uint64(b[:])
		if n < markSize || binary.BigEndian.Uint32(b[24:]) != markSum(b[:24]) || seq < m.seq {
			continue
		}
		found = true
		m.seq = seq
		m.written = point{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	}
	if written && !found {
		return nil, fmt.Errorf("%w: neither copy of the high-water mark is readable", ErrDamaged)
	}
	m.want = m.written
	go m.run()
	return m, nil
}

func markSum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) ^ markMagic
}

// check compares the mark with the newest entry that is on disk.
func (m *mark) check(index, term uint64) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if index < m.written.index || term < m.written.term {
		return fmt.Errorf("%w: the log ends at entry %d of term %d, but this node had stored entry %d of term %d, and may have acknowledged it; "+
			"it must not vote with a shorter memory",
			ErrLostEntries, index, term, m.written.index, m.written.term)
	}
	return nil
}

// raise asks for the mark to follow; it does not wait.
func (m *mark) raise(index, term uint64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.want = point{index, term}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// lower writes the mark down to an index whose term is not known any more, before
// what is above it is dropped.
func (m *mark) lower(index uint64) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	to := point{index: min(index, m.written.index)}
	m.want = to
	if to == m.written {
		return nil
	}
	return m.write(to)
}

// write is called with m.mu held.
func (m *mark) write(p point) error {
	var b [markSize]byte
	binary.BigEndian.PutUint64(b[:], m.seq+1)
	binary.BigEndian.PutUint64(b[8:], p.index)
	binary.BigEndian.PutUint64(b[16:], p.term)
	binary.BigEndian.PutUint32(b[24:], markSum(b[:24]))
	defer m.watch.begin("write the high-water mark")()
	if _, err := m.file.WriteAt(b[:], int64((m.seq+1)%2)*markSlot); err != nil {
		return err
	}
	if err := m.file.Sync(); err != nil {
		return err
	}
	m.seq++
	m.written = p
	return nil
}

// run raises the mark at most once in markEvery.
func (m *mark) run() {
	defer close(m.done)
	for {
		select {
		case <-m.quit:
			return
		case <-m.wake:
		}
		m.mu.Lock()
		var err error
		if m.written.less(m.want) {
			err = m.write(m.want)
		}
		m.mu.Unlock()
		if err != nil {
			m.fatal(fmt.Errorf("the high-water mark could not be written: %w", err))
			return
		}
		select {
		case <-m.quit:
			return
		case <-time.After(markEvery):
		}
	}
}

// stop ends the raising; the file stays as it is.
func (m *mark) stop() {
	close(m.quit)
	<-m.done
}

func (m *mark) close() error {
	if m == nil {
		return nil
	}
	m.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if m.written.less(m.want) {
		err = m.write(m.want)
	}
	return errors.Join(err, m.file.Close())
}

// openMarkFile opens the mark's file in the data directory.
func openMarkFile(path string) (MarkStore, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}
