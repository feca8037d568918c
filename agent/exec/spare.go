package exec

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota/agent"
)

// Bounds of the directories that are used again.
const (
	maxSpare = 256         // that lie ready
	maxIdle  = 1024        // of attempts that ended, until the cluster has taken that in
	maxShort = time.Minute // of an attempt whose directory is used again: for a longer one it is not worth it
	maxAwait = time.Minute // for the cluster to take in an end
)

// firstAttempt is the directory of a task's first attempt, below the key's.
const firstAttempt = "1"

// spares are the directories of short attempts that ended well and left nothing
// in them; they become those of other attempts by a rename. To make and remove
// five of them for each would cost more than to start the process: a file system
// looks for the inode of each among all that were removed lately.
type spares struct {
	dir  string
	own  string // begins the names that this driver gives
	log  hclog.Logger
	mu   sync.Mutex // guards all below
	last uint64
	free []string                // paths of a key's directory each
	idle map[agent.Ref]idleSpare // ended, and may still be asked for
}

type idleSpare struct {
	dir   string // of the attempt
	since time.Time
}

func newSpares(l agent.Layout, log hclog.Logger) *spares {
	return &spares{dir: l.Spare(), own: strconv.FormatInt(time.Now().UnixNano(), 36) + "-", log: log, idle: map[agent.Ref]idleSpare{}}
}

// take makes a spare directory the attempt's; false: it has none yet.
func (s *spares) take(t *agent.Task) bool {
	key := filepath.Dir(t.Dir)
	if filepath.Base(t.Dir) != firstAttempt {
		return false
	}
	s.mu.Lock()
	n := len(s.free)
	if n == 0 {
		s.mu.Unlock()
		return false
	}
	spare := s.free[n-1]
	s.free = s.free[:n-1]
	s.mu.Unlock()
	if s.use(spare, key, t) {
		return true
	}
	s.remove(spare)
	return false
}

func (s *spares) use(spare, key string, t *agent.Task) bool {
	if t.Record(filepath.Join(spare, firstAttempt)) != nil {
		return false
	}
	err := os.Rename(spare, key)
	if os.IsNotExist(err) { // the first of its run
		if os.MkdirAll(filepath.Dir(key), 0o700) == nil {
			err = os.Rename(spare, key)
		}
	}
	return err == nil // else there was another attempt of the task
}

// offer says that an attempt has ended well and has no logs; false: its directory
// will not be used again.
func (s *spares) offer(ref agent.Ref, dir string) bool {
	if filepath.Base(dir) != firstAttempt {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) >= maxIdle || len(s.free) >= maxSpare {
		return false
	}
	s.idle[ref] = idleSpare{dir: dir, since: time.Now()}
	return true
}

// give takes the directory of an attempt away that was offered and that nobody else
// may be about to use. One that it leaves, it names.
func (s *spares) give(ref agent.Ref, l agent.Layout) (left string) {
	s.mu.Lock()
	it, ok := s.idle[ref]
	delete(s.idle, ref)
	s.last++
	to := filepath.Join(s.dir, s.own+strconv.FormatUint(s.last, 36))
	s.mu.Unlock()
	key := filepath.Dir(it.dir)
	if !ok || time.Since(it.since) > maxAwait || !unused(key) {
		return it.dir
	}
	err := l.NoteSilent(ref.Task, ref.Fence.Attempt())
	if err == nil {
		err = os.Rename(key, to)
	}
	if os.IsNotExist(err) && os.MkdirAll(s.dir, 0o700) == nil {
		err = os.Rename(key, to)
	}
	if err != nil {
		s.log.Debug("a directory is not used again", "dir", key, "error", err)
		return it.dir
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, to)
	return ""
}

// withdraw forgets that an attempt's directory was offered, and names it.
func (s *spares) withdraw(ref agent.Ref) (dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir = s.idle[ref].dir
	delete(s.idle, ref)
	return dir
}

// expired gives the directories whose attempts were offered for too long: they stay
// where they are.
func (s *spares) expired(now time.Time) (dirs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref, it := range s.idle {
		if now.Sub(it.since) > maxAwait {
			delete(s.idle, ref)
			dirs = append(dirs, it.dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// find takes over what a driver before this one had ready.
func (s *spares) find() {
	for _, name := range names(s.dir) {
		if strings.HasPrefix(name, s.own) {
			continue
		}
		path := filepath.Join(s.dir, name)
		fit := unused(path)
		s.mu.Lock()
		keep := fit && len(s.free) < maxSpare
		if keep {
			s.free = append(s.free, path)
		}
		s.mu.Unlock()
		if !keep {
			s.remove(path)
		}
	}
}

func (s *spares) remove(path string) {
	if err := os.RemoveAll(path); err != nil {
		s.log.Warn("a spare directory cannot be removed", "dir", path, "error", err)
	}
}
