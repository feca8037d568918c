package api

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

// waits are the blocking reads of this node. What is applied looks only at those
// whose run it is about, so that a thousand readers who wait for one run each cost
// the applying goroutine a look into a map.
type waits struct {
	mu     sync.Mutex // guards all below
	byRun  map[rota.RunID][]*waiting
	begun  bool
	floor  uint64    // entries up to here are not kept
	newest uint64    // index of the newest entry seen
	recent []changed // oldest first, at most maxRecent
}

// changed is a change that readers may wait for, with its entry's index.
type changed struct {
	index  uint64
	change *rota.Change
}

// interest is what a reader waits for.
type interest struct {
	run   rota.RunID // empty: changes of any run, and of nodes
	match func(*rota.Change) bool
}

type waiting struct {
	interest
	index uint64 // of the entry that matched; zero: none yet
	done  chan struct{}
}

// maxRecent bounds the changes kept for readers who ask for what has just
// happened. One that asks for more is answered at once.
const maxRecent = 8192

// Applied takes what an applied entry did, every entry in log order, on the node's
// applying goroutine. It never blocks.
func (s *Server) Applied(a rota.Applied) { s.waits.applied(&a) }

func (w *waits) applied(a *rota.Applied) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun { // entries before the first are not known here
		w.begun, w.floor = true, a.Index-1
	}
	w.newest = a.Index
	for i := range a.Changes {
		c := &a.Changes[i]
		run, ok := runOf(c)
		if !ok {
			continue
		}
		w.recent = append(w.recent, changed{a.Index, c})
		if len(w.byRun) == 0 {
			continue
		}
		w.tell(run, a.Index, c)
		if run != "" {
			w.tell("", a.Index, c)
		}
	}
	if over := len(w.recent) - maxRecent; over > maxRecent/4 {
		w.floor = w.recent[over-1].index
		w.recent = slices.Delete(w.recent, 0, over)
	}
}

// Restored says that the state of an index came by snapshot: what led to it is not
// known here, so every reader looks again.
func (s *Server) Restored(_ uint16, index uint64) { s.waits.restored(index) }

func (w *waits) restored(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.floor, w.newest, w.recent = true, index, index, nil
	for _, list := range w.byRun { // order: each is woken, whoever comes first
		for _, x := range list {
			x.index = index
			close(x.done)
		}
	}
	w.byRun = nil
}

// tell wakes those who wait for the change. The caller holds mu.
func (w *waits) tell(run rota.RunID, index uint64, c *rota.Change) {
	list := w.byRun[run]
	rest := list[:0]
	for _, x := range list {
		if x.match(c) {
			x.index = index
			close(x.done)
			continue
		}
		rest = append(rest, x)
	}
	w.keep(run, list, rest)
}

// keep replaces a list by what is left of it.
func (w *waits) keep(run rota.RunID, list, rest []*waiting) {
	switch {
	case len(rest) == len(list):
	case len(rest) == 0:
		delete(w.byRun, run)
	default:
		clear(list[len(rest):])
		w.byRun[run] = rest
	}
}

// await blocks until a change after the index is of interest, and gives its
// entry's index; 0: nothing came in time. What is not kept any more counts as of
// interest. An error is ctx's.
func (w *waits) await(ctx context.Context, stop <-chan struct{}, after uint64, in interest, wait time.Duration) (uint64, error) {
	x, index := w.begin(after, in)
	if x == nil {
		return index, nil
	}
	defer w.end(x)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-x.done:
		return x.index, nil
	case <-timer.C:
		return 0, nil
	case <-stop:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// begin registers a reader, unless what it waits for has happened: then it gives
// the index.
func (w *waits) begin(after uint64, in interest) (*waiting, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if after < w.floor {
		return nil, w.newest
	}
	from, _ := slices.BinarySearchFunc(w.recent, after+1, func(c changed, index uint64) int {
		if c.index < index {
			return -1
		}
		return 1
	})
	for _, c := range w.recent[from:] {
		if run, _ := runOf(c.change); (in.run == "" || run == in.run) && in.match(c.change) {
			return nil, c.index
		}
	}
	x := &waiting{interest: in, done: make(chan struct{})}
	if w.byRun == nil {
		w.byRun = map[rota.RunID][]*waiting{}
	}
	w.byRun[in.run] = append(w.byRun[in.run], x)
	return x, 0
}

func (w *waits) end(x *waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.byRun[x.run]
	w.keep(x.run, list, slices.DeleteFunc(slices.Clone(list), func(o *waiting) bool { return o == x }))
}

// runOf is the run that a change is about, empty for a node's; false: nobody
// outside waits for such changes.
func runOf(c *rota.Change) (rota.RunID, bool) {
	switch {
	case c.Type == rota.ChangeNode:
		return "", true
	case c.Type == rota.ChangeRoom, c.Type == rota.ChangeHold, c.Type == rota.ChangeHoldReleased, c.Type == rota.ChangeRenewed:
		return "", false
	case c.Task != nil:
		return c.Task.ID.Run, true
	case c.Run != nil:
		return c.Run.ID, true
	default:
		return "", false
	}
}

// The interests of the reads.

func anyChange(*reading) interest {
	return interest{match: func(*rota.Change) bool { return true }}
}

func nodeChange(*reading) interest {
	return interest{match: func(c *rota.Change) bool { return c.Type == rota.ChangeNode }}
}

func anyRunChange(*reading) interest {
	return interest{match: func(c *rota.Change) bool { return c.Type != rota.ChangeNode }}
}

// runChange is about the run that is read; with ?until=ended only about its end or
// pause.
func runChange(rd *reading) interest {
	in := ofRun(rd.PathValue("id"))
	if rd.query.Get("until") == untilEnded {
		return endOf(in)
	}
	return in
}

func endOf(in interest) interest {
	named := in.match
	in.match = func(c *rota.Change) bool {
		return c.Run != nil && (c.Run.Status.Terminal() || c.Run.Status == rota.RunPaused) && named(c)
	}
	return in
}

func taskChange(rd *reading) interest {
	in, key := ofRun(rd.PathValue("run")), rota.TaskKey(rd.PathValue("key"))
	named := in.match
	in.match = func(c *rota.Change) bool { return c.Task != nil && c.Task.ID.Key == key && named(c) }
	return in
}

const untilEnded = "ended"

// ofRun takes the changes of the run that a word names. A prefix is good enough:
// one change too many only wakes the reader early.
func ofRun(word string) interest {
	upper := strings.ToUpper(word)
	if len(upper) == runIDLength {
		return interest{run: rota.RunID(upper), match: func(*rota.Change) bool { return true }}
	}
	return interest{match: func(c *rota.Change) bool {
		run, _ := runOf(c)
		return run != "" && (word == lastRun || strings.HasPrefix(string(run), upper))
	}}
}
