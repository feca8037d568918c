package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

const (
	probeTimeout = 2 * time.Second
	maxKnown     = 32              // addresses followed from node to node
	warnEvery    = 3 * time.Second // while nobody answers
	slowestRound = time.Second
)

// founding is what a node without a cluster has promised, and whom it has met.
type founding struct {
	mu      sync.Mutex // guards what follows
	given   AcceptRequest
	until   time.Time // the promise holds
	founded bool      // this node founds one itself
	known   map[string]struct{}
}

// seen is one round of asking around.
type seen struct {
	replies  map[rota.NodeID]ProbeReply // without this node's
	silent   []string                   // addresses that did not answer
	strange  map[string]error
	answered int
}

// discover makes the node part of a cluster: it joins one that it finds, or founds
// one with as many others as it expects. It tries until ctx ends, and then gives no error.
func (c *Cluster) discover(ctx context.Context) error {
	if c.cfg.BootstrapExpect == 0 && len(c.cfg.Join) == 0 {
		return &rota.Refusal{Kind: rota.KindInvalid, Detail: "this node has no data and belongs to no cluster: " +
			"found one with --bootstrap-expect N (1 starts alone), or join one with --join HOST[:PORT]"}
	}
	wait := c.cfg.Timeouts.RetryJoin
	warned := time.Now()
	for {
		s := c.askAround(ctx)
		c.introduce(ctx, s)
		mem, err := c.settleDown(ctx, s)
		if err != nil {
			return err
		}
		if mem != nil {
			return c.ident.change(func(m *membership) { *m = *mem })
		}
		words := c.waitingFor(s)
		c.setNotReady(words)
		if time.Since(warned) >= warnEvery {
			warned = time.Now()
			c.log.Warn("this node does not belong to a cluster yet; trying on", "reason", words)
		}
		if !sleep(ctx, wait) {
			return nil
		}
		wait = min(wait+wait/4, slowestRound)
	}
}

// introduce makes this node known to those that wait as it does and have not met it: they
// may be the ones that have to find it.
func (c *Cluster) introduce(ctx context.Context, s seen) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, r := range sorted(s.replies) {
		if r.ClusterID != "" || slices.Contains(r.Known, c.cfg.HTTPAdvertise) {
			continue
		}
		all.Go(func() {
			_, err := c.peers.Join(ctx, r.HTTP, JoinRequest{Node: c.id, Name: c.cfg.Name, Server: c.cfg.server(), HTTP: c.cfg.HTTPAdvertise})
			c.log.Trace("told a node of this one", "node", r.Name, "answer", err) // it belongs to no cluster, and says so
		})
	}
	all.Wait()
}

// settleDown joins or founds, if what was seen allows it. Nil: not yet.
func (c *Cluster) settleDown(ctx context.Context, s seen) (*membership, error) {
	for _, r := range sorted(s.replies) {
		if r.ClusterID == "" {
			continue
		}
		reply, err := c.peers.Join(ctx, r.HTTP, JoinRequest{Node: c.id, Name: c.cfg.Name, Server: c.cfg.server(), HTTP: c.cfg.HTTPAdvertise})
		if kind := rota.KindOf(err); kind == rota.KindConflict || kind == rota.KindInvalid || kind == rota.KindUnauthorized {
			return nil, fmt.Errorf("join the cluster of node %s (%s): %w", r.Name, r.HTTP, err)
		}
		if err != nil {
			c.log.Debug("a node did not let this one join; trying on", "node", r.Name, "address", r.HTTP, "error", err)
			continue
		}
		c.log.Info("joined a cluster", "cluster", reply.ClusterID, "through", r.Name)
		return &membership{ClusterID: reply.ClusterID, Key: reply.Key, Voters: reply.Voters, Gossip: reply.Gossip}, nil
	}
	if !c.mayFound(s) {
		return nil, nil
	}
	return c.propose(ctx, s), nil
}

