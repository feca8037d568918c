package node

import (
	"context"
	"fmt"
	"net"

	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/fsm"
)

// openServer makes the HTTP door.
func (n *Node) openServer() error {
	c := api.DefaultConfig()
	c.ID, c.Name, c.Version, c.MaxFormat, c.Logger = n.cluster.ID(), n.cfg.Name, n.cfg.Version, fsm.DefaultLimits().MaxFormat, n.cfg.Logger
	host, _, err := net.SplitHostPort(n.door.Addr().String())
	if err != nil {
		return fmt.Errorf("the HTTP door's address: %w", err)
	}
	ip := net.ParseIP(host)
	c.Loopback = ip != nil && ip.IsLoopback()
	if n.cfg.Advertise != "" {
		c.Hosts = []string{n.cfg.Advertise}
	}
	deps := api.Deps{
		State: clusterSide{n.cluster}, Duties: leaderSide{n.leader}, Calls: clusterCalls(n.cluster),
		Credentials: n.cluster.Credentials, Ready: n.ready, Doctor: n.doctor, Admin: adminSide{n.cluster},
	}
	if n.history != nil {
		deps.History = historySide{n.history}
	}
	if n.agent != nil {
		deps.Logs = logsSide{n.logs(), n.agent}
	}
	if n.server, err = api.New(c, deps); err != nil {
		return err
	}
	n.cluster.OnRestore(n.server.Restored)
	n.cluster.OnApply(n.server.Applied)
	return nil
}

// logsSide is what attempts wrote on this node.
type logsSide struct {
	agent.Logs
	*agent.Agent
}

func (n *Node) logs() agent.Logs { return agent.Logs{Layout: agent.Layout{Data: n.cfg.Data}} }

// ready says whether the node takes part in a cluster.
func (n *Node) ready() []api.Check {
	checks := []api.Check{{Name: "cluster", OK: true, Detail: "part of the cluster"}}
	if err := n.cluster.Ready(); err != nil {
		checks[0] = api.Check{Name: "cluster", Detail: err.Error()}
	}
	if n.agent != nil {
		st := n.agent.Status()
		check := api.Check{Name: "agent", OK: !st.Session.IsZero(), Detail: st.Phase}
		if st.Why != "" {
			check.Detail += ": " + st.Why
		}
		checks = append(checks, check)
	}
	return checks
}

// doctor looks at what tends to be wrong.
func (n *Node) doctor(ctx context.Context) []api.Check {
	checks := n.ready()
	if n.keeper == nil {
		return checks
	}
	c := n.keeper.Client()
	if c == nil {
		return append(checks, api.Check{Name: "keeper", Detail: "not connected: see the node's log and DATA/keeper"})
	}
	h, err := c.Hello(ctx)
	if err != nil {
		return append(checks, api.Check{Name: "keeper", Detail: fmt.Sprintf("does not answer: %v", err)})
	}
	detail := fmt.Sprintf("level %s", h.Containment.Level)
	for _, why := range h.Containment.Why {
		detail += "; " + why
	}
	return append(checks, api.Check{Name: "containment", OK: true, Detail: detail})
}
