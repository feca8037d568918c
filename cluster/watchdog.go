package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// watchdog times the calls into the store. A disk that hangs would otherwise leave
// a leader that still sends heartbeats and commits nothing. (Source: DESIGN.md,
// section 5: a hung disk keeps heartbeating.)
type watchdog struct {
	slow, dead time.Duration
	fatal      func(error)
	onSlow     func(what string, since time.Duration)
	onFull     func(error) // may be nil
	slowNow    atomic.Bool
	full       atomic.Bool
	said       atomic.Int64 // when the full disk was last spoken of, in Unix seconds
	quit       chan struct{}
	done       chan struct{}

	mu    sync.Mutex // guards calls
	next  uint64
	calls map[uint64]storeCall
}

type storeCall struct {
	what  string
	since time.Time
}

// newWatchdog watches until close. A zero dead time watches nothing.
func newWatchdog(slow, dead time.Duration, onSlow func(string, time.Duration), fatal func(error)) *watchdog {
	w := &watchdog{slow: slow, dead: dead, onSlow: onSlow, fatal: fatal, quit: make(chan struct{}), done: make(chan struct{}), calls: map[uint64]storeCall{}}
	if dead == 0 {
		close(w.done)
		return w
	}
	go w.run()
	return w
}

// begin notes that a call starts; the function it returns, that it has ended.
func (w *watchdog) begin(what string) func() {
	if w == nil || w.dead == 0 {
		return func() {}
	}
	w.mu.Lock()
	w.next++
	id := w.next
	w.calls[id] = storeCall{what, time.Now()}
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.calls, id)
		w.mu.Unlock()
	}
}

// hung reports whether a call has been under way for longer than the slow time:
// the node then neither leads nor answers other servers.
func (w *watchdog) hung() bool { return w != nil && (w.slowNow.Load() || w.full.Load()) }

// setFull notes that not even a vote can be stored for want of room, or can again.
func (w *watchdog) setFull(full bool) {
	if w == nil {
		return
	}
	w.full.Store(full)
	if full {
		w.sayFull(syscall.ENOSPC)
	}
}

// sayFull says that the disk is full, not too often.
func (w *watchdog) sayFull(err error) {
	if w == nil || w.onFull == nil {
		return
	}
	now := time.Now().Unix()
	if last := w.said.Load(); now-last >= int64(sayAgain/time.Second) && w.said.CompareAndSwap(last, now) {
		w.onFull(err)
	}
}

func (w *watchdog) run() {
	defer close(w.done)
	tick := time.NewTicker(w.every())
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		now := time.Now()
		if !w.look(last, now) {
			return
		}
		last = now
	}
}

// every is the time between two looks.
func (w *watchdog) every() time.Duration { return min(w.slow, w.dead) / 8 }

// look is one look at the calls, after the one at last; false: the disk is dead.
func (w *watchdog) look(last, now time.Time) bool {
	if late := now.Sub(last) - w.every(); late > w.every() {
		w.forgive(late, now)
	}
	oldest, what := w.oldest(now)
	slow := oldest > w.slow
	if slow && !w.slowNow.Load() {
		w.onSlow(what, oldest)
	}
	w.slowNow.Store(slow)
	if oldest > w.dead {
		w.fatal(fmt.Errorf("the disk does not answer: %q has been under way for %s; this node ends so that others go on", what, oldest.Round(time.Millisecond)))
		return false
	}
	return true
}

// forgive takes time off all calls in which this process did not run itself: it was
// stopped, or its machine slept. Nothing is known of the disk in it.
func (w *watchdog) forgive(d time.Duration, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, c := range w.calls {
		c.since = c.since.Add(d)
		if c.since.After(now) { // it began after the pause
			c.since = now
		}
		w.calls[id] = c
	}
}

func (w *watchdog) oldest(now time.Time) (time.Duration, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest time.Duration
	what := ""
	for _, c := range w.calls {
		if d := now.Sub(c.since); d > longest {
			longest, what = d, c.what
		}
	}
	return longest, what
}

func (w *watchdog) close() {
	select {
	case <-w.quit:
	default:
		close(w.quit)
	}
	<-w.done
}
