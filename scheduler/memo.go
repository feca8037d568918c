package scheduler

import (
	"encoding/binary"

	"github.com/rota-sched/rota"
)

// An opinion depends on the class and on the room on the node alone, and many nodes
// have the same room, now or a little later. So every room that a node has had gets
// a number, equal rooms the same one for as long as it is remembered, and each
// class keeps its opinions by number. All of it has a fixed size: what is forgotten
// is found out again.

// opinion is what a class thinks of some room.
type opinion struct {
	score  int32
	device int16 // for a share of a device: which
	fits   bool
}

// view is a node as far as rankings look at it: equal views, equal opinions.
type view struct {
	shape uint32 // a number for what Eligible looks at
	room  uint32 // see rooms; closed: nothing may be placed now
}

// free is what a node has to give, in short: most demands are seen not to fit by it
// alone, without a look at what a class remembers.
type free struct {
	cpu, mem, disk int64
	most           int64 // free of the device with the most, in thousandths
	whole          int   // devices wholly free
}

func freeOf(h *host) free {
	c := &h.node.Capacity
	f := free{cpu: c.CPUMilli - h.held.CPUMilli, mem: c.MemoryBytes - h.held.MemoryBytes, disk: c.DiskBytes - h.held.DiskBytes}
	for i := range c.GPUs {
		g := h.held.FreeMilli(i)
		f.most = max(f.most, g)
		if g >= rota.WholeGPU {
			f.whole++
		}
	}
	return f
}

// short reports whether a demand certainly does not fit.
func (f *free) short(r *rota.Resources) bool {
	return r.CPUMilli > f.cpu || r.MemoryBytes > f.mem || r.DiskBytes > f.disk ||
		r.GPU.ShareMilli > f.most || r.GPU.ShareMilli == 0 && r.GPU.Count > f.whole
}

// closed is the room of a node that may be given nothing.
const closed = 0

const (
	// maxRooms is how many rooms are remembered; a power of two.
	maxRooms = 1 << 14
	// maxKinds bounds the kinds of nodes that are remembered.
	maxKinds = 1 << 12
	// maxOpinions bounds the opinions of all classes together: 12 bytes each.
	maxOpinions = 8 << 20
	// minMemo and maxMemo bound those of one class; powers of two.
	minMemo, maxMemo = 1 << 8, 1 << 10
	// lastRoom is the number at which numbering begins anew; well before it ends, for
	// rooms are numbered between two looks at it.
	lastRoom = 1<<32 - 1<<24
	// maxScore is as far as a score counts.
	maxScore = 1<<31 - 1
	// memoGPUs is the most devices of a node whose rooms are remembered.
	memoGPUs = 16
)

// roomKey is the room on a node as far as a score depends on it.
type roomKey struct {
	kind           uint64
	cpu, mem, disk int64
	gpu            [memoGPUs]int16
}

// rooms gives numbers to rooms.
type rooms struct {
	keys    []roomKey // by hash
	numbers []uint32  // closed: none
	last    uint32
	kinds   map[string]uint64
	lastOf  uint64 // of kinds
	scratch []byte
}

// number is that of the room on a host.
func (r *rooms) number(h *host) uint32 {
	gpus := len(h.node.Capacity.GPUs)
	if gpus > memoGPUs {
		r.last++
		return r.last
	}
	k := roomKey{kind: h.kind, cpu: h.held.CPUMilli, mem: h.held.MemoryBytes, disk: h.held.DiskBytes}
	sum := k.kind*0x9e3779b97f4a7c15 ^ uint64(k.cpu)*0xbf58476d1ce4e5b9 ^ uint64(k.mem)*0x94d049bb133111eb ^ uint64(k.disk)
	for i := range gpus {
		k.gpu[i] = int16(h.held.FreeMilli(i))
		sum = (sum ^ uint64(k.gpu[i])) * 0x100000001b3
	}
	sum ^= sum >> 29
	sum *= 0xbf58476d1ce4e5b9
	at := sum >> 50 // 14 bits: maxRooms
	if r.keys == nil {
		r.keys, r.numbers = make([]roomKey, maxRooms), make([]uint32, maxRooms)
	}
	if r.numbers[at] == closed || r.keys[at] != k {
		r.last++
		r.keys[at], r.numbers[at] = k, r.last
	}
	return r.numbers[at]
}

// kind is a number for what the node has in all. Equal ones have the same number
// for as long as it is remembered.
func (r *rooms) kind(c *rota.Capacity) uint64 {
	b := binary.AppendVarint(r.scratch[:0], c.CPUMilli)
	b = binary.AppendVarint(b, c.MemoryBytes)
	b = binary.AppendVarint(b, c.DiskBytes)
	for i := range c.GPUs {
		g := &c.GPUs[i]
		b = binary.AppendUvarint(b, uint64(len(g.Model)))
		b = append(b, g.Model...)
		b = binary.AppendVarint(b, g.MemoryBytes)
	}
	r.scratch = b
	k, known := r.kinds[string(b)]
	if !known {
		if r.kinds == nil || len(r.kinds) >= maxKinds {
			r.kinds = map[string]uint64{}
		}
		r.lastOf++
		k = r.lastOf
		r.kinds[string(b)] = k
	}
	return k
}

// memo are the opinions of one class by the number of the room.
type memo struct {
	entries []memoEntry // by the low bits of the number; nil: none are kept
}

type memoEntry struct {
	room uint32
	opinion
}

func (m *memo) find(room uint32) (opinion, bool) {
	if len(m.entries) == 0 {
		return opinion{}, false
	}
	e := &m.entries[room&uint32(len(m.entries)-1)]
	return e.opinion, e.room == room
}

func (m *memo) keep(s *Scheduler, room uint32, o opinion) {
	want := minMemo
	for want < 2*len(s.hosts) && want < maxMemo {
		want *= 2
	}
	if len(m.entries) < want {
		if s.opinions+want-len(m.entries) > maxOpinions {
			if len(m.entries) == 0 {
				return
			}
		} else {
			s.opinions += want - len(m.entries)
			m.entries = make([]memoEntry, want)
		}
	}
	m.entries[room&uint32(len(m.entries)-1)] = memoEntry{room, o}
}

// drop forgets everything and gives the place back.
func (m *memo) drop(s *Scheduler) {
	s.opinions -= len(m.entries)
	m.entries = nil
}
