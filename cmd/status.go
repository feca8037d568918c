package cmd

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Who leads, servers, nodes, tasks by status", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			st, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			return a.show(view{
				data:  st,
				names: func() []string { return []string{st.ClusterID} },
				text:  func(wide bool) error { return a.writeStatus(st, wide) },
			})
		},
	}
}

func (a *app) writeStatus(st *api.StatusView, wide bool) error {
	var b strings.Builder
	field := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%s  %s\n", a.out.paint(inkBold, fmt.Sprintf("%-8s", name)), fmt.Sprintf(format, args...))
	}
	leader := a.out.paint(inkRed, "none: no writes, no new placements until one is elected")
	if st.Leader != nil {
		leader = fmt.Sprintf("%s, term %d", visible(*st.Leader), st.Term)
	}
	field("cluster", "%s", visible(dash(st.ClusterID)))
	field("leader", "%s", leader)
	contact := ""
	if st.LastContactMs != nil && (st.Leader == nil || *st.Leader != st.Node) {
		contact = ", leader heard " + humanDuration(ms(*st.LastContactMs)) + " ago"
	}
	field("index", "%d, seen by %s %s ago%s", st.Index, visible(dash(st.Node)), humanDuration(ms(st.IndexAgeMs)), contact)
	field("nodes", "%s", a.nodeCounts(st.Nodes))
	field("tasks", "%s", a.taskCounts(st.Tasks))
	field("spend", "%s", st.CostMicros)
	if wide {
		field("version", "%s", visible(dash(st.Version)))
	}
	b.WriteString("\n")
	if _, err := io.WriteString(a.out, b.String()); err != nil {
		return err
	}
	t := &table{columns: []column{
		{title: "SERVER"}, {title: "STATE"}, {title: "CONTACT", right: true}, {title: "ADDRESS"}, {title: "ID", wide: true},
	}}
	for _, s := range st.Servers {
		seen := "-"
		if s.LastContactMs != nil && s.State != "leader" {
			seen = humanDuration(ms(*s.LastContactMs))
		}
		state := cell{text: s.State}
		switch s.State {
		case "leader":
			state.ink = inkGreen
		case "unreachable":
			state.ink = inkRed
		}
		t.rows = append(t.rows, []cell{{text: s.Name}, state, {text: seen}, {text: dash(s.Address)}, {text: string(s.ID)}})
	}
	return t.write(a.out, wide)
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (a *app) nodeCounts(n api.NodeCounts) string {
	parts := []string{strconv.Itoa(n.Ready) + " ready"}
	for _, c := range []struct {
		n     int
		state rota.NodeState
	}{{n.Draining, rota.NodeDraining}, {n.Suspect, rota.NodeSuspect}, {n.Unfit, rota.NodeUnfit}, {n.Down, rota.NodeDown}} {
		if c.n > 0 {
			parts = append(parts, a.out.paint(inkOfNode(c.state), fmt.Sprintf("%d %s", c.n, c.state)))
		}
	}
	return strings.Join(parts, ", ")
}

// taskCounts lists the statuses that have tasks, in life-cycle order.
func (a *app) taskCounts(counts map[string]int) string { return paintCounts(a.out, counts) }

func paintCounts(to screen, counts map[string]int) string {
	var parts []string
	for _, s := range rota.Statuses {
		if n := counts[s.String()]; n > 0 {
			parts = append(parts, to.paint(inkOfTask(s), fmt.Sprintf("%d %s", n, s)))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
