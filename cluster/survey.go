package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

const (
	surveyEvery = 10 * time.Second
	checkEvery  = 1024            // entries between two digests kept
	checksKept  = 16              // on each replica, in memory
	clockLimit  = 5 * time.Second // a leader's wall clock may be off the others' median
)

// survey compares this server with the other voters, outside the log: their states
// at equal indexes, and their wall clocks. (Source: RELIABILITY.md, section 3;
// DESIGN.md, section 4, "Determinism".)
func (c *Cluster) survey(ctx context.Context) {
	for sleep(ctx, surveyEvery) {
		_, config := c.ledger.configuration()
		g := c.gossiping()
		var addrs []string
		voters := 0
		for _, s := range config.Servers {
			if s.Suffrage != raft.Voter {
				continue
			}
			voters++
			if m, ok := g.member(rota.NodeID(s.ID)); ok && m.ID != c.id && m.State == MemberAlive {
				addrs = append(addrs, m.HTTP)
			}
		}
		var replies []ProbeReply
		for _, p := range c.probeAll(ctx, addrs) {
			if p.err == nil {
				replies = append(replies, p.reply)
			}
		}
		if ctx.Err() != nil {
			return
		}
		checks := c.replica.checked()
		if err := judgeState(checks, replies, voters); err != nil {
			c.fail(err)
			return
		}
		c.heedSplit(judgeSplit(checks, replies, voters))
		c.judgeClock(ctx, replies, voters)
	}
}

// judgeState compares digests at equal indexes: a replica whose state differs from
// the one that a majority of the voters has must stop, whoever leads.
func judgeState(mine []Check, replies []ProbeReply, voters int) error {
	for _, own := range mine {
		votes := map[string]int{}
		for _, r := range replies {
			for _, other := range r.Checks {
				if other.Index == own.Index {
					votes[other.Digest]++
				}
			}
		}
		for digest, n := range votes {
			if digest != own.Digest && n >= voters/2+1 {
				return fmt.Errorf("%w: at entry %d this replica's state has digest %s, that of %d of %d voters %s: "+
					"its next start puts its log aside, for whoever looks into it, and joins again as a new server",
					ErrDamaged, own.Index, own.Digest, n, voters, digest)
			}
		}
	}
	return nil
}

// judgeClock warns of a wall clock that is off the others' median, and hands over
// the lead: cron and people go by the leader's.
func (c *Cluster) judgeClock(ctx context.Context, replies []ProbeReply, voters int) {
	now := c.cfg.Seams.Wall()
	offs := []time.Duration{0}
	for _, r := range replies {
		offs = append(offs, now.Sub(r.Wall))
	}
	if len(offs) < voters/2+1 || len(offs) < 3 {
		return
	}
	slices.Sort(offs)
	off := offs[len(offs)/2] // of this clock to the median one
	if off.Abs() <= clockLimit {
		return
	}
	c.log.Error("this node's clock differs from the others'; set it right", "by", off.Round(time.Millisecond))
	if re, _ := c.current(); re != nil {
		if err := c.TransferLeadership(ctx); err != nil {
			c.log.Warn("could not hand over the lead", "error", err)
		}
	}
}
