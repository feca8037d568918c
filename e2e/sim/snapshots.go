package sim

import (
	"bytes"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// save writes a snapshot while the log goes on, and then drops what it covers. A
// process that dies meanwhile leaves the older one.
func (r *replica) save(took time.Duration) {
	if r.saving || r.d.full || r.applied == 0 || r.d.snap != nil && r.applied <= r.d.snap.index {
		return
	}
	r.saving = true
	state := r.state.Snapshot()
	s := &snapshot{index: r.applied, term: r.d.termAt(r.applied), voters: r.d.votersAt(r.applied)}
	digest := r.state.Digest()
	r.p.later(took, func() {
		r.saving = false
		if r.d.full || r.d.snap != nil && r.d.snap.index >= s.index {
			return
		}
		var b bytes.Buffer
		if err := state.Encode(&b); err != nil {
			r.w.broken(same, "%s cannot save its state: %v", r.m.name, err)
			return
		}
		s.data = b.Bytes()
		r.w.check.saved(r, s, digest)
		r.d.snap = s
		r.d.compact(uint64(r.w.rng.IntN(2) * r.w.rng.IntN(64))) //nolint:gosec // small
	})
}

// sometimes saves by itself, as the log grows.
func (r *replica) sometimesSave() {
	from := uint64(0)
	if r.d.snap != nil {
		from = r.d.snap.index
	}
	if r.applied >= from+r.w.saveEvery {
		r.save(r.w.between(time.Millisecond, 400*time.Millisecond))
	}
}

// restore begins with a snapshot.
func (r *replica) restore(s *snapshot) {
	state, err := fsm.RestoreWith(bytes.NewReader(s.data), r.m.limits())
	if err != nil {
		r.w.broken(same, "%s cannot restore its state: %v", r.m.name, err)
		return
	}
	r.state, r.applied, r.commit = state, s.index, max(r.commit, s.index)
	r.w.check.restored(r)
}

// sendSnapshot sends a follower that lags the state instead of the log.
func (r *replica) sendSnapshot(m *machine) {
	if r.d.snap == nil || r.w.now < r.install[m] {
		return
	}
	d := r.w.between(5*time.Millisecond, 400*time.Millisecond)
	r.install[m] = r.w.now.add(3 * time.Second)
	s, term := r.d.snap, r.d.term
	r.p.later(d, func() { r.to(m, func(o *replica) { o.gotSnapshot(r.m, term, s) }) })
}

func (r *replica) gotSnapshot(from *machine, term uint64, s *snapshot) {
	if !r.heedLeader(from, term) || r.d.full {
		return
	}
	r.heardOf(from, term)
	r.work(func() {
		if r.d.term != term {
			return
		}
		if s.index > r.commit {
			r.w.check.installs++
			r.w.tell("%s installs a snapshot of entry %d in place of %d", r.m.name, s.index, r.applied)
			r.d.install(s)
			r.restore(s)
			r.wake()
		}
		r.to(from, func(o *replica) {
			o.acknowledged(r.m, term, s.index, true)
			o.install[r.m] = 0
		})
	})
}

// contactNow is what a server answers to a poll.
func (r *replica) contactNow() rota.Contact {
	v := r.config()
	c := rota.Contact{Server: r.m.id, Voter: r.voter(r.m), ConfigIndex: v.index, Age: r.m.bootClock() - r.contact}
	for _, s := range v.are {
		c.Voters = append(c.Voters, s.id)
	}
	return c
}
