package sim

import (
	"bytes"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// applyAll applies what is committed.
func (r *replica) applyAll() {
	for r.applied < r.commit && r.w.failed == nil {
		r.applied++
		e := r.d.log[r.applied-1]
		if e.data == nil {
			if r.reign != nil && e.term == r.reign.term {
				r.reign.begin()
			}
			continue
		}
		r.apply(e)
	}
}

func (r *replica) apply(e logEntry) {
	entry, err := fsm.DecodeEntry(e.data)
	if err != nil {
		r.w.broken("%s cannot read entry %d: %v", r.m.name, r.applied, err)
		return
	}
	entry.Index = r.applied
	if err := r.state.CanApply(&entry); err != nil {
		r.w.broken("%s halts at entry %d: %v", r.m.name, r.applied, err)
		return
	}
	results, changes := r.state.Apply(entry)
	r.w.check.applied(r, &entry, e.data, changes)
	if r.reign != nil {
		r.reign.applied(r.appliedEntry(&entry, changes), results)
	}
}

func (r *replica) appliedEntry(e *rota.Entry, changes []rota.Change) rota.Applied {
	return rota.Applied{
		Index: e.Index, Term: e.Term, At: r.state.Now(), NextDue: r.state.NextDue(), Format: r.state.Format(), Changes: changes,
	}
}

// save writes the state down; the next life of the server begins with it.
func (r *replica) save() {
	var b bytes.Buffer
	if err := r.state.Snapshot().Encode(&b); err != nil {
		r.w.broken("%s cannot save its state: %v", r.m.name, err)
		return
	}
	r.d.saved, r.d.savedIndex = b.Bytes(), r.applied
}

func (r *replica) restore() {
	state, err := fsm.Restore(bytes.NewReader(r.d.saved))
	if err != nil {
		r.w.broken("%s cannot restore its state: %v", r.m.name, err)
		return
	}
	r.state, r.applied, r.commit = state, r.d.savedIndex, r.d.savedIndex
	r.w.check.restored(r)
}

// contactNow is what a voter answers to a poll.
func (r *replica) contactNow() rota.Contact {
	c := rota.Contact{Server: r.m.id, Voter: true, ConfigIndex: 1, Age: r.m.bootClock() - r.contact}
	for _, s := range r.w.servers {
		c.Voters = append(c.Voters, s.id)
	}
	return c
}
