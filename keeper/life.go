package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// life is what a keeper leaves on the disk while it lives, for the one after it,
// should it not end in order.
type life struct {
	ID     string `json:"id"`
	Boot   string `json:"boot"`
	Level  Level  `json:"level"`
	Cgroup string `json:"cgroup,omitempty"`
}

func readLife(dir string) (life, error) {
	b, err := os.ReadFile(filepath.Join(dir, lifeName))
	if errors.Is(err, os.ErrNotExist) {
		return life{}, nil
	}
	if err != nil {
		return life{}, fmt.Errorf("read the keeper before: %w", err)
	}
	var l life
	// A file that a power failure cut off is of another boot: it says nothing.
	_ = json.Unmarshal(b, &l)
	return l, nil
}

func writeLife(dir string, l life) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, lifeName+".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, lifeName))
}

// sweepTime bounds the search for what a keeper before this one left.
const sweepTime = 2 * time.Second

// sweepBefore ends what a keeper before this one left alive. It reports whether
// something may remain that cannot be found.
func sweepBefore(l life, boot, dir string, log hclog.Logger) (remains bool) {
	if l.ID == "" || l.Boot != boot {
		return false
	}
	log.Warn("the keeper before did not end in order", "id", l.ID, "level", l.Level)
	if l.Cgroup != "" {
		if !sweepCgroup(l.Cgroup) {
			log.Error("processes of the keeper before cannot be ended", "cgroup", l.Cgroup)
			return true
		}
		return false
	}
	if l.Level == LevelPIDNS {
		return false // its death was theirs
	}
	n := sweepMarked(l.ID, readJournal(dir))
	log.Warn("swept what the keeper before left", "processes", n)
	return true
}

func sweepCgroup(dir string) bool {
	if !strings.HasPrefix(filepath.Base(dir), cgroupDirPrefix) {
		return false
	}
	for until := time.Now().Add(sweepTime); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return errors.Is(err, os.ErrNotExist)
		}
		for _, e := range entries {
			if e.IsDir() && !removeCgroup(filepath.Join(dir, e.Name())) {
				killCgroup(filepath.Join(dir, e.Name()))
			}
		}
		if removeCgroup(dir) {
			return true
		}
	}
	return false
}

// readJournal gives the PIDs that were started and are the same processes still.
func readJournal(dir string) map[int]bool {
	pids := map[int]bool{}
	b, err := os.ReadFile(filepath.Join(dir, pidsName))
	if err != nil {
		return pids
	}
	for line := range bytes.Lines(b) {
		var pid int
		var start int64
		if _, err := fmt.Sscan(string(line), &pid, &start); err != nil {
			continue
		}
		if now, ok := startTime(pid); ok && now == start {
			pids[pid] = true
		}
	}
	return pids
}

// sweepMarked kills the journal's processes, what descends from them or is in
// their group or session, and everything that bears the keeper's mark.
func sweepMarked(id string, journal map[int]bool) int {
	killed := map[int]bool{}
	for until := time.Now().Add(sweepTime); time.Now().Before(until); {
		found := 0
		all, self := processes()
		for _, p := range all {
			if p.zombie || p.outer == self || !leftBy(p, all, id, journal) {
				continue
			}
			found++
			killed[p.pid] = true
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended
		}
		if found == 0 {
			break
		}
	}
	return len(killed)
}

func leftBy(p *process, all map[int]*process, id string, journal map[int]bool) bool {
	for at, hops := p, 0; at != nil && hops < 1000; at, hops = all[at.parent], hops+1 {
		if journal[at.pid] || journal[at.pgid] || journal[at.sid] {
			return true
		}
	}
	mark, _ := markOf(p.outer)
	return strings.HasPrefix(mark, id+".")
}