// mayFound reports whether this node is the one to propose a new cluster: exactly
// as many servers as all of them expect were met, none belongs to a cluster, and
// this one alone has a snapshot to found it from, or none has and its ID is the lowest.
func (c *Cluster) mayFound(s seen) bool {
	n := c.cfg.BootstrapExpect
	if n == 0 || (n == 1 && len(s.silent) > 0) {
		return false
	}
	count := 1
	mine := c.restores()
	names := map[string]bool{c.cfg.Name: true}
	for _, r := range s.replies {
		if !r.Server || r.Expect == 0 {
			continue
		}
		if r.Expect != n || r.HasData || r.Restores || (r.Node < c.id && !mine) || names[r.Name] {
			return false
		}
		names[r.Name] = true
		count++
	}
	return count == n
}

// restores reports whether this node has a backup to found a cluster from.
func (c *Cluster) restores() bool {
	if c.cfg.DataDir == "" || !c.cfg.server() {
		return false
	}
	_, err := os.Stat(filepath.Join(c.cfg.DataDir, restoreFile))
	return err == nil
}

// propose asks all founders to accept one list, and founds the cluster if all do.
// Nil: not this time.
func (c *Cluster) propose(ctx context.Context, s seen) *membership {
	req := AcceptRequest{ClusterID: c.cfg.Seams.NewID(), Servers: []Founder{{Node: c.id, Raft: c.raftAt}}, Proposer: c.id}
	var gossip []string
	for _, r := range sorted(s.replies) {
		if r.Server && r.Expect > 0 {
			req.Servers = append(req.Servers, Founder{Node: r.Node, Raft: r.Raft})
			gossip = append(gossip, r.Gossip)
		}
	}
	slices.SortFunc(req.Servers, func(a, b Founder) int { return compareIDs(a.Node, b.Node) })
	if !c.founder.promise(req, c.cfg.Timeouts.Accept) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Accept/2)
	defer cancel()
	for _, r := range sorted(s.replies) {
		if !r.Server || r.Expect == 0 {
			continue
		}
		reply, err := c.peers.Accept(ctx, r.HTTP, req)
		if err == nil && !reply.Accepted {
			err = errors.New(reply.Reason)
		}
		if err != nil {
			c.log.Debug("a server did not accept to found the cluster along", "node", r.Name, "error", err)
			return nil
		}
	}
	if !c.founder.found(req) {
		return nil
	}
	c.log.Info("founded a cluster", "cluster", req.ClusterID, "servers", len(req.Servers))
	return &membership{
		ClusterID: req.ClusterID, Key: c.cfg.Seams.NewKey(), Voters: max(DefaultVoters, c.cfg.BootstrapExpect),
		Founders: req.Servers, Gossip: gossip, Restores: c.restores(),
	}
}

// promise gives this node's word to found a cluster with a list of servers. It is
// given to one list at a time.
func (f *founding) promise(req AcceptRequest, keep time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.founded || (time.Now().Before(f.until) && f.given.proposer() != req.proposer()) {
		return false
	}
	f.given, f.until = req, time.Now().Add(keep)
	return true
}

// proposer is who asks. (The release before this one left it out: there it was the
// lowest ID.)
func (r *AcceptRequest) proposer() rota.NodeID {
	if r.Proposer == "" {
		return r.Servers[0].Node
	}
	return r.Proposer
}

// found turns the own promise into a deed; false: it was given away meanwhile.
func (f *founding) found(req AcceptRequest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.founded || f.given.ClusterID != req.ClusterID || time.Now().After(f.until) {
		return false
	}
	f.founded = true
	return true
}

// askAround probes every address that the node knows, and those that the answers
// name.
func (c *Cluster) askAround(ctx context.Context) seen {
	s := seen{replies: map[rota.NodeID]ProbeReply{}, strange: map[string]error{}}
	todo := append(slices.Clone(c.cfg.Join), c.founder.met()...)
	asked := map[string]bool{}
	for len(todo) > 0 && len(asked) < maxKnown {
		round := todo
		todo = nil
		for _, r := range c.probeAll(ctx, round) {
			asked[r.addr] = true
			switch {
			case r.err != nil:
				s.silent = append(s.silent, r.addr)
				s.strange[r.addr] = r.err
			case r.reply.Node != c.id:
				s.replies[r.reply.Node] = r.reply
				c.founder.meet(r.reply.HTTP)
				todo = append(todo, r.reply.Known...)
			}
		}
		todo = append(todo, c.founder.met()...)
		slices.Sort(todo)
		todo = slices.DeleteFunc(slices.Compact(todo), func(a string) bool { return asked[a] || a == c.cfg.HTTPAdvertise })
	}
	s.answered = len(s.replies)
	s.silent = slices.DeleteFunc(s.silent, func(a string) bool { return !slices.Contains(c.cfg.Join, a) })
	slices.Sort(s.silent)
	return s
}

