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
// scheduler rate everything anew.
type Arrivals struct {
	Total   int64   // arrivals counted, ever
	Counted []Shape // sorted by Shape.Compare; Count in units of 1/ArrivalUnit, decaying
	// Known is Counted as it was when KnownAt arrivals had been counted; nil: nothing
	// is known yet. It is replaced whole, never changed.
	Known   []Shape
	KnownAt int64
}

// How arrivals are counted. (Source: docs/PLACEMENT.md, "Learned and given".)
const (
	// ArrivalUnit is what one arrival adds to a count.
	ArrivalUnit = 16
	// ArrivalsPerTurn is how many arrivals lie between two looks at the counts; the
	// counts then lose a sixteenth, so half of what is known is from the last 11 turns.
	ArrivalsPerTurn = 1024
	// MaxShapes bounds the shapes that outlive a turn; the most frequent do.
	MaxShapes = 256
	// firstTurn is when Known begins; until ArrivalsPerTurn it doubles.
	firstTurn = 64
	// noticed is the part of all GPU demand, in thousandths, that must have moved from
	// some shapes to others before Known is replaced.
	noticed = 125
)

// Add counts one arrival and reports whether Known was replaced.
func (a *Arrivals) Add(spec *TaskSpec) bool {
	s := ShapeOf(spec).Rounded()
	at, found := slices.BinarySearchFunc(a.Counted, s, func(x, y Shape) int { return x.Compare(&y) })
	if found {
		c := &a.Counted[at]
		c.Count += ArrivalUnit
		c.MemoryBytes += (s.MemoryBytes - c.MemoryBytes) / max(c.Count/ArrivalUnit, 1)
	} else {
		s.Count = ArrivalUnit
		a.Counted = slices.Insert(a.Counted, at, s)
	}
	a.Total++
	early := a.Total < ArrivalsPerTurn && a.Total >= firstTurn && a.Total >= 2*a.KnownAt
	if !early && a.Total%ArrivalsPerTurn != 0 {
		return false
	}
	return a.turn(early)
}

// turn forgets a little, and replaces Known if it is out of date.
func (a *Arrivals) turn(early bool) bool {
	if !early {
		for i := range a.Counted {
			a.Counted[i].Count -= (a.Counted[i].Count + 15) / 16
		}
		a.Counted = slices.DeleteFunc(a.Counted, func(s Shape) bool { return s.Count <= 0 })
		a.bound()
	}
	if a.Total < 2*a.KnownAt && demandMoved(a.Counted, a.Known) < noticed {
		return false
	}
	if a.Known != nil && demandMoved(a.Counted, a.Known) < noticed/8 {
		a.KnownAt = a.Total
		return false
	}
	a.Known, a.KnownAt = slices.Clone(a.Counted), a.Total
	return true
}

// bound keeps the most frequent shapes; of equals, those that ask for less.
func (a *Arrivals) bound() {
	if len(a.Counted) <= MaxShapes {
		return
	}
	byCount := func(x, y Shape) int { return cmp.Or(cmp.Compare(y.Count, x.Count), x.Compare(&y)) }
	slices.SortFunc(a.Counted, byCount)
	clear(a.Counted[MaxShapes:])
	a.Counted = a.Counted[:MaxShapes]
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
