package fsm

import (
	"encoding/binary"

	"github.com/rota-sched/rota"
)

// arrivals is what the state has learned of the demands that come.
type arrivals struct {
	rota.Arrivals
	counted Digest // of the counts; zero before the first turn
	recent  Digest // of the arrivals since
}

// arrived counts a task that is queued for the first time, once every replica does so.
// A task without GPU costs one look at its spec; one with GPU a hash of some 40 bytes,
// and one in 1,024 sorts those since the last such.
func (s *State) arrived(spec *rota.TaskSpec) {
	if s.meta.format < rota.FormatArrivals || !s.arrivals.Add(spec) {
		return
	}
	a := &s.arrivals
	turned, renewed := a.Turn()
	if !turned {
		s.w.buf = a.appendRecent(s.w.buf[:0], len(a.Recent)-1)
		d := hash(kindArrival, s.w.buf)
		a.recent, s.sum = a.recent.add(d), s.sum.add(d)
		return
	}
	s.sum = s.sum.sub(a.counted).sub(a.recent)
	s.w.buf = a.appendCounts(s.w.buf[:0])
	a.counted, a.recent = hash(kindArrivals, s.w.buf), Digest{}
	s.sum = s.sum.add(a.counted)
	if renewed {
		s.emit(rota.Change{Type: rota.ChangeKnown, Known: a.Known})
	}
}

// Known is what tasks typically ask for, learned from those that came; nil: nothing is
// known yet.
func (t *tables) Known() []rota.Shape { return t.arrivals.Known }

// appendRecent writes one of the arrivals since the last turn, with its place.
func (a *arrivals) appendRecent(b []byte, i int) []byte {
	return appendShape(appendInt(b, i), a.Recent[i])
}

// appendCounts writes what was counted at the last turn.
func (a *arrivals) appendCounts(b []byte) []byte {
	b = appendInt(appendInt(b, a.Settled), a.KnownAt)
	for _, list := range [...][]rota.Shape{a.Counted, a.Known} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for i := range list {
			b = appendInt(appendShape(b, &list[i]), list[i].Count)
		}
	}
	return b
}

func appendShape(b []byte, s *rota.Shape) []byte {
	b = appendResources(b, &rota.Resources{CPUMilli: s.CPUMilli, MemoryBytes: s.MemoryBytes, GPU: s.GPU})
	return appendConstraints(b, s.Devices)
}

const minShapeBytes = 6

func (r *reader) shape() rota.Shape {
	v := r.resources()
	if v.GPU.Count <= 0 || v.DiskBytes != 0 {
		r.fail("a shape without GPU")
	}
	return rota.Shape{CPUMilli: v.CPUMilli, MemoryBytes: v.MemoryBytes, GPU: v.GPU, Devices: r.constraints(), Count: 1}
}

// counts takes a list that Apply can have made: in order, and of no absurd size.
func (r *reader) counts() []rota.Shape {
	counts := list(r, minShapeBytes+1, func(r *reader) rota.Shape {
		s := r.shape()
		if s.Count = r.int64(); s.Count <= 0 || s.Count > maxCount {
			r.fail("a count of arrivals")
		}
		return s
	})
	for i := 1; i < len(counts); i++ {
		if counts[i-1].Compare(&counts[i]) >= 0 {
			r.fail("counts of arrivals out of order")
		}
	}
	return counts
}

// maxCount is more than a count can reach: it loses a sixteenth at each turn, in which
// it gains ArrivalsPerTurn x ArrivalUnit at most.
const maxCount = 17 * rota.ArrivalsPerTurn * rota.ArrivalUnit

// appendArrivals writes all of it, for snapshots.
func appendArrivals(b []byte, a *arrivals) []byte {
	b = a.appendCounts(b)
	b = binary.AppendUvarint(b, uint64(len(a.Recent)))
	for _, s := range a.Recent {
		b = appendShape(b, s)
	}
	return b
}

func (r *reader) arrivals() arrivals {
	a := arrivals{Arrivals: rota.Arrivals{Settled: r.int64(), KnownAt: r.int64(), Counted: r.counts(), Known: r.counts()}}
	a.Recent = list(r, minShapeBytes, func(r *reader) *rota.Shape {
		s := r.shape()
		return &s
	})
	if len(a.Recent) >= rota.ArrivalsPerTurn || a.Settled < 0 || a.KnownAt < 0 || a.KnownAt > a.Settled {
		r.fail("arrivals that cannot be")
	}
	return a
}

// rebuildArrivals hashes what was read.
func (s *State) rebuildArrivals() error {
	a := &s.arrivals
	if a.Total() == 0 {
		return nil
	}
	if s.meta.format < rota.FormatArrivals {
		return wrong("arrivals in a state of format %d", s.meta.format)
	}
	if a.Settled > 0 {
		a.counted = hash(kindArrivals, a.appendCounts(nil))
	}
	for i := range a.Recent {
		s.w.buf = a.appendRecent(s.w.buf[:0], i)
		a.recent = a.recent.add(hash(kindArrival, s.w.buf))
	}
	s.sum = s.sum.add(a.counted).add(a.recent)
	return nil
}
