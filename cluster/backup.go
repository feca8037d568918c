package cluster

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// A backup is one file: eight bytes that name it, the length of its head, the head as
// JSON, the head's CRC-32C, and a snapshot as fsm writes it (a length and a checksum
// for each record, SHA-256 at the end). Nothing follows.
const (
	backupMagic = "rotabkp1"
	maxHead     = 64 << 10
)

// BackupHead is what a backup says of where it comes from.
type BackupHead struct {
	ClusterID   string    `json:"cluster_id"`
	Node        string    `json:"node"` // name of the node that wrote it
	Term        uint64    `json:"term"`
	Index       uint64    `json:"index"`
	Incarnation uint16    `json:"incarnation"`
	At          time.Time `json:"at"` // by that node's wall clock
	// Raise is the least incarnation of a cluster founded from it, where somebody knows
	// that higher ones were given out than the state's own.
	Raise uint16 `json:"raise,omitempty"`
}

// Backup is a backup that was read and found whole.
type Backup struct {
	BackupHead
	Format uint16
	Sizes  fsm.Sizes
	Counts [16]int // tasks by rota.Status
	Digest string  // of the state
	Bytes  int64
	SHA256 string // of the file
	Now    rota.Instant
}

// ErrNotBackup says that a file is no backup, or not a whole one.
var ErrNotBackup = errors.New("not a whole snapshot")

// WriteBackup writes the state of this node. Stale: as it is here, without asking the
// leader whether that is the newest.
func (c *Cluster) WriteBackup(ctx context.Context, w io.Writer, stale bool) error {
	if !stale {
		index, err := c.Barrier(ctx)
		if err != nil {
			return err
		}
		if err := c.Await(ctx, index); err != nil {
			return err
		}
	}
	snap := c.Snapshot()
	if snap == nil {
		return &rota.Refusal{Kind: rota.KindUnavailable, Detail: "this node holds no replica of the state"}
	}
	id, _ := c.Credentials()
	return writeBackup(w, BackupHead{
		ClusterID: id, Node: c.cfg.Name, Term: c.Status().Term, Index: snap.Index(), Incarnation: snap.Incarnation(), At: c.cfg.Seams.Wall().UTC(),
	}, snap)
}

func writeBackup(w io.Writer, head BackupHead, snap *fsm.Snapshot) error {
	if err := writeHead(w, head); err != nil {
		return err
	}
	return snap.Encode(w)
}

func writeHead(w io.Writer, head BackupHead) error {
	b, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	first := binary.BigEndian.AppendUint32([]byte(backupMagic), uint32(len(b)))
	first = append(first, b...)
	first = binary.BigEndian.AppendUint32(first, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	if _, err := w.Write(first); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	return nil
}

// ReadBackup reads a backup whole and checks all of it.
func ReadBackup(path string) (*Backup, error) {
	b, _, err := loadBackup(path)
	return b, err
}

func loadBackup(path string) (*Backup, *fsm.State, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("there is no file %s", path)}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the snapshot %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, sum), 256<<10)
	damaged := func(err error) (*Backup, *fsm.State, error) {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrNotBackup, path, err)
	}
	head, err := readHead(in)
	if err != nil {
		return damaged(err)
	}
	state, err := fsm.Restore(in)
	if errors.Is(err, fsm.ErrHalt) {
		return nil, nil, fmt.Errorf("%s was written by a newer version of the program: use that one: %w", path, err)
	}
	if err != nil {
		return damaged(err)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged(errors.New("something follows its end"))
	}
	if state.Index() != head.Index || state.Incarnation() != head.Incarnation {
		return damaged(errors.New("head and state do not belong together"))
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read the snapshot %s: %w", path, err)
	}
	return &Backup{
		BackupHead: head, Format: state.Format(), Sizes: state.Sizes(), Counts: state.Counts(), Digest: state.Digest().String(),
		Bytes: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil)), Now: state.Now(),
	}, state, nil
}

func readHead(in io.Reader) (BackupHead, error) {
	var head BackupHead
	first := make([]byte, len(backupMagic)+4)
	if _, err := io.ReadFull(in, first); err != nil || string(first[:len(backupMagic)]) != backupMagic {
		return head, errors.New("it does not begin as one")
	}
	n := binary.BigEndian.Uint32(first[len(backupMagic):])
	if n > maxHead {
		return head, errors.New("its head is damaged")
	}
	b := make([]byte, n+4)
	if _, err := io.ReadFull(in, b); err != nil {
		return head, errors.New("it ends in its head")
	}
	if crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[n:]) {
		return head, errors.New("its head is damaged: the checksum is wrong")
	}
	if err := json.Unmarshal(b[:n], &head); err != nil {
		return head, fmt.Errorf("its head is damaged: %w", err)
	}
	return head, nil
}

// restoreFile is the backup that a node founds its cluster from, in its data directory.
const restoreFile = "restore.snap"

// PrepareRestore puts a backup into a new data directory: the node that starts there
// founds its cluster from it, with as many others as it expects. Its incarnation will
// be the one after the state's, or raise where that is higher.
func PrepareRestore(dir, path string, raise uint16) (*Backup, error) {
	b, err := ReadBackup(path)
	if err != nil {
		return nil, err
	}
	b.Raise = max(b.Raise, raise)
	return b, prepare(dir, func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if _, err := readHead(f); err != nil {
			return err
		}
		if err := writeHead(w, b.BackupHead); err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	})
}

// next is the incarnation of a cluster founded from the backup.
func (h *BackupHead) next() uint16 { return max(h.Incarnation+1, h.Raise) }

// prepare locks a data directory of no cluster and writes the backup to found one
// from.
func prepare(dir string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unusable(dir, err)
	}
	d := &identity{dir: dir}
	if err := d.take(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, name := range []string{clusterFile, raftDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(
				"data directory %s belongs to a cluster already (it has %s): a snapshot goes into an empty one", dir, name)}
		}
	}
	return writeWith(filepath.Join(dir, restoreFile), write)
}

// writeWith replaces a file whole and durably.
func writeWith(path string, write func(io.Writer) error) (err error) {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return unusable(filepath.Dir(path), err)
	}
	out := bufio.NewWriterSize(f, 256<<10)
	err = write(out)
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(unusable(filepath.Dir(path), err), os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return unusable(filepath.Dir(path), err)
	}
	return syncDir(filepath.Dir(path))
}
