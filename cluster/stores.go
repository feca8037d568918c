package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/rota-sched/rota"
)

const (
	raftDir       = "raft"
	snapshotsKept = 2
	boltLockWait  = time.Second // else open waits for ever on a locked file
)

// openStores opens the log that kind names in dir.
func openStores(kind, dir string, logger hclog.Logger) (Stores, error) {
	if kind == StoreMemory {
		mem := raft.NewInmemStore()
		return Stores{Log: mem, Stable: mem, Snapshots: raft.NewInmemSnapshotStore(), Close: func() error { return nil }}, nil
	}
	dir = filepath.Join(dir, raftDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Stores{}, unusable(dir, err)
	}
	if err := otherStore(kind, dir); err != nil {
		return Stores{}, err
	}
	var s Stores
	var err error
	switch kind {
	case StoreBolt:
		s, err = openBolt(filepath.Join(dir, "log.bolt"), logger)
	case StoreWAL:
		s, err = openWAL(filepath.Join(dir, "wal"), logger)
	default:
		err = fmt.Errorf("log store %q is not known", kind)
	}
	if err != nil {
		return Stores{}, err
	}
	if err := dropUnfinished(dir); err != nil {
		return Stores{}, errors.Join(unusable(dir, err), s.Close())
	}
	s.Snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger.Named("snapshots"))
	if err != nil {
		return Stores{}, errors.Join(unusable(dir, err), s.Close())
	}
	s.Mark, err = openMarkFile(filepath.Join(dir, "mark"))
	if err != nil {
		return Stores{}, errors.Join(unusable(dir, err), s.Close())
	}
	return s, nil
}

// otherStore refuses to begin a second log beside the one that is there.
func otherStore(kind, dir string) error {
	for other, name := range map[string]string{StoreBolt: "log.bolt", StoreWAL: "wal"} {
		if other == kind {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(
				"%s holds a log of kind %s: start with --log-store %s", dir, other, other)}
		}
	}
	return nil
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: boltLockWait}
}

func openBolt(path string, logger hclog.Logger) (Stores, error) {
	if err := checkBoltLength(path); err != nil {
		return Stores{}, err
	}
	shrinkBolt(path, logger)
	store, err := raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		BoltOptions:             boltOptions(),
		MsgpackUseNewTimeFormat: true,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return Stores{}, &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf("%s is used by another running node: stop it, or choose another with --data", path)}
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return Stores{}, fmt.Errorf("%w: the log %s cannot be opened: %w", ErrDamaged, path, err)
	case err != nil:
		return Stores{}, fmt.Errorf("open the log %s: %w", path, err)
	}
	return Stores{Log: store, Stable: store, Close: store.Close}, nil
}

// checkBoltLength compares the file's length with what bolt's newest meta page
// says was in use: bolt maps the file, and a shorter one ends the process with
// SIGBUS. (Source: RELIABILITY.md, section 3.)
func checkBoltLength(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable(path, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return unusable(path, err)
	}
	if info.Size() == 0 {
		return nil
	}
	const (
		pageHeader = 16
		magic      = 0xED0CDAED
	)
	var need, newest uint64
	page := uint64(os.Getpagesize())
	for slot := range uint64(2) {
		var b [pageHeader + 64]byte
		if _, err := f.ReadAt(b[:], int64(slot*page)); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", path, err)
		}
		m := b[pageHeader:] // magic, version, page size, flags, root (16), freelist, pages, transaction, checksum
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		if binary.NativeEndian.Uint32(m) != magic || binary.NativeEndian.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if tx := binary.NativeEndian.Uint64(m[48:]); tx >= newest {
			newest = tx
			need = binary.NativeEndian.Uint64(m[40:]) * uint64(binary.NativeEndian.Uint32(m[8:]))
		}
	}
	if need == 0 || uint64(info.Size()) < need {
		return fmt.Errorf("%w: %s has %d bytes of at least %d: its end is gone",
			ErrDamaged, path, info.Size(), need)
	}
	return nil
}

func openWAL(dir string, logger hclog.Logger) (Stores, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Stores{}, unusable(dir, err)
	}
	store, err := wal.Open(dir, wal.WithLogger(logger.Named("wal")))
	if err != nil {
		return Stores{}, fmt.Errorf("open the log %s: %w", dir, err)
	}
	return Stores{Log: store, Stable: store, Close: store.Close}, nil
}
