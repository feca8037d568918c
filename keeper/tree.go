package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// markKey is the environment variable by which the keeper knows its attempts'
// processes again, where it has no better means. Its value is ID.N: the keeper's
// random id and a number.
const markKey = "ROTA_KEEPER"

// group is everything one attempt started. Its methods may be called at the same
// time from several goroutines.
type group interface {
	mark() string
	prepare(a *syscall.SysProcAttr) // before the fork
	started(pid int)
	reaped() // the main process is gone
	discard()
	signal(sig syscall.Signal)
	kill()
	again() bool // whether it was another attempt's before
	quick() bool // whether empty may be called under the table's lock
	// empty reports that nothing of it is alive, and then gives back what it took.
	empty() bool
}

// tree is all that a keeper started: what makes groups.
type tree struct {
	id     string
	cgroup string // the keeper's own; empty: groups go by mark
	walk   bool   // orphans come to the keeper, so that a walk finds them below it
	last   atomic.Uint64
	pool   cgroupPool

	hunts sync.WaitGroup // walks that signal

	mu      sync.Mutex // guards all below
	hold    int        // open on cgroup, with the lock that says this keeper lives; -1: not held
	groups  map[*markGroup]bool
	journal *os.File // of what was started, on the levels that need it; may be nil

	scanning sync.Mutex // one walk at a time; guards scan
	scan     *scan
}

// group makes the group of an attempt; fresh: of nothing that another one used.
func (t *tree) group(fresh bool) (group, error) {
	n := strconv.FormatUint(t.last.Add(1), 10)
	mark := t.id + "." + n
	if t.cgroup != "" {
		if !fresh {
			if g := t.pool.get(mark); g != nil {
				return g, nil
			}
		}
		g, err := t.freshCgroup(n, mark)
		if err != nil {
			return nil, err
		}
		return g, nil
	}
	g := &markGroup{tree: t, name: mark}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups[g] = true
	return g, nil
}

// openJournal begins the list of what is started, where the keeper's death is not
// that of its tasks and no cgroup names them.
func (t *tree) openJournal(dir string) error {
	path := filepath.Join(dir, pidsName)
	if t.cgroup != "" || os.Getpid() == 1 {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove the journal of a keeper before: %w", err)
		}
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("begin the journal of processes: %w", err)
	}
	t.journal = f
	return nil
}

func (t *tree) note(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.journal == nil {
		return
	}
	if start, ok := startTime(pid); ok {
		fmt.Fprintf(t.journal, "%d %d\n", pid, start) //nolint:errcheck // the mark is the second way to find it
	}
}

func (t *tree) close() {
	t.hunts.Wait()
	if t.cgroup != "" {
		t.pool.drop()
		removeCgroup(t.cgroup)
		t.mu.Lock()
		t.letGo()
		t.mu.Unlock()
	} else {
		sweepMarked(t.id, nil)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.journal != nil {
		_ = t.journal.Close()
		_ = os.Remove(t.journal.Name())
	}
}

// subreaper makes orphans come to this process.
func subreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
