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

// endKeeper ends the keeper, whose agent has ended. While it has tasks it ends them
// by itself, and is waited for. Without them all it would still do is to tell the
// cluster, again and again, and that is going too: it is killed.
func (n *Node) endKeeper() error {
	lock := filepath.Join(n.data, "keeper", "lock")
	for until := time.Now().Add(keeperPatience); time.Now().Before(until); {
		err := unlocked(lock, look)
		if !errors.Is(err, errHeld) {
			return err
		}
		keepers, err := n.keepers()
		if err != nil {
			return err
		}
		if len(keepers) > 0 && !haveTasks(keepers) {
			killAll(keepers)
		}
	}
	keepers, err := n.keepers()
	killAll(keepers)
	return errors.Join(err, fmt.Errorf("the keeper of node %s did not end its tasks within %s and was killed", n.name, keeperPatience), unlocked(lock, time.Second))
}

func killAll(ps []*os.Process) {
	for _, p := range ps {
		_ = p.Kill() // gone already is fine
	}
}

// haveTasks reports whether keepers have children that are not keepers themselves.
// Where the system does not say, they may have.
func haveTasks(keepers []*os.Process) bool {
	known := map[string]bool{}
	for _, k := range keepers {
		known[strconv.Itoa(k.Pid)] = true
	}
	for pid := range known {
		lists, err := filepath.Glob(filepath.Join("/proc", pid, "task", "*", "children"))
		if err != nil {
			return true
		}
		if len(lists) == 0 && exists(filepath.Join("/proc", pid)) {
			return true
		}
		for _, path := range lists {
			b, err := os.ReadFile(path)
			if err != nil {
				continue // the thread has ended; its children are now another's
			}
			for child := range strings.FieldsSeq(string(b)) {
				if !known[child] {
					return true
				}
			}
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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
