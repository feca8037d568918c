package localcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// keepers finds the processes of the node's keeper by the data directory in their
// arguments; with a PID namespace there are two of them. Only Linux shows them.
func (n *Node) keepers() ([]*os.Process, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("look for the keeper of node %s: %w", n.name, err)
	}
	var found []*os.Process
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err != nil || !isKeeper(string(b), n.data) {
			continue // most likely it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			return nil, fmt.Errorf("look for the keeper of node %s: %w", n.name, err)
		}
		found = append(found, p)
	}
	return found, nil
}

// isKeeper reads a process's arguments, each ended by a NUL.
func isKeeper(cmdline, data string) bool {
	args := strings.Split(strings.TrimSuffix(cmdline, "\x00"), "\x00")
	if len(args) < 2 || args[1] != "keeper" {
		return false
	}
	for i, a := range args[2:] {
		if a == data && args[i+1] == "--data" {
			return true
		}
	}
	return false
}

// endKeeper waits for the keeper, which ends with its agent, and kills it when its
// time is over.
func (n *Node) endKeeper() error {
	lock := filepath.Join(n.data, "keeper", "lock")
	err := unlocked(lock, keeperPatience)
	if !errors.Is(err, errHeld) {
		return err
	}
	keepers, findErr := n.keepers()
	err = errors.Join(fmt.Errorf("the keeper of node %s had to be killed: %w", n.name, err), findErr)
	for _, k := range keepers {
		_ = k.Kill() // gone already is fine
	}
	return errors.Join(err, unlocked(lock, time.Second))
}

// errHeld: somebody holds a lock for longer than expected.
var errHeld = errors.New("it did not end in time")

// unlocked waits until nobody holds a keeper's lock.
func unlocked(lock string, patience time.Duration) error {
	f, err := os.Open(lock)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for a keeper: %w", err)
	}
	defer f.Close() //nolint:errcheck // it holds nothing but the lock
	for until := time.Now().Add(patience); ; time.Sleep(look) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%w, %s (%w)", errHeld, patience, err)
		}
	}
}
