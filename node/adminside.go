package node

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
)

// adminSide is the care of the log's servers as the HTTP door wants it.
type adminSide struct{ c *cluster.Cluster }

var _ api.Admin = adminSide{}

// Servers implements api.Admin.
func (a adminSide) Servers() []api.ServerDetail {
	servers := a.c.Servers()
	out := make([]api.ServerDetail, 0, len(servers))
	known := map[rota.NodeID]bool{}
	for _, s := range servers {
		out = append(out, detail(s))
		known[s.ID] = true
	}
	for _, m := range a.c.Members() {
		if known[m.ID] || !m.Server() || m.State != cluster.MemberAlive {
			continue
		}
		d := api.ServerDetail{ID: m.ID, Name: m.Name, Address: m.HTTP, Raft: m.Raft, State: "joining", Replaces: m.Replaces}
		if m.Replaces != "" {
			d.State = "quarantined"
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(x, y api.ServerDetail) int { return strings.Compare(x.Name, y.Name) })
	return out
}

func detail(s cluster.ServerState) api.ServerDetail {
	d := api.ServerDetail{ID: s.ID, Name: s.Name, Address: s.HTTP, Raft: s.Raft, State: "follower", Voter: s.Voter, Replaces: s.Replaces}
	if s.Contact >= 0 {
		ms := s.Contact.Milliseconds()
		d.LastContactMs = &ms
	}
	switch {
	case s.Leader:
		d.State = "leader"
	case !s.Alive && (s.Contact < 0 || s.Contact > 5*time.Second):
		d.State = "unreachable"
	case !s.Voter:
		d.State = "non_voter"
	}
	return d
}

// Remove implements api.Admin.
func (a adminSide) Remove(ctx context.Context, server string) (api.ServerDetail, error) {
	s, err := a.c.RemoveServer(ctx, server)
	return detail(s), err
}

// Transfer implements api.Admin.
func (a adminSide) Transfer(ctx context.Context, server string) error {
	_, err := a.c.Transfer(ctx, server)
	return err
}

// Backup implements api.Admin.
func (a adminSide) Backup(ctx context.Context, w io.Writer, stale bool) error {
	return a.c.WriteBackup(ctx, w, stale)
}
