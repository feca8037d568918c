package sim

import (
	"time"

	"github.com/rota-sched/rota"
)

// disk is what a server keeps when its process dies: Raft's term and vote, the end
// of its log, and the newest snapshot of the state.
type disk struct {
	term  uint64
	voted rota.NodeID

	log    []logEntry // the first has index base+1
	base   uint64     // the entry before it, which a snapshot covers
	before uint64     // that entry's term
	synced uint64     // up to here nothing is lost, whatever dies
	voters []voters   // as the log has them, the newest last; the first is as of base
	snap   *snapshot

	jobs     []job  // one after the other
	turn     uint64 // number of the present one
	slow     bool
	sluggish bool
	full     bool
	hung     moment // until when it does not come back from a call
	w        *World
}

// logEntry carries an operation, other voters, or nothing: a barrier.
type logEntry struct {
	term   uint64
	data   []byte     // fsm's encoding of an entry
	voters []*machine // a configuration
	// sent is S: when its leader proposed it, on that leader's clock.
	sent time.Duration
}

// voters are a configuration and the index of its entry; zero: the first one.
type voters struct {
	index uint64
	are   []*machine
}

// snapshot is a state on disk.
type snapshot struct {
	index, term uint64
	voters      voters
	data        []byte
}

func (d *disk) end() uint64 { return d.base + uint64(len(d.log)) }

func (d *disk) last() (index, term uint64) { return d.end(), d.termAt(d.end()) }

func (d *disk) has(index uint64) bool { return index > d.base && index <= d.end() }

// at is an entry that the log has.
func (d *disk) at(index uint64) *logEntry { return &d.log[index-d.base-1] }

func (d *disk) termAt(index uint64) uint64 {
	switch {
	case index == d.base:
		return d.before
	case d.has(index):
		return d.at(index).term
	}
	return 0
}

func (d *disk) append(e logEntry) {
	d.log = append(d.log, e)
	if e.voters != nil {
		d.voters = append(d.voters, voters{d.end(), e.voters})
	}
}

// cut drops the entry of the index and all after it.
func (d *disk) cut(index uint64) {
	if index > d.end() {
		return
	}
	d.log = append([]logEntry(nil), d.log[:index-d.base-1]...)
	d.synced = min(d.synced, d.end())
	for n := len(d.voters); n > 1 && d.voters[n-1].index >= index; n-- {
		d.voters = d.voters[:n-1]
	}
}

// compact drops what a snapshot covers, but for some entries.
func (d *disk) compact(trailing uint64) {
	to := min(d.snap.index, d.end())
	if to <= d.base+trailing {
		return
	}
	to -= trailing
	d.before = d.termAt(to)
	d.log = append([]logEntry(nil), d.log[to-d.base:]...)
	d.base = to
	for len(d.voters) > 1 && d.voters[1].index <= to {
		d.voters = d.voters[1:]
	}
}

// install puts a leader's snapshot in the place of what it covers.
func (d *disk) install(s *snapshot) {
	d.snap = s
	if d.termAt(s.index) == s.term && s.index <= d.end() {
		d.compact(0)
		return
	}
	d.log, d.base, d.before, d.synced = nil, s.index, s.term, s.index
	d.voters = []voters{s.voters}
}

// lose drops some of the newest entries that were not synced: never one that was.
func (d *disk) lose(w *World) {
	if n := d.end() - max(d.synced, d.base); n > 0 {
		if gone := uint64(w.rng.Int64N(int64(n) + 1)); gone > 0 { //nolint:gosec // a handful
			w.check.unsynced += int(gone) //nolint:gosec // a handful
			w.tell("the disk never had the last %d entries of the log", gone)
			d.cut(d.end() - gone + 1)
		}
	}
}

// votersAt is the configuration as of an entry.
func (d *disk) votersAt(index uint64) voters {
	v := d.voters[0]
	for _, o := range d.voters {
		if o.index <= index {
			v = o
		}
	}
	return v
}

// job is one call of the disk.
type job struct {
	takes time.Duration
	p     *program
	do    func()
}

// work has the disk do something; it does one thing after the other.
func (r *replica) work(f func()) {
	takes := r.w.between(200*time.Microsecond, 3*time.Millisecond)
	switch {
	case r.d.slow:
		takes = r.w.between(50*time.Millisecond, 900*time.Millisecond)
	case r.d.sluggish:
		takes = r.w.between(20*time.Millisecond, 120*time.Millisecond)
	}
	r.d.jobs = append(r.d.jobs, job{takes, r.p, f})
	if len(r.d.jobs) == 1 {
		r.d.begin()
	}
}

// begin starts the first job.
func (d *disk) begin() {
	if len(d.jobs) == 0 {
		return
	}
	d.turn++
	turn := d.turn
	d.w.after(time.Duration(max(d.hung-d.w.now, 0))+d.jobs[0].takes, func() {
		if d.turn == turn {
			j := d.jobs[0]
			d.jobs = d.jobs[1:]
			d.begin()
			j.p.do(j.do)
		}
	})
}

// hang lets no call come back until a moment; that may be sooner than was said
// before.
func (d *disk) hang(until moment) {
	d.hung = until
	d.begin()
}

// drop forgets what waits: its process is dead.
func (d *disk) drop() {
	d.turn++
	d.jobs = nil
}

// backlog is when the disk will be through with what waits.
func (d *disk) backlog() time.Duration {
	sum := time.Duration(max(d.hung-d.w.now, 0))
	for _, j := range d.jobs {
		sum += j.takes
	}
	return sum
}
