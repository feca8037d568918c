package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
)

const (
	tendEvery  = 250 * time.Millisecond
	goodProbes = 2 // in a row, before a follower may vote

	reachedLately = 5 * time.Second
)

// roster is what the leader knows when it decides on the log's servers.
type roster struct {
	self    rota.NodeID
	voters  int // how many are wanted
	replace time.Duration
	now     time.Time
	servers []raft.Server
	members map[rota.NodeID]Member
	reached map[rota.NodeID]bool      // Raft has heard of it just now, whatever gossip says
	good    map[rota.NodeID]int       // probes in a row that found a follower caught up
	silent  map[rota.NodeID]time.Time // since when a server does not answer
	asked   map[rota.NodeID]bool      // of those not in the log: whether one may come in
}

// change is one step of the log's configuration.
type change struct {
	kind   string // add, vote, move, demote, remove
	server raft.Server
	why    string
}

func (r *roster) voting(s raft.Server) bool { return s.Suffrage == raft.Voter }

// alive reports whether gossip or Raft hears of a server: one of the two may be cut
// alone.
func (r *roster) alive(s raft.Server) bool {
	id := rota.NodeID(s.ID)
	if r.replaced(id) {
		return false
	}
	return id == r.self || r.members[id].State == MemberAlive || r.reached[id]
}

// replaced reports whether a server has put its log aside and is back under another
// ID: this one never comes back.
func (r *roster) replaced(id rota.NodeID) bool {
	if id == r.self {
		return false
	}
	for _, m := range r.members {
		if m.Replaces == id {
			return true
		}
	}
	return false
}

// gone reports whether a server has been silent for so long that it is given up, or
// never comes back.
func (r *roster) gone(s raft.Server) bool {
	if r.replaced(rota.NodeID(s.ID)) {
		return true
	}
	since, ok := r.silent[rota.NodeID(s.ID)]
	return ok && r.now.Sub(since) >= r.replace
}

func (r *roster) count(f func(raft.Server) bool) int {
	n := 0
	for _, s := range r.servers {
		if f(s) {
			n++
		}
	}
	return n
}

// next is the one step that is due, if any. None takes a majority of voters that
// are alive away: a vote is only given to a server that is alive, and only taken
// from one that is not, after another has it.
func (r *roster) next() (change, bool) {
	for _, step := range []func() (change, bool){r.vacate, r.move, r.demote, r.promote, r.bury, r.admit} {
		if c, ok := step(); ok {
			return c, true
		}
	}
	return change{}, false
}

// vacate takes its address from a server that another has followed there: a log's
// configuration has no address twice. If it is back somewhere else, move follows it.
func (r *roster) vacate() (change, bool) {
	for _, s := range r.servers {
		id := rota.NodeID(s.ID)
		if id == r.self || (r.members[id].State == MemberAlive && !r.replaced(id)) {
			continue
		}
		for _, m := range r.members {
			if m.ID != id && m.State == MemberAlive && r.asked[m.ID] && m.Raft == string(s.Address) {
				s.Address = raft.ServerAddress("nowhere/" + string(s.ID))
				return change{"move", s, "another server is at its address"}, true
			}
		}
	}
	return change{}, false
}

// move follows a server that came back under another address.
func (r *roster) move() (change, bool) {
	for _, s := range r.servers {
		m := r.members[rota.NodeID(s.ID)]
		if m.State == MemberAlive && !r.replaced(m.ID) && m.Raft != "" && m.Raft != string(s.Address) {
			s.Address = raft.ServerAddress(m.Raft)
			return change{"move", s, "it has a new address"}, true
		}
	}
	return change{}, false
}

// promote lets a follower vote: while there are fewer voters than wanted, or in
// the place of one that is gone.
func (r *roster) promote() (change, bool) {
	voters := r.count(r.voting)
	lost := r.count(func(s raft.Server) bool { return r.voting(s) && r.gone(s) })
	if voters-lost >= r.voters || voters > r.voters {
		return change{}, false
	}
	for _, s := range r.servers {
		if !r.voting(s) && r.alive(s) && r.good[rota.NodeID(s.ID)] >= goodProbes {
			why := "there are fewer voters than wanted"
			if lost > 0 {
				why = "a voter has been silent for too long"
			}
			return change{"vote", s, why}, true
		}
	}
	return change{}, false
}

