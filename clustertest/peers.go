package clustertest

import (
	"context"
	"io"

	"github.com/rota-sched/rota/cluster"
)

// peers is a node's HTTP client: calls go straight to the other node's handlers,
// if the network lets the request and then the answer through.
type peers struct {
	c    *Cluster
	from int
}

func call[T any](ctx context.Context, p peers, to string, f func(*cluster.Cluster) (T, error)) (T, error) {
	var none T
	owner, ok := p.c.Net.ownerOf(to)
	if !ok {
		return none, errRefused
	}
	if err := p.c.Net.pass(ctx, p.from, owner); err != nil {
		return none, err
	}
	node := p.c.door(owner, to)
	if node == nil {
		return none, errRefused
	}
	v, err := f(node)
	if cutErr := p.c.Net.pass(ctx, owner, p.from); cutErr != nil {
		return none, cutErr
	}
	if p.c.door(owner, to) != node {
		return none, io.ErrUnexpectedEOF // its process died before it could answer
	}
	return v, err
}

func (p peers) Probe(ctx context.Context, to string) (cluster.ProbeReply, error) {
	r, err := call(ctx, p, to, func(c *cluster.Cluster) (cluster.ProbeReply, error) { return c.HandleProbe(ctx) })
	if mis, all := p.c.misled(p.from), p.c.quarrels(); mis || all {
		word := "not "
		if all {
			word = string(r.Node)
		}
		checks := make([]cluster.Check, len(r.Checks))
		for i, k := range r.Checks {
			checks[i] = cluster.Check{Index: k.Index, Digest: word + k.Digest}
		}
		r.Checks = checks
	}
	return r, err
}

func (p peers) Join(ctx context.Context, to string, req cluster.JoinRequest) (cluster.JoinReply, error) {
	return call(ctx, p, to, func(c *cluster.Cluster) (cluster.JoinReply, error) { return c.HandleJoin(ctx, req) })
}

func (p peers) Accept(ctx context.Context, to string, req cluster.AcceptRequest) (cluster.AcceptReply, error) {
	return call(ctx, p, to, func(c *cluster.Cluster) (cluster.AcceptReply, error) { return c.HandleAccept(ctx, req) })
}

func (p peers) Forward(ctx context.Context, to string, body []byte) ([]byte, error) {
	return call(ctx, p, to, func(c *cluster.Cluster) ([]byte, error) { return c.HandleForward(ctx, body) })
}
