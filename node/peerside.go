package node

import (
	"context"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
)

// clusterPeers carries the cluster's calls over HTTP.
type clusterPeers struct{ p *api.Peers }

var _ cluster.Peers = clusterPeers{}

// Names of the cluster's calls on the wire.
const (
	callProbe   = "probe"
	callJoin    = "join"
	callAccept  = "accept"
	callForward = "forward"
)

// Probe implements cluster.Peers.
func (c clusterPeers) Probe(ctx context.Context, addr string) (cluster.ProbeReply, error) {
	return api.Ask[cluster.ProbeReply](ctx, c.p, addr, callProbe, struct{}{})
}

// Join implements cluster.Peers.
func (c clusterPeers) Join(ctx context.Context, addr string, req cluster.JoinRequest) (cluster.JoinReply, error) {
	return api.Ask[cluster.JoinReply](ctx, c.p, addr, callJoin, req)
}

// Accept implements cluster.Peers.
func (c clusterPeers) Accept(ctx context.Context, addr string, req cluster.AcceptRequest) (cluster.AcceptReply, error) {
	return api.Ask[cluster.AcceptReply](ctx, c.p, addr, callAccept, req)
}

// Forward implements cluster.Peers.
func (c clusterPeers) Forward(ctx context.Context, addr string, body []byte) ([]byte, error) {
	return c.p.Forward(ctx, addr, body)
}

// clusterCalls are the answering side of clusterPeers. What a node asks before it
// has the cluster's key is open to anyone who reaches the port.
func clusterCalls(c *cluster.Cluster) map[string]api.Call {
	return map[string]api.Call{
		callProbe:   api.Answer(true, func(ctx context.Context, _ struct{}) (cluster.ProbeReply, error) { return c.HandleProbe(ctx) }),
		callJoin:    api.Answer(true, c.HandleJoin),
		callAccept:  api.Answer(true, c.HandleAccept),
		callForward: {Handle: c.HandleForward},
	}
}

// agentPeers is api's client as the agent wants it.
type agentPeers struct{ *api.Peers }

var _ agent.Peers = agentPeers{}

// Stream implements agent.Peers.
func (a agentPeers) Stream(ctx context.Context, s rota.Session, incarnation uint16, index uint64) (agent.ViewStream, error) {
	v, err := a.Peers.Stream(ctx, s, incarnation, index)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// targets are the HTTP addresses of the servers to ask, the leader first.
func targets(c *cluster.Cluster) []string {
	var out []string
	add := func(addr string) {
		for _, have := range out {
			if have == addr {
				return
			}
		}
		if addr != "" {
			out = append(out, addr)
		}
	}
	if _, addr, ok := c.Leader(); ok {
		add(addr)
	}
	for _, s := range c.Servers() {
		add(s.HTTP)
	}
	for _, m := range c.Members() {
		if m.Server() && m.State == cluster.MemberAlive {
			add(m.HTTP)
		}
	}
	return out
}
