package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
)

// Retention is how long what attempts left on a node is kept. (Source: JOBSPEC.md,
// section 2, Defaults.)
type Retention struct {
	Age   time.Duration // since the last file of an attempt was written
	Bytes int64         // of all attempts; the oldest go first
	Every time.Duration // between sweeps
}

// DefaultRetention is 7 days and 10 GiB.
func DefaultRetention() Retention {
	return Retention{Age: 7 * 24 * time.Hour, Bytes: 10 << 30, Every: 10 * time.Minute}
}

// Keep removes what is kept for too long or is too much, until ctx ends. What
// inUse names is never touched.
func (l Logs) Keep(ctx context.Context, r Retention, inUse func(rota.TaskID, uint64) bool, log hclog.Logger) error {
	every := time.NewTicker(r.Every)
	defer every.Stop()
	for {
		removed, err := l.Sweep(time.Now(), r, inUse)
		if err != nil {
			log.Warn("old attempts cannot be removed", "dir", l.Layout.Root(), "error", err)
		}
		if removed > 0 {
			log.Info("removed old attempts", "attempts", removed)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// fresh is the age below which nothing is removed, however full the disk: a driver
// may just be using the directory again.
const fresh = 5 * time.Minute

// leftover is the directory of an attempt that is not in use, or a run's list of
// silent ones.
type leftover struct {
	name  string // below the layout's root
	last  time.Time
	bytes int64
}

// Sweep removes once what is older than Age or, oldest first, over Bytes. What it
// cannot remove it names in the error and goes on.
func (l Logs) Sweep(now time.Time, r Retention, inUse func(rota.TaskID, uint64) bool) (removed int, err error) {
	root, err := os.OpenRoot(l.Layout.Root())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open the attempts: %w", err)
	}
	defer root.Close() //nolint:errcheck // only read from
	all, total := leftovers(root, inUse)
	slices.SortFunc(all, func(a, b leftover) int {
		return cmp.Or(a.last.Compare(b.last), cmp.Compare(a.name, b.name))
	})
	var errs []error
	for _, o := range all {
		age := now.Sub(o.last)
		if total <= r.Bytes && age <= r.Age || age < fresh {
			break
		}
		if err := root.RemoveAll(o.name); err != nil {
			errs = append(errs, err)
			continue
		}
		total -= o.bytes
		removed++
		// The key's and the run's directories go with their last attempt; while they
		// hold another this fails, as it should.
		for up := filepath.Dir(o.name); up != "." && root.Remove(up) == nil; {
			up = filepath.Dir(up)
		}
	}
	return removed, errors.Join(errs...)
}

// leftovers lists the attempts that are not in use, and the bytes of all.
func leftovers(root *os.Root, inUse func(rota.TaskID, uint64) bool) (all []leftover, total int64) {
	for _, run := range folders(root, ".") {
		if strings.HasPrefix(run, ".") {
			continue // no run's
		}
		if st, err := root.Lstat(filepath.Join(run, fileSilent)); err == nil {
			total += st.Size()
			all = append(all, leftover{name: filepath.Join(run, fileSilent), last: st.ModTime(), bytes: st.Size()})
		}
		for _, key := range folders(root, run) {
			for _, n := range folders(root, filepath.Join(run, key)) {
				attempt, err := strconv.ParseUint(n, 10, 64)
				if err != nil {
					continue // none of ours
				}
				o := leftover{name: filepath.Join(run, key, n)}
				o.last, o.bytes = measure(root, o.name)
				total += o.bytes
				if !inUse(rota.TaskID{Run: rota.RunID(run), Key: rota.TaskKey(key)}, attempt) {
					all = append(all, o)
				}
			}
		}
	}
	return all, total
}

func folders(root *os.Root, name string) []string {
	d, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer d.Close() //nolint:errcheck // only read from
	entries, _ := d.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// measure sums the sizes below an attempt's directory and finds the last moment
// at which a file in it was written. Links are not followed.
func measure(root *os.Root, name string) (last time.Time, bytes int64) {
	_ = fs.WalkDir(root.FS(), filepath.ToSlash(name), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what vanishes meanwhile counts nothing
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
		if info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	return last, bytes
}
