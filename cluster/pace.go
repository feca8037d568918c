package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

const (
	paceWindow = 2 * time.Second
	paceSlots  = 6 // of the window
	paceLook   = 500 * time.Millisecond

	slowStore    = 100 * time.Millisecond // below it nobody gives the lead away for its disk
	muchFaster   = 4                      // times
	handOverRest = time.Minute            // between two times that a node gives it away for that
)

// Pace is how long a server's stores of entries took lately, the one under way
// included.
type Pace struct {
	Stores   int           `json:"stores,omitempty"` // how many
	Shortest time.Duration `json:"shortest,omitempty"`
	Longest  time.Duration `json:"longest,omitempty"`
}

func (p *Pace) add(took time.Duration) {
	if p.Stores == 0 || took < p.Shortest {
		p.Shortest = took
	}
	p.Longest = max(p.Longest, took)
	p.Stores++
}

func (p *Pace) merge(o Pace) {
	if o.Stores == 0 {
		return
	}
	n := p.Stores + o.Stores
	p.add(o.Shortest)
	p.add(o.Longest)
	p.Stores = n
}

// paces measures the stores of the newest paceWindow. The zero value has seen none.
type paces struct {
	mu    sync.Mutex // guards what follows
	slots [paceSlots]struct {
		at   int64 // which slot of time it holds
		pace Pace
	}
	since time.Time // when the store under way began; zero: none is
}

func slotOf(now time.Time) int64 { return now.UnixNano() / int64(paceWindow/paceSlots) }

func (p *paces) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = now
}

func (p *paces) end(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slotOf(now)
	s := &p.slots[uint64(at)%paceSlots] //nolint:gosec // any slot will do for a clock before 1970
	if s.at != at {
		s.at, s.pace = at, Pace{}
	}
	s.pace.add(now.Sub(p.since))
	p.since = time.Time{}
}

func (p *paces) lately(now time.Time) Pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all Pace
	newest := slotOf(now)
	for _, s := range p.slots {
		if s.at > newest-paceSlots {
			all.merge(s.pace)
		}
	}
	if took := now.Sub(p.since); !p.since.IsZero() && took >= slowStore {
		all.add(took)
	}
	return all
}

// successor is the voter that is to lead in the place of one whose disk is slow: each
// store of the leader's took slowStore or more, and muchFaster times longer than any of
// that voter's. A single quick store, or a single slow one over there, and everything
// stays as it is.
func successor(own Pace, others map[rota.NodeID]Pace) (rota.NodeID, bool) {
	if own.Stores < 2 || own.Shortest < slowStore {
		return "", false
	}
	best := rota.NodeID("")
	for id, p := range others {
		if p.Stores == 0 || p.Longest*muchFaster > own.Shortest {
			continue
		}
		if b := others[best]; best == "" || p.Longest < b.Longest || p.Longest == b.Longest && id < best {
			best = id
		}
	}
	return best, best != ""
}

// heedPace gives the lead away while this node's disk is much slower than another
// voter's: a leader stores every entry before anybody else gets it, so that its disk is
// in the way of everything, and a follower's in the way of nothing.
func (c *Cluster) heedPace(re *reign) {
	for wait := paceWindow; sleep(re.ctx, wait); {
		wait = paceLook
		own := c.ledger.paces.lately(time.Now())
		if own.Shortest < slowStore || time.Since(c.handed) < handOverRest && !c.handed.IsZero() {
			continue
		}
		others, servers := c.pacesOfOthers(re.ctx)
		to, ok := successor(own, others)
		if !ok {
			continue
		}
		c.log.Warn("this node's disk is slow: it hands over the lead",
			"stores_took_at_least", own.Shortest.Round(time.Millisecond), "to", to, "whose_took_at_most", others[to].Longest.Round(time.Millisecond))
		if c.handTo(re, servers[to]) {
			c.handed = time.Now()
		}
	}
}

// handTo gives the lead to another voter and reports whether that went. The reign ends
// here as soon as Raft has let go: its own word comes after it has stored the new term,
// on the disk that is slow, and until then it does not say either who leads now.
func (c *Cluster) handTo(re *reign, to raft.Server) bool {
	r := c.rafting()
	_ = r.LeadershipTransferToServer(to.ID, to.Address) // its answer is as late as Raft's word
	for tries := paceWindow / lookAgain; tries > 0 && sleep(re.ctx, lookAgain); tries-- {
		if r.State() == raft.Leader {
			continue
		}
		if m, ok := c.gossiping().member(rota.NodeID(to.ID)); ok {
			c.hear(m.ID, m.HTTP)
			c.mu.Lock()
			c.hint.heir = true
			c.mu.Unlock()
		}
		re.end(errHanded)
	}
	return re.ctx.Err() != nil
}

// pacesOfOthers asks the other voters how long their stores took.
func (c *Cluster) pacesOfOthers(ctx context.Context) (map[rota.NodeID]Pace, map[rota.NodeID]raft.Server) {
	_, config := c.ledger.configuration()
	servers := map[rota.NodeID]raft.Server{}
	var addrs []string
	for _, s := range config.Servers {
		id := rota.NodeID(s.ID)
		if m, ok := c.gossiping().member(id); ok && s.Suffrage == raft.Voter && id != c.id && m.State == MemberAlive {
			servers[id] = s
			addrs = append(addrs, m.HTTP)
		}
	}
	others := map[rota.NodeID]Pace{}
	for _, p := range c.probeAll(ctx, addrs) {
		if _, votes := servers[p.reply.Node]; p.err == nil && votes {
			others[p.reply.Node] = p.reply.Pace
		}
	}
	return others, servers
}
