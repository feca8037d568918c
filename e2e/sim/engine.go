package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// moment is true time, which nobody in the world can read: nanoseconds since the
// beginning of the history.
type moment int64

func (m moment) add(d time.Duration) moment { return m + moment(d) }

func (m moment) String() string {
	return fmt.Sprintf("%10.3fs", time.Duration(m).Seconds())
}

// engine runs everything that happens, one after the other, in the order of true
// time.
type engine struct {
	rng   *rand.Rand
	now   moment
	queue happenings
	seq   uint64
	steps int
	crowd int // happenings of the present moment

	story  []string // the newest lines, oldest first
	whole  bool
	digest uint64 // of everything that was noted
	failed error  // the first promise that was broken
}

type happening struct {
	at  moment
	seq uint64
	do  func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }

func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *happenings) Push(x any) { *h = append(*h, x.(happening)) } //nolint:forcetypeassert // only after calls it

// Pop implements heap.Interface.
func (h *happenings) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = happening{}
	*h = old[:len(old)-1]
	return x
}

func newEngine(seed uint64) *engine {
	return &engine{rng: rand.New(rand.NewPCG(seed, 0x726f7461)), digest: 14695981039346656037} //nolint:gosec // chance that can be repeated is the point
}

// after has something happen later.
func (e *engine) after(d time.Duration, do func()) {
	e.seq++
	heap.Push(&e.queue, happening{at: e.now.add(max(d, 0)), seq: e.seq, do: do})
}

// maxCrowd bounds the happenings of one moment.
const maxCrowd = 20_000

// run lets things happen until the moment, or until a promise is broken.
func (e *engine) run(until moment) {
	for len(e.queue) > 0 && e.failed == nil && e.queue[0].at <= until {
		h := heap.Pop(&e.queue).(happening) // only after pushes
		if e.now != h.at {
			e.now, e.crowd = h.at, 0
		}
		e.steps++
		if e.crowd++; e.crowd > maxCrowd {
			e.broken("%d things happen in one moment: somebody spins", e.crowd)
		}
		h.do()
	}
	if e.failed == nil {
		e.now = max(e.now, until)
	}
}

// between draws a duration.
func (e *engine) between(least, most time.Duration) time.Duration {
	return least + time.Duration(e.rng.Int64N(int64(most-least)+1))
}

// chance is true in n of 100 cases.
func (e *engine) chance(n int) bool { return e.rng.IntN(100) < n }

// storyLines is how many lines of a story are kept.
const storyLines = 160

// tell adds a line to the story.
func (e *engine) tell(format string, args ...any) {
	line := e.now.String() + "  " + fmt.Sprintf(format, args...)
	e.note(line)
	if len(e.story) == storyLines && !e.whole {
		copy(e.story, e.story[1:])
		e.story[storyLines-1] = line
		return
	}
	e.story = append(e.story, line)
}

// note folds something into the history's digest: what differs between two runs
// of one seed must not go unnoticed.
func (e *engine) note(s string) {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %d %s", e.digest, e.now, s)
	e.digest = h.Sum64()
}

// broken ends the history: a promise was not kept.
func (e *engine) broken(format string, args ...any) {
	if e.failed == nil {
		e.failed = fmt.Errorf(format, args...) //nolint:err113 // for people
		e.tell("BROKEN: %v", e.failed)
	}
}
