package sim

import (
	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// applyAll applies what is committed.
func (r *replica) applyAll() {
	for r.applied < r.commit && r.w.failed == nil {
		r.applied++
		e := r.d.at(r.applied)
		switch {
		case e.data != nil:
			r.apply(e)
		case e.voters != nil:
			r.committedVoters()
			if g := r.reign; g != nil {
				a := r.appliedEntry(&rota.Entry{Index: r.applied, Term: e.term}, nil)
				a.Configuration = true
				g.applied(a, nil)
			}
		case r.reign != nil && e.term == r.reign.term:
			g := r.reign
			g.begin()
			g.passed(r.applied)
		}
	}
	r.wake()
	r.sometimesSave()
}

func (r *replica) apply(e *logEntry) {
	entry, err := fsm.DecodeEntry(e.data)
	if err != nil {
		r.w.broken(same, "%s cannot read entry %d: %v", r.m.name, r.applied, err)
		return
	}
	entry.Index = r.applied
	if err := r.state.CanApply(&entry); err != nil {
		r.w.broken(same, "%s halts at entry %d: %v", r.m.name, r.applied, err)
		return
	}
	results, changes := r.state.Apply(entry)
	r.w.check.applied(r, &entry, e.data, results, changes)
	if r.reign != nil {
		r.reign.applied(r.appliedEntry(&entry, changes), results)
	}
}

func (r *replica) appliedEntry(e *rota.Entry, changes []rota.Change) rota.Applied {
	return rota.Applied{
		Index: e.Index, Term: e.Term, At: r.state.Now(), NextDue: r.state.NextDue(), Format: r.state.Format(), Changes: changes,
	}
}

// awaited is somebody who waits until an index is applied here.
type awaited struct {
	index uint64
	do    func()
}

// await calls do once the index is applied.
func (r *replica) await(index uint64, do func()) {
	r.waits = append(r.waits, awaited{index, do})
	r.wake()
}

func (r *replica) wake() {
	waits := r.waits
	r.waits = nil
	for _, a := range waits {
		if a.index <= r.applied {
			a.do()
		} else {
			r.waits = append(r.waits, a)
		}
	}
}