type probed struct {
	addr  string
	reply ProbeReply
	err   error
}

// probeAll asks several addresses at once; the answers come in the order of the
// addresses.
func (c *Cluster) probeAll(ctx context.Context, addrs []string) []probed {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out := make([]probed, len(addrs))
	var all sync.WaitGroup
	for i, addr := range addrs {
		all.Go(func() {
			reply, err := c.peers.Probe(ctx, addr)
			out[i] = probed{addr, reply, err}
		})
	}
	all.Wait()
	return out
}

// meet remembers the address of a node that called or answered.
func (f *founding) meet(http string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[string]struct{}{}
	}
	if http != "" && len(f.known) < maxKnown {
		f.known[http] = struct{}{}
	}
}

func (f *founding) met() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]string, 0, len(f.known))
	for a := range f.known {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// waitingFor says what the node waits for.
func (c *Cluster) waitingFor(s seen) string {
	var parts []string
	if n := c.cfg.BootstrapExpect; n > 0 {
		met := 1
		for _, r := range s.replies {
			if r.Server && r.Expect > 0 {
				met++
				if r.Name == c.cfg.Name {
					parts = append(parts, fmt.Sprintf("another server, at %s, is named %s, too: give each a --name of its own", r.HTTP, r.Name))
				}
				if r.Restores && c.restores() {
					parts = append(parts, fmt.Sprintf("node %s has a snapshot to found the cluster from, and so has this one: keep one of the two", r.Name))
				}
				if r.Expect != n {
					parts = append(parts, fmt.Sprintf("node %s was started with --bootstrap-expect %d, this one with %d: give all the same", r.Name, r.Expect, n))
				}
			}
		}
		if met > n {
			parts = append(parts, fmt.Sprintf("%d servers were started to found a cluster of %d: start the others without --bootstrap-expect", met, n))
		} else {
			parts = append(parts, fmt.Sprintf("%d of %d servers have found each other", met, n))
		}
	} else if s.answered > 0 {
		parts = append(parts, "no node that answered belongs to a cluster yet")
	}
	if len(s.silent) > 0 {
		parts = append(parts, fmt.Sprintf("no answer from %s (%v)", strings.Join(s.silent, ", "), s.strange[s.silent[0]]))
	}
	return strings.Join(parts, "; ")
}

func sorted(m map[rota.NodeID]ProbeReply) []ProbeReply {
	all := make([]ProbeReply, 0, len(m))
	for _, r := range m {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b ProbeReply) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return all
}

// meet asks the nodes it was told to join, although it has data, whether they
// belong to the same cluster. One that does not is an error.
func (c *Cluster) meet(ctx context.Context, strange chan<- error) {
	mem := c.ident.membership()
	for {
		s := c.askAround(ctx)
		for _, r := range sorted(s.replies) {
			if r.ClusterID != "" && r.ClusterID != mem.ClusterID {
				strange <- &rota.Refusal{Kind: rota.KindConflict, Detail: fmt.Sprintf(
					"data directory %s belongs to cluster %s, but node %s at %s to cluster %s: start with an empty --data to join that one, or without --join to go on with this one",
					c.cfg.DataDir, mem.ClusterID, r.Name, r.HTTP, r.ClusterID)}
				return
			}
			if g := c.gossiping(); g != nil && r.ClusterID == mem.ClusterID {
				g.join([]string{r.Gossip})
				return
			}
		}
		if !sleep(ctx, warnEvery) {
			return
		}
	}
}
