package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// errKeyNotFound has the only words by which Raft knows a missing key.
var errKeyNotFound = errors.New("not found")

// ballot is the store of term and vote, with a checksum over key and value: a node
// that misremembers its vote could elect two leaders.
type ballot struct {
	inner raft.StableStore
	watch *watchdog
	fatal func(error)
	table *crc32.Table

	closed atomic.Bool // the node stops: nothing is waited for any more
}

func newBallot(inner raft.StableStore, w *watchdog, fatal func(error)) *ballot {
	return &ballot{inner: inner, watch: w, fatal: fatal, table: crc32.MakeTable(crc32.Castagnoli)}
}

func (b *ballot) sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, b.table), b.table, value)
}

// Set implements raft.StableStore. Raft panics on an error, so a full disk is
// waited for, with the door to other servers closed.
func (b *ballot) Set(key, value []byte) error {
	sealed := binary.BigEndian.AppendUint32(append(make([]byte, 0, len(value)+4), value...), b.sum(key, value))
	for {
		done := b.watch.begin("store the vote")
		err := b.inner.Set(key, sealed)
		done()
		if err == nil {
			b.watch.setFull(false)
			return nil
		}
		err = fmt.Errorf("store %q: %w", key, err)
		if !noRoom(err) {
			b.fatal(fmt.Errorf("the store of term and vote failed: %w", err))
			return err
		}
		b.watch.setFull(true)
		if b.closed.Load() {
			return nil // nobody hears this node any more (see shutRaft), and Raft would panic
		}
		time.Sleep(roomAgain)
	}
}

// roomAgain is the wait before a full disk is tried again.
const roomAgain = 500 * time.Millisecond

// noRoom reports whether an error is one that goes away when somebody tidies up.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Get implements raft.StableStore.
func (b *ballot) Get(key []byte) ([]byte, error) {
	sealed, err := b.inner.Get(key)
	if err != nil && err.Error() != errKeyNotFound.Error() {
		return nil, fmt.Errorf("read %q: %w", key, err)
	}
	if err != nil || len(sealed) == 0 {
		return nil, errKeyNotFound
	}
	n := len(sealed) - 4
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != b.sum(key, sealed[:n]) {
		return nil, fmt.Errorf("%w: %q in the store of term and vote", ErrDamaged, key)
	}
	return sealed[:n], nil
}

// SetUint64 implements raft.StableStore.
func (b *ballot) SetUint64(key []byte, value uint64) error {
	return b.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore.
func (b *ballot) GetUint64(key []byte) (uint64, error) {
	value, err := b.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: %q in the store of term and vote has %d bytes", ErrDamaged, key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
