package cluster

import (
	"fmt"

	"github.com/rota-sched/rota"
)

// verdict is what a comparison of the replicas' digests says of whether they agree.
type verdict struct {
	split string // they do not, and no majority does
	agree bool   // a majority has this replica's digest
}

// judgeSplit looks at the newest index at which digests can be compared. Where they
// differ and none is a majority's, nobody knows which replica is right.
func judgeSplit(mine []Check, replies []ProbeReply, voters int) verdict {
	for i := len(mine) - 1; i >= 0; i-- {
		own := mine[i]
		votes := map[string]int{own.Digest: 1}
		seen := 1
		for _, r := range replies {
			for _, other := range r.Checks {
				if other.Index == own.Index {
					votes[other.Digest]++
					seen++
				}
			}
		}
		most := 0
		for _, n := range votes {
			most = max(most, n)
		}
		switch {
		case seen == 1:
			continue
		case len(votes) > 1 && most < voters/2+1:
			return verdict{split: fmt.Sprintf("the states of %d replicas differ at entry %d (%d digests among %d voters), and no majority has the same: "+
				"no write is taken until a person has found the right one; keep the data directories, and see docs/OPERATIONS.md, \"Replicas that differ\"",
				seen, own.Index, len(votes), voters)}
		default:
			return verdict{agree: votes[own.Digest] >= voters/2+1}
		}
	}
	return verdict{}
}

// heedSplit stops all writes when replicas differ without a majority, and takes them
// again once a majority has this one's state: the one that was missing is back.
func (c *Cluster) heedSplit(v verdict) {
	re, _ := c.current()
	switch {
	case v.split != "":
		c.log.Error("the replicas differ, and nobody knows which is right: no write is taken", "reason", v.split)
		c.split.Store(&v.split)
		if re != nil {
			c.closeSplit(re)
		}
	case v.agree && c.split.Load() != nil:
		c.log.Info("a majority of the replicas agrees with this one: writes are taken again")
		c.split.Store(nil)
		if re != nil {
			re.end(errAgreed) // and begins anew, with a queue that is open
		}
	}
}

// closeSplit lets nothing into the log while replicas differ.
func (c *Cluster) closeSplit(re *reign) {
	if words := c.split.Load(); words != nil {
		re.queue.close(&rota.Refusal{Kind: rota.KindUnavailable, Detail: *words})
	}
}
