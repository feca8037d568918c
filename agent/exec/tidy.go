package exec

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// The sweep of what is left of attempts.
const (
	sweepEvery = 10 * time.Minute
	maxKept    = 1000 // failed attempts' working directories, the newest
)

// Run removes working directories: those of attempts that ended at once, those of
// failed ones after their time, and what an agent before this one left.
func (d *Driver) Run(ctx context.Context) error {
	d.spares.find()
	every := time.NewTicker(sweepEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case dir := <-d.tidy:
			d.remove(dir)
		case <-every.C:
			d.Sweep(time.Now())
		}
	}
}

// leave gives the working directory away: to be used again, to be removed, or kept
// for a while after a failure.
func (d *Driver) leave(a *keeper.Attempt, dir string, well bool) {
	silent := a.Output == keeper.Output{}
	if well && silent && a.Ran(keeper.Now()) < maxShort && d.spares.offer(agent.Ref{Task: a.Task, Fence: a.Fence}, dir) {
		return
	}
	work := filepath.Join(dir, agent.DirWork)
	if !well && d.cfg.KeepFailed > 0 {
		kept := filepath.Join(dir, dirKept)
		err := os.Rename(work, kept)
		if err == nil {
			now := time.Now()
			err = os.Chtimes(kept, now, now)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.cfg.Logger.Warn("the working directory of a failed attempt is not kept", "dir", work, "error", err)
		}
		return
	}
	d.tidyUp(work)
}

// tidyUp removes a working directory, soon.
func (d *Driver) tidyUp(work string) {
	select {
	case d.tidy <- work:
	default:
		d.remove(work)
	}
}

func (d *Driver) remove(dir string) {
	// An empty directory, the usual case, goes with one call.
	if err := os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		d.cfg.Logger.Warn("a working directory cannot be removed", "dir", dir, "error", err)
	}
}

type keptDir struct {
	path string
	at   time.Time
}

// Sweep removes the working directories whose time is over.
func (d *Driver) Sweep(now time.Time) {
	for _, dir := range d.spares.expired(now) {
		d.remove(filepath.Join(dir, agent.DirWork))
	}
	var kept []keptDir
	root := d.cfg.Layout.Root()
	for _, run := range names(root) {
		if strings.HasPrefix(run, ".") {
			continue // no run's
		}
		for _, key := range names(filepath.Join(root, run)) {
			for _, n := range names(filepath.Join(root, run, key)) {
				kept = d.sweepAttempt(filepath.Join(root, run, key, n), now, kept)
			}
		}
	}
	if len(kept) <= maxKept {
		return
	}
	slices.SortFunc(kept, func(a, b keptDir) int { return b.at.Compare(a.at) })
	for _, k := range kept[maxKept:] {
		d.remove(k.path)
	}
}

func (d *Driver) sweepAttempt(dir string, now time.Time, kept []keptDir) []keptDir {
	for _, name := range []string{dirKept, agent.DirWork} {
		path := filepath.Join(dir, name)
		st, err := os.Lstat(path)
		if err != nil || d.held(dir) {
			continue
		}
		switch old := now.Sub(st.ModTime()) > d.cfg.KeepFailed; {
		case old:
			d.remove(path)
		case name == dirKept:
			kept = append(kept, keptDir{path, st.ModTime()})
		}
	}
	return kept
}

func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read from
	out, _ := f.Readdirnames(-1)
	return out
}
