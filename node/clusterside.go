package node

import (
	"context"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/fsm"
)

// clusterSide is the replicated state as the HTTP door wants it.
type clusterSide struct{ c *cluster.Cluster }

var _ api.State = clusterSide{}

// Propose implements api.State.
func (s clusterSide) Propose(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	return s.c.Propose(ctx, cmd)
}

// ProposeMany implements api.State.
func (s clusterSide) ProposeMany(ctx context.Context, cmds []rota.Command) ([]rota.Result, []error) {
	return s.c.ProposeMany(ctx, cmds)
}

// Snapshot implements api.State.
func (s clusterSide) Snapshot() *fsm.Snapshot { return s.c.Snapshot() }

// Barrier implements api.State.
func (s clusterSide) Barrier(ctx context.Context) (uint64, error) { return s.c.Barrier(ctx) }

// Await implements api.State.
func (s clusterSide) Await(ctx context.Context, index uint64) error { return s.c.Await(ctx, index) }

// Leader implements api.State.
func (s clusterSide) Leader() (rota.NodeID, string, bool) { return s.c.Leader() }

// Contact implements api.State.
func (s clusterSide) Contact() rota.Contact { return s.c.Contact() }

// Servers implements api.State.
func (s clusterSide) Servers() []api.Replica {
	servers := s.c.Servers()
	if len(servers) == 0 {
		return s.membersOnly()
	}
	out := make([]api.Replica, len(servers))
	for i, r := range servers {
		out[i] = api.Replica{
			ID: r.ID, Name: r.Name, Address: r.HTTP, Leader: r.Leader, Voter: r.Voter, Reachable: r.Alive, LastContact: r.Contact,
		}
	}
	return out
}

// membersOnly gives the servers that gossip knows, where the node holds no part of the
// log: it can then still pass requests on when no leader is known.
func (s clusterSide) membersOnly() []api.Replica {
	leader, _, _ := s.c.Leader()
	var out []api.Replica
	for _, m := range s.c.Members() {
		if m.Server() {
			out = append(out, api.Replica{
				ID: m.ID, Name: m.Name, Address: m.HTTP, Leader: m.ID == leader, Reachable: m.State == cluster.MemberAlive, LastContact: -1,
			})
		}
	}
	return out
}

// Position implements api.State.
func (s clusterSide) Position() api.Position {
	st := s.c.Status()
	p := api.Position{Term: st.Term, Index: st.Index, Age: st.Age, LastContact: st.LastContact}
	if st.Leader == "" && !st.Replica {
		p.LastContact = -1 * time.Nanosecond
	}
	return p
}
