package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"
)

// A bolt file never gets smaller by itself: its free pages are used again. One that
// grew in a bad hour is written anew at the next start, once more than shrinkBytes
// of it and three quarters are free.
const (
	shrinkBytes  = 64 << 20
	shrinkAtOnce = 4 << 20 // bytes copied in one transaction
	shrinkSuffix = ".shrunk"
)

// shrinkBolt writes the file anew where that frees much. The old file is replaced only
// after the new one is whole and on disk; where that fails, it stays as it is.
func shrinkBolt(path string, log hclog.Logger) {
	before, err := os.Stat(path)
	if err != nil || before.Size() < shrinkBytes {
		return
	}
	done, err := shrink(path)
	if err != nil {
		log.Warn("the log's file could not be made smaller; it is used as it is", "file", path, "bytes", before.Size(), "error", errors.Join(err, removed(path+shrinkSuffix)))
		return
	}
	if after, err := os.Stat(path); done && err == nil {
		log.Info("the log's file was made smaller", "file", path, "bytes_before", before.Size(), "bytes_after", after.Size())
	}
}

func shrink(path string) (done bool, err error) {
	if err := removed(path + shrinkSuffix); err != nil {
		return false, err
	}
	src, err := bbolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return false, fmt.Errorf("open it: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	size, err := sizeOf(src)
	if err != nil {
		return false, err
	}
	free := int64(src.Stats().FreePageN) * int64(src.Info().PageSize)
	if free < shrinkBytes || free < size/4*3 {
		return false, nil
	}
	dst, err := bbolt.Open(path+shrinkSuffix, 0o600, boltOptions())
	if err != nil {
		return false, fmt.Errorf("make a new one: %w", err)
	}
	dst.NoSync = true // once, below
	err = bbolt.Compact(dst, src, shrinkAtOnce)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return false, fmt.Errorf("copy it: %w", err)
	}
	if err := os.Rename(path+shrinkSuffix, path); err != nil {
		return false, fmt.Errorf("put the copy in its place: %w", err)
	}
	return true, syncDir(filepath.Dir(path))
}

func sizeOf(db *bbolt.DB) (size int64, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read its size: %w", err)
	}
	return size, nil
}

// removed removes a file that may not be there.
func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// dropUnfinished removes snapshots that a node which died had not finished: nothing reads
// them, and Raft leaves them.
func dropUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "snapshots", "*.tmp"))
	if err != nil {
		return err
	}
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}
