package cluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/google/uuid"

	"github.com/rota-sched/rota"
)

// The files of a node's data directory that make it who it is.
const (
	nodeIDFile  = "node-id"
	clusterFile = "cluster.json"
	lockFile    = "lock"
)

// membership is what a node remembers of the cluster it belongs to.
type membership struct {
	ClusterID string `json:"cluster_id"`
	// Key encrypts gossip and proves to other servers that the node belongs here.
	Key []byte `json:"key"`
	// Voters is how many servers vote once enough have joined.
	Voters int `json:"voters"`
	// Founders are the servers that this node is to found the log with; only the
	// proposer of a new cluster has them.
	Founders []Founder `json:"founders,omitempty"`
	// Restores says that the log is to be founded from the backup in the data directory.
	Restores bool `json:"restores,omitempty"`
	// HadLog says that the node once had entries in its log: an empty one then means
	// that they were lost.
	HadLog bool `json:"had_log,omitempty"`
	// Member says that a committed configuration of the log named this node: one that does
	// not has then removed it.
	Member bool `json:"member,omitempty"`
	// Removed says that the node was told so: it does not come back under this ID.
	Removed bool `json:"removed,omitempty"`
	// Replaces is the ID under which the node took part before it put its log aside, and
	// Quarantine why it did.
	Replaces   rota.NodeID `json:"replaces,omitempty"`
	Quarantine string      `json:"quarantine,omitempty"`
	// Suspect is what was found wrong with the log while the node ran: its next start puts
	// it aside.
	Suspect string `json:"suspect,omitempty"`
	// Gossip are addresses at which other nodes were last seen.
	Gossip []string `json:"gossip"`
}

// identity is the data directory as this package uses it. With an empty dir it
// lives in memory.
type identity struct {
	dir    string
	lock   *os.File
	id     rota.NodeID
	saving sync.Mutex // held while the membership changes

	mu  sync.Mutex // guards what follows
	mem *membership
}

// openIdentity locks the data directory and reads who the node is, making an ID
// where there is none.
func openIdentity(dir string, want rota.NodeID, newID func() string) (*identity, error) {
	d := &identity{dir: dir, id: want}
	if dir == "" {
		if d.id == "" {
			d.id = rota.NodeID(newID())
		}
		return d, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(dir, err)
	}
	if err := d.take(); err != nil {
		return nil, err
	}
	if err := d.read(want, newID); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// unusable words an error about the data directory with the way out.
func unusable(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data directory %s cannot be written: make it writable for this user, or choose another with --data: %w", dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("data directory %s has no room left: free some, or choose another with --data: %w", dir, err)
	default:
		return fmt.Errorf("data directory %s: choose another with --data: %w", dir, err)
	}
}

// take locks the directory against a second process.
func (d *identity) take() error {
	f, err := os.OpenFile(filepath.Join(d.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unusable(d.dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(
			"data directory %s is used by another running node: stop it, or choose another with --data", d.dir)}
	}
	d.lock = f
	return nil
}

func (d *identity) close() error {
	if d.lock == nil {
		return nil
	}
	f := d.lock
	d.lock = nil
	return f.Close()
}

func (d *identity) read(want rota.NodeID, newID func() string) error {
	path := filepath.Join(d.dir, nodeIDFile)
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		d.id = rota.NodeID(strings.TrimSpace(string(b)))
		if _, err := uuid.Parse(string(d.id)); err != nil && want == "" {
			return fmt.Errorf("%s holds no node ID (%w): restore the file from a backup, or start this node anew in another --data", path, err)
		}
		if want != "" && want != d.id {
			return &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf("data directory %s belongs to node %s, not %s", d.dir, d.id, want)}
		}
	case errors.Is(err, fs.ErrNotExist):
		if d.id == "" {
			d.id = rota.NodeID(newID())
		}
		if err := writeFile(path, []byte(d.id+"\n")); err != nil {
			return unusable(d.dir, err)
		}
	default:
		return unusable(d.dir, err)
	}
	mem, err := readMembership(filepath.Join(d.dir, clusterFile))
	if err != nil {
		return err
	}
	d.mem = mem
	return nil
}

// readMembership reads the file; nil where there is none.
func readMembership(path string) (*membership, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unusable(filepath.Dir(path), err)
	}
	mem := new(membership)
	if err := json.Unmarshal(b, mem); err != nil {
		return nil, fmt.Errorf("%s is damaged: restore it from another node's data directory (it is the same but for the addresses): %w", path, err)
	}
	return mem, nil
}

// membership is what the node remembers of its cluster; nil before it belongs to
// one.
func (d *identity) membership() *membership {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem
}

// change remembers the membership as f leaves it, durably before it counts. f gets a
// copy; its slices are to be replaced, not written to.
func (d *identity) change(f func(*membership)) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	var m membership
	if old := d.membership(); old != nil {
		m = *old
	}
	f(&m)
	if d.dir != "" {
		b, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			return fmt.Errorf("save the membership: %w", err)
		}
		if err := writeFile(filepath.Join(d.dir, clusterFile), append(b, '\n')); err != nil {
			return unusable(d.dir, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mem = &m
	return nil
}

// writeFile replaces a file whole and durably; only its owner may read it.
func writeFile(path string, b []byte) (err error) {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// newKey draws a gossip key of 32 bytes (AES-256).
func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand, since Go 1.24)
	return key
}

func newID() string { return uuid.NewString() }
