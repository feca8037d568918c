package rota

import (
	"cmp"
	"slices"
)

// Arrivals learns what tasks typically ask for, from the tasks as they are queued
// for the first time. It is a record of integers: the same arrivals in the same order
// give the same record, wherever it was written down and read again in between.
//
// Decisions go by Known alone, which is replaced seldom: each replacement makes a
// scheduler rate everything anew. Its lists are replaced or appended to, never
// changed: a copy of the record stays what it was, and one of all copies may go on.
type Arrivals struct {
	// Settled is how many arrivals went into Counted, ever.
	Settled int64
	Counted []Shape // sorted by Shape.Compare; Count in units of 1/ArrivalUnit, decaying
	// Recent are the arrivals since, fewer than ArrivalsPerTurn, in their order.
	Recent []*Shape
	// Known is Counted as it was when KnownAt arrivals had been counted; nil: nothing
	// is known yet.
	Known   []Shape
	KnownAt int64

	spec  *TaskSpec // the last one, and its shape: derived
	shape *Shape
}

// How arrivals are counted. (Source: docs/PLACEMENT.md, "Learned and given".)
const (
	// FormatArrivals is the format version from which on the state machine counts.
	FormatArrivals = 4
	// ArrivalUnit is what one arrival adds to a count.
	ArrivalUnit = 16
	// ArrivalsPerTurn is how many arrivals lie between two looks at the counts; the
	// counts then lose a sixteenth, so half of what is known is from the last 11 turns.
	ArrivalsPerTurn = 1024
	// MaxShapes bounds the shapes that outlive a turn; the most frequent do.
	MaxShapes = 256
	// MaxShapeBytes bounds the texts of a shape; what has longer ones is not counted.
	MaxShapeBytes = 1024
	// firstTurn is when Known begins; until ArrivalsPerTurn it doubles.
	firstTurn = 64
	// noticed is the part of all GPU demand, in thousandths, that must have moved from
	// some shapes to others before Known is replaced.
	noticed = 125
)

// Total is how many arrivals were counted, ever.
func (a *Arrivals) Total() int64 { return a.Settled + int64(len(a.Recent)) }

// Add counts one arrival; false if there is nothing to learn from it: tasks without
// GPU go where no GPUs are, and what they ask for protects nothing.
func (a *Arrivals) Add(spec *TaskSpec) bool {
	if spec.Resources.GPU.Count == 0 {
		return false
	}
	if a.spec != spec {
		s := ShapeOf(spec).Rounded()
		if s.textBytes() > MaxShapeBytes {
			return false
		}
		a.spec, a.shape = spec, &s
	}
	a.Recent = append(a.Recent, a.shape)
	return true
}

// Turn looks at the counts if it is time to: turned, Recent is empty then, and
// renewed, if Known was replaced. Call it after each Add.
func (a *Arrivals) Turn() (turned, renewed bool) {
	total := a.Total()
	early := total < ArrivalsPerTurn && total >= firstTurn && total >= 2*a.KnownAt
	if !early && (total%ArrivalsPerTurn != 0 || len(a.Recent) == 0) {
		return false, false
	}
	a.Counted, a.Settled, a.Recent = a.merged(), total, nil
	if !early {
		a.decay()
	}
	if a.Known != nil && (total < 2*a.KnownAt && demandMoved(a.Counted, a.Known) < noticed) {
		return true, false
	}
	if a.Known != nil && demandMoved(a.Counted, a.Known) < noticed/8 {
		a.KnownAt = total
		return true, false
	}
	a.Known, a.KnownAt = a.Counted, total
	return true, true
}

// merged is Counted with Recent.
func (a *Arrivals) merged() []Shape {
	recent, old := slices.Clone(a.Recent), a.Counted
	slices.SortStableFunc(recent, func(x, y *Shape) int {
		if x == y {
			return 0
		}
		return x.Compare(y)
	})
	counted := make([]Shape, 0, len(old)+len(recent)/8)
	for _, s := range recent {
		for len(old) > 0 && old[0].Compare(s) <= 0 {
			counted, old = append(counted, old[0]), old[1:]
		}
		if n := len(counted); n > 0 && counted[n-1].Compare(s) == 0 {
			c := &counted[n-1]
			c.Count += ArrivalUnit
			c.MemoryBytes += (s.MemoryBytes - c.MemoryBytes) / max(c.Count/ArrivalUnit, 1)
			continue
		}
		counted = append(counted, *s)
		counted[len(counted)-1].Count = ArrivalUnit
	}
	return append(counted, old...)
}

// decay forgets a little, and all but the most frequent shapes; of equals, those that
// ask for more. Counted is fresh.
func (a *Arrivals) decay() {
	for i := range a.Counted {
		a.Counted[i].Count -= (a.Counted[i].Count + 15) / 16
	}
	a.Counted = slices.DeleteFunc(a.Counted, func(s Shape) bool { return s.Count <= 0 })
	if len(a.Counted) <= MaxShapes {
		return
	}
	byCount := func(x, y Shape) int { return cmp.Or(cmp.Compare(y.Count, x.Count), x.Compare(&y)) }
	slices.SortFunc(a.Counted, byCount)
	a.Counted = slices.Clone(a.Counted[:MaxShapes])
	slices.SortFunc(a.Counted, func(x, y Shape) int { return x.Compare(&y) })
}

// demandMoved is the part of the GPU demand, in thousandths, by which two sorted
// lists differ.
func demandMoved(a, b []Shape) int64 {
	whole := func(list []Shape) int64 {
		sum := int64(0)
		for i := range list {
			sum += list[i].Count * list[i].Milli()
		}
		return max(sum, 1)
	}
	wholeA, wholeB := whole(a), whole(b)
	millionths := func(list []Shape, whole int64) int64 {
		return list[0].Count * list[0].Milli() / max(whole/1_000_000, 1)
	}
	moved := int64(0)
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(b) == 0:
			order = -1
		case len(a) == 0:
			order = 1
		default:
			order = a[0].Compare(&b[0])
		}
		partA, partB := int64(0), int64(0)
		if order <= 0 {
			partA, a = millionths(a, wholeA), a[1:]
		}
		if order >= 0 {
			partB, b = millionths(b, wholeB), b[1:]
		}
		moved += max(partA-partB, partB-partA)
	}
	return moved / 2000
}