// demote takes the vote of a server that is gone, once another has it.
func (r *roster) demote() (change, bool) {
	if r.count(r.voting) <= r.voters {
		return change{}, false
	}
	for _, s := range r.servers {
		if r.voting(s) && !r.alive(s) && r.gone(s) && rota.NodeID(s.ID) != r.self {
			return change{"demote", s, "it has been silent for too long and another votes in its place"}, true
		}
	}
	return change{}, false
}

// bury takes a follower that never comes back out of the configuration.
func (r *roster) bury() (change, bool) {
	for _, s := range r.servers {
		if !r.voting(s) && r.replaced(rota.NodeID(s.ID)) {
			return change{"remove", s, "it put its log aside and is back under another ID"}, true
		}
	}
	return change{}, false
}

// named reports whether a server of the log that is alive has the name of another.
func (r *roster) named(m Member) bool {
	return slices.ContainsFunc(r.servers, func(s raft.Server) bool {
		id := rota.NodeID(s.ID)
		return id != m.ID && r.members[id].Name == m.Name && r.alive(s)
	})
}

// admit takes a server that gossip brought into the configuration, as a follower;
// where all places are taken, that of a follower that is gone. One that was removed
// stays out, and so does the second one of a name.
func (r *roster) admit() (change, bool) {
	var ids []rota.NodeID
	for id := range r.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		m := r.members[id]
		known := slices.ContainsFunc(r.servers, func(s raft.Server) bool { return s.ID == raft.ServerID(id) })
		if known || m.State != MemberAlive || !m.Server() || m.Raft == "" || !r.asked[id] || r.named(m) {
			continue
		}
		if len(r.servers) < MaxReplicas {
			return change{"add", raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(m.Raft)}, "it joined"}, true
		}
		for _, s := range r.servers {
			if !r.voting(s) && !r.alive(s) && r.gone(s) {
				return change{"remove", s, "it has been silent for too long and others want its place"}, true
			}
		}
	}
	return change{}, false
}

// tendMembers keeps the log's configuration in step with who is there, while this
// node leads.
func (c *Cluster) tendMembers(re *reign) {
	good := map[rota.NodeID]int{}
	silent := map[rota.NodeID]time.Time{}
	news := make(chan struct{}, 1)
	defer c.OnMember(func(Member) {
		select {
		case news <- struct{}{}:
		default:
		}
	})()
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		ros := c.rosterNow(good, silent)
		c.probeFollowers(re.ctx, ros)
		c.probeStrangers(re.ctx, ros)
		if step, ok := ros.next(); ok && re.ctx.Err() == nil {
			c.step(step)
		}
		select {
		case <-re.ctx.Done():
			return
		case <-news:
		case <-tick.C:
		}
	}
}

func (c *Cluster) rosterNow(good map[rota.NodeID]int, silent map[rota.NodeID]time.Time) *roster {
	_, config := c.ledger.configuration()
	r := &roster{
		self: c.id, voters: c.ident.membership().Voters, replace: c.cfg.Timeouts.Replace, now: time.Now(),
		servers: config.Servers, members: map[rota.NodeID]Member{}, reached: map[rota.NodeID]bool{}, asked: map[rota.NodeID]bool{}, good: good, silent: silent,
	}
	for _, m := range c.Members() {
		r.members[m.ID] = m
	}
	for _, s := range r.servers {
		id := rota.NodeID(s.ID)
		if since := c.contact.since(id); since >= 0 && since < reachedLately {
			r.reached[id] = true
		}
		if r.alive(s) {
			delete(silent, id)
		} else if _, ok := silent[id]; !ok && silent != nil {
			silent[id] = r.now
		}
	}
	return r
}

