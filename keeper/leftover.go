package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A keeper holds a lock on its own cgroup as long as it lives. The kernel gives it
// up with the process, so a group whose lock is free is of a keeper that was killed;
// no number that another process could have got meanwhile is asked.

// leftoverTime bounds the removal of such groups at a keeper's start; the rest goes
// with the next one.
const leftoverTime = 500 * time.Millisecond

// leftoverAge is how old a group without a lock is before it is removed: its keeper
// may have made it just now.
const leftoverAge = 10 * time.Second

// holdCgroup locks a keeper's own group for the life of the descriptor.
func holdCgroup(dir string) (fd int, err error) {
	fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the keeper's cgroup: %w", err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("lock the keeper's cgroup: %w", err)
	}
	return fd, nil
}

func (s *shell) sweepLeftovers() {
	if s.tree.cgroup == "" {
		return
	}
	if n := sweepLeftovers(s.tree.cgroup); n > 0 {
		s.log.Info("removed the empty cgroups of keepers that were killed", "groups", n)
	}
}

// sweepLeftovers removes the empty groups of keepers that were killed, beside the
// one named. What is alive in a group keeps it: the next keeper of the same data
// directory ends that.
func sweepLeftovers(own string) (removed int) {
	base := filepath.Dir(own)
	entries, err := os.ReadDir(base)
	if err != nil {
		return 0
	}
	until := time.Now().Add(leftoverTime)
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if !e.IsDir() || dir == own || !strings.HasPrefix(e.Name(), cgroupDirPrefix) {
			continue
		}
		if time.Now().After(until) {
			break
		}
		if removeLeftover(dir) {
			removed++
		}
	}
	return removed
}

func removeLeftover(dir string) bool {
	st, err := os.Stat(dir)
	if err != nil || time.Since(st.ModTime()) < leftoverAge {
		return false
	}
	fd, err := holdCgroup(dir)
	if err != nil {
		return false // its keeper lives, or another one removes it
	}
	defer unix.Close(fd) //nolint:errcheck // it holds nothing but the lock
	return removeCgroup(dir)
}

// remake makes the keeper's own group again, which somebody tidied away while it was
// empty.
func (t *tree) remake() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := os.Mkdir(t.cgroup, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil // another start was first
	}
	if err != nil {
		return fmt.Errorf("make the keeper's cgroup again: %w", err)
	}
	t.letGo()
	if t.hold, err = holdCgroup(t.cgroup); err != nil {
		t.hold = -1 // it works without the lock, but is tidied away when it is empty
	}
	return nil
}

// letGo gives up the lock of the keeper's own group.
func (t *tree) letGo() {
	if t.hold >= 0 {
		_ = unix.Close(t.hold)
		t.hold = -1
	}
}
