package sim

import "slices"

// changeVoters replaces the configuration by one that differs in one voter, if
// this server leads and the last change is committed.
func (r *replica) changeVoters(are []*machine) {
	if r.role != leads || !r.reign.began || r.config().index > r.commit {
		return
	}
	names := make([]string, len(are))
	for i, m := range are {
		names[i] = m.name
	}
	r.w.tell("FAULT %s changes the voters to %v", r.m.name, names)
	r.store(logEntry{term: r.d.term, voters: are, sent: r.m.bootClock()})
}

// addVoter and dropVoter are the steps of such a change.
func (r *replica) addVoter(m *machine) {
	if !r.voter(m) && r.match[m]+maxSent > r.d.end() { // it has caught up
		r.changeVoters(append(slices.Clone(r.config().are), m))
	}
}

func (r *replica) dropVoter(m *machine) {
	are := slices.DeleteFunc(slices.Clone(r.config().are), func(o *machine) bool { return o == m })
	if len(are) >= 2 && len(are) < len(r.config().are) {
		r.changeVoters(are)
	}
}

// committedVoters: a configuration is in force; a leader that is none of its
// voters goes.
func (r *replica) committedVoters() {
	if r.role == leads {
		r.w.check.voters++
	}
	if r.role == leads && !r.voter(r.m) {
		r.w.tell("%s is no voter any more", r.m.name)
		r.follow(r.d.term, nil)
	}
}

// transfer hands the lead to another voter that has the whole log.
func (r *replica) transfer() {
	if r.role != leads {
		return
	}
	for _, m := range r.config().are {
		if m != r.m && r.match[m] == r.d.end() {
			term := r.d.term
			r.w.tell("FAULT %s hands the lead to %s", r.m.name, m.name)
			r.to(m, func(o *replica) {
				if o.d.term == term && o.role == follower {
					o.stand(true)
				}
			})
			return
		}
	}
}