// probeFollowers asks followers that might be let vote how far they are.
func (c *Cluster) probeFollowers(ctx context.Context, r *roster) {
	voters := r.count(func(s raft.Server) bool { return r.voting(s) && !r.gone(s) })
	if voters >= r.voters {
		clear(r.good)
		return
	}
	var addrs []string
	ids := map[string]rota.NodeID{}
	for _, s := range r.servers {
		if m := r.members[rota.NodeID(s.ID)]; !r.voting(s) && m.State == MemberAlive {
			addrs = append(addrs, m.HTTP)
			ids[m.HTTP] = m.ID
		}
	}
	if len(addrs) == 0 {
		return
	}
	committed := c.rafting().CommitIndex()
	for _, p := range c.probeAll(ctx, addrs) {
		id := ids[p.addr]
		if p.err == nil && p.reply.Node == id && p.reply.Stored >= committed {
			r.good[id]++
		} else {
			delete(r.good, id)
		}
	}
}

// probeStrangers asks servers that the log does not have whether it ever had them.
func (c *Cluster) probeStrangers(ctx context.Context, r *roster) {
	var addrs []string
	for _, m := range r.members {
		known := slices.ContainsFunc(r.servers, func(s raft.Server) bool { return s.ID == raft.ServerID(m.ID) })
		if !known && m.State == MemberAlive && m.Server() {
			addrs = append(addrs, m.HTTP)
		}
	}
	if len(addrs) == 0 {
		return
	}
	for _, p := range c.probeAll(ctx, addrs) {
		if p.err == nil && !p.reply.Member {
			r.asked[p.reply.Node] = true
		}
	}
}

// step changes the configuration, if nobody else did so meanwhile.
func (c *Cluster) step(s change) {
	r := c.rafting()
	index, _ := c.ledger.configuration()
	timeout := c.cfg.Timeouts.Raft
	id, addr := s.server.ID, s.server.Address
	var f raft.IndexFuture
	switch s.kind {
	case "vote":
		f = r.AddVoter(id, addr, index, timeout)
	case "move":
		if s.server.Suffrage == raft.Voter {
			f = r.AddVoter(id, addr, index, timeout)
		} else {
			f = r.AddNonvoter(id, addr, index, timeout)
		}
	case "add":
		f = r.AddNonvoter(id, addr, index, timeout)
	case "demote":
		f = r.DemoteVoter(id, index, timeout)
	default:
		f = r.RemoveServer(id, index, timeout)
	}
	if err := f.Error(); err != nil {
		c.log.Warn("could not change the log's servers; trying on", "change", s.kind, "server", id, "error", err)
		return
	}
	c.log.Info("changed the log's servers", "change", s.kind, "server", id, "address", addr, "reason", s.why)
}

// startInstant is where the cluster's own time goes on when this node begins to
// lead: where the log stopped, plus what has passed here since that entry was
// applied. Only a cluster that was stopped as a whole lags behind by more than its
// servers can account for: its first leader, which has not heard of another since it
// was started, goes on at the time that the median of a majority of the voters' wall
// clocks shows.
func (c *Cluster) startInstant(ctx context.Context) rota.Instant {
	at, passed := c.replica.freshness()
	wall := rota.InstantOf(c.cfg.Seams.Wall())
	if at == 0 {
		return wall
	}
	at = at.Add(passed)
	if wall.Sub(at) <= wholeStop || c.contact.heardAny() || c.ledger.followed() {
		return at
	}
	_, config := c.ledger.configuration()
	var addrs []string
	voters := 0
	for _, s := range config.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if m, ok := c.gossiping().member(rota.NodeID(s.ID)); ok && m.ID != c.id && m.State == MemberAlive {
			addrs = append(addrs, m.HTTP)
		}
	}
	walls := []rota.Instant{wall}
	for _, p := range c.probeAll(ctx, addrs) {
		if p.err == nil {
			walls = append(walls, rota.InstantOf(p.reply.Wall))
		}
	}
	if len(walls) < voters/2+1 {
		return at
	}
	slices.Sort(walls)
	median := walls[(len(walls)-1)/2]
	if median.Sub(at) <= wholeStop {
		return at
	}
	c.log.Info("the cluster's time goes on at the servers' wall clocks", "stood_for", median.Sub(at).Round(time.Second))
	return median
}

// wholeStop is the lag behind wall time that only a stop of the whole cluster
// explains.
const wholeStop = time.Minute
