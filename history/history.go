package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/rota-sched/rota"
)

// Config says where events are kept and how many.
type Config struct {
	Dir      string // made if it is missing
	MaxBytes int64  // of all segment files together, about
	Segments int    // files; the oldest goes when one more is needed
	Queue    int    // changes that may wait for the disk; beyond that history begins anew
	Recent   int    // events held in memory for those who follow
	Logger   hclog.Logger
}

// DefaultConfig keeps 64 MiB in 8 files.
func DefaultConfig(dir string) Config {
	return Config{Dir: dir, MaxBytes: 64 << 20, Segments: 8, Queue: 200_000, Recent: 8192, Logger: hclog.NewNullLogger()}
}

func (c *Config) check() error {
	if c.Dir == "" || c.Segments < 2 || c.MaxBytes < int64(c.Segments)*4096 || c.Queue < 1 || c.Recent < 1 || c.Logger == nil {
		return fmt.Errorf("history: want a directory, a logger, 2 segments or more, 4 KiB each or more, and queue and recent above zero: %w", rota.ErrInvalid)
	}
	return nil
}

// History is the event history of one node.
type History struct {
	cfg  Config
	wake chan struct{} // capacity 1: there is something in the queue

	mu       sync.Mutex // guards all below
	queue    []job
	queued   int // changes in the queue
	accepted ID  // after the newest entry taken into the queue
	segments []*segment
	floor    ID            // events up to here are not kept
	last     ID            // after the newest entry written
	recent   []entry       // the newest entries with events, oldest first
	inRecent int           // events in them
	before   ID            // after the entry before the first of them
	changed  chan struct{} // closed when events are added
}

// job is an entry to write, or a gap: entries up to an ID are not known here.
type job struct {
	entry
	gap   bool
	after ID // of a gap
}

// Open finds out what is kept in the directory, cutting off a torn tail. Files
// before a hole are removed. Nothing is written until Run.
func Open(cfg Config) (*History, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the event history: %w", err)
	}
	h := &History{cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	paths, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+segmentSuffix))
	if err != nil {
		return nil, fmt.Errorf("open the event history: %w", err)
	}
	slices.Sort(paths)
	for _, path := range paths {
		s, err := openSegment(path)
		if errors.Is(err, errRecord) {
			cfg.Logger.Warn("event segment is damaged, history before it is dropped", "file", path, "error", err)
			h.dropAll()
			_ = os.Remove(path) // if it stays, the next opening meets it again
			continue
		}
		if err != nil {
			h.closeAll()
			return nil, err
		}
		if n := len(h.segments); n > 0 && s.floor != h.segments[n-1].last {
			cfg.Logger.Warn("event segments have a hole, history before it is dropped", "file", path)
			h.dropAll()
		}
		h.segments = append(h.segments, s)
	}
	if n := len(h.segments); n > 0 {
		h.floor, h.last = h.segments[0].floor, h.segments[n-1].last
	}
	h.accepted, h.before = h.last, h.last
	return h, nil
}

// Append takes what an applied entry did, every entry in log order, also those
// without events. It never blocks on the disk or on readers. Entries that it has
// already, as after a restart, are passed over.
func (h *History) Append(incarnation uint16, a rota.Applied) {
	last := After(incarnation, a.Index)
	h.mu.Lock()
	defer h.mu.Unlock()
	if last.Compare(h.accepted) <= 0 {
		return
	}
	h.accepted = last
	if h.queued+len(a.Changes) > h.cfg.Queue && h.queued > 0 {
		h.cfg.Logger.Warn("the disk does not keep up with events, history begins anew", "index", a.Index, "waiting", h.queued)
		h.queue, h.queued = []job{{gap: true, after: last}}, 1
	} else {
		h.queue = append(h.queue, job{entry: entry{incarnation: incarnation, applied: a}})
		h.queued += len(a.Changes)
	}
	h.nudge()
}

// Restored says that the state was restored from a snapshot of an index: at the
// start of the node, or sent by another replica. If entries up to there never came
// by, history has a hole and begins anew after it.
func (h *History) Restored(incarnation uint16, index uint64) {
	last := After(incarnation, index)
	h.mu.Lock()
	defer h.mu.Unlock()
	if last.Compare(h.accepted) <= 0 {
		return
	}
	if h.accepted != (ID{}) {
		h.cfg.Logger.Info("state came by snapshot, history begins anew", "index", index)
	}
	h.accepted = last
	h.queue, h.queued = []job{{gap: true, after: last}}, 1
	h.nudge()
}

func (h *History) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Floor is the ID after which every event is kept.
func (h *History) Floor() ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor
}

// Last is the ID after the newest event: where to follow from to see only what is
// new.
func (h *History) Last() ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// Changed is closed when there are events that were not there when it was called,
// or when history begins anew.
func (h *History) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// Run writes what Append takes until ctx ends, then writes the rest and closes the
// files. Trouble with the disk is logged and costs history, never more: Run
// returns nil.
func (h *History) Run(ctx context.Context) error {
	for {
		select {
		case <-h.wake:
			h.drain()
		case <-ctx.Done():
			h.drain()
			h.mu.Lock()
			h.closeAll()
			h.floor = h.before // memory is all that can be read now
			h.mu.Unlock()
			return nil
		}
	}
}

// drain writes the queue until it is empty.
func (h *History) drain() {
	for {
		h.mu.Lock()
		jobs := h.queue
		h.queue, h.queued = nil, 0
		h.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		h.write(jobs)
	}
}
