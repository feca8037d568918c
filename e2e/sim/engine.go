package sim

import (
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
	breaks promise
}

// promise is what a history is held to.
type promise string

// The promises. (Source: DESIGN.md, section 1; RELIABILITY.md, section 1.)
const (
	kept   promise = "kept"   // what was acknowledged stays
	once   promise = "once"   // one outcome a task, of the attempt whose fence is valid
	alone  promise = "alone"  // no two live executions of a task; nothing lives beyond its session
	fits   promise = "fits"   // no node is over its room
	order  promise = "order"  // no task before what it depends on
	same   promise = "same"   // all replicas and snapshots agree
	ends   promise = "ends"   // everything comes to its end once faults stop
	rests  promise = "rests"  // nobody spins
	linear promise = "linear" // clients see one order of events
)

type happening struct {
	at  moment
	seq uint64
	do  func()
}

// happenings are a heap: the soonest first, and of one moment the one that was
// planned first.
type happenings []happening

func (h happening) before(o *happening) bool {
	return h.at < o.at || h.at == o.at && h.seq < o.seq
}

func (h *happenings) push(x happening) {
	q := append(*h, x)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !x.before(&q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = x
	*h = q
}

func (h *happenings) pop() happening {
	q := *h
	first, n := q[0], len(q)-1
	x := q[n]
	q[n] = happening{}
	q = q[:n]
	*h = q
	for i := 0; n > 0; {
		least := i
		for down := 4*i + 1; down <= 4*i+4 && down < n; down++ {
			if least == i && q[down].before(&x) || least != i && q[down].before(&q[least]) {
				least = down
			}
		}
		if least == i {
			q[i] = x
			break
		}
		q[i] = q[least]
		i = least
	}
	return first
}

func newEngine(seed uint64) *engine {
	return &engine{rng: rand.New(rand.NewPCG(seed, 0x726f7461)), digest: 14695981039346656037} //nolint:gosec // chance that can be repeated is the point
}

// after has something happen later.
func (e *engine) after(d time.Duration, do func()) {
	e.seq++
	e.queue.push(happening{at: e.now.add(max(d, 0)), seq: e.seq, do: do})
}

// maxCrowd bounds the happenings of one moment.
const maxCrowd = 20_000

// run lets things happen until the moment, or until a promise is broken.
func (e *engine) run(until moment) {
	for len(e.queue) > 0 && e.failed == nil && e.queue[0].at <= until {
		h := e.queue.pop()
		if e.now != h.at {
			e.now, e.crowd = h.at, 0
		}
		e.steps++
		if e.crowd++; e.crowd > maxCrowd {
			e.broken(rests, "%d things happen in one moment: somebody spins", e.crowd)
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
func (e *engine) broken(p promise, format string, args ...any) {
	if e.failed == nil {
		e.breaks = p
		e.failed = fmt.Errorf(format, args...) //nolint:err113 // for people
		e.tell("BROKEN (%s): %v", p, e.failed)
	}
}
