package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// doctorReport is what rota doctor found out: about the cluster as a whole, and
// what each node that could be asked says of itself.
type doctorReport struct {
	Healthy bool             `json:"healthy"`
	Cluster []api.Check      `json:"cluster"`
	Nodes   []api.DoctorView `json:"nodes"`
	Local   []api.Check      `json:"local,omitempty"` // this machine, where no node answers
}

const (
	doctorPatience = 4 * time.Second // for one node's answer
	doctorAtOnce   = 16              // nodes asked at the same time
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong: cluster, clocks, disks, containment", Args: noArguments,
		Long: `Ask every node what it found out about itself, and look at the cluster as a whole. The exit
code is 1 if something is wrong, 7 if no node answers.`,
		RunE: func(c *cobra.Command, _ []string) error {
			report, err := a.examine(c.Context())
			if showErr := a.show(view{
				data:  report,
				names: func() []string { return failing(report) },
				table: func() *table { return doctorTable(report) },
			}); showErr != nil {
				return showErr
			}
			switch {
			case err != nil:
				return err
			case !report.Healthy:
				return &quietExit{exitFailed}
			}
			return nil
		},
	}
}

// examine collects the findings; the error says that no node answers.
func (a *app) examine(ctx context.Context) (*doctorReport, error) {
	report := &doctorReport{Cluster: []api.Check{}, Nodes: []api.DoctorView{}}
	client, err := a.connect()
	if err != nil {
		return report, err
	}
	st, err := client.Status(ctx)
	if err != nil {
		if a.doors.Checks != nil {
			report.Local = a.doors.Checks(ctx)
		}
		report.Cluster = append(report.Cluster, api.Check{Name: "reachable", Detail: a.faultOf(err).Error()})
		return report, err
	}
	nodes, err := client.Nodes(ctx)
	if err != nil {
		return report, err
	}
	report.Cluster = clusterChecks(st, nodes)
	report.Nodes = a.askNodes(ctx, client, st, nodes)
	report.Healthy = len(failing(report)) == 0
	return report, nil
}

// clusterChecks judges what the status and the nodes say.
func clusterChecks(st *api.StatusView, nodes []api.NodeView) []api.Check {
	checks := []api.Check{{Name: "leader", OK: st.Leader != nil, Detail: "none is known: a majority of the servers must run and reach each other"}}
	if st.Leader != nil {
		checks[0].Detail = fmt.Sprintf("%s, term %d", *st.Leader, st.Term)
	}
	voters, reached := 0, 0
	var gone []string
	for _, s := range st.Servers {
		if s.State != "non_voter" {
			voters++
		}
		if s.State == "unreachable" {
			gone = append(gone, s.Name)
		} else if s.State != "non_voter" {
			reached++
		}
	}
	servers := api.Check{Name: "servers", OK: len(gone) == 0, Detail: fmt.Sprintf("%d of %d voters reachable", reached, voters)}
	if len(gone) > 0 {
		servers.Detail += ", not " + strings.Join(gone, ", ") + ": start them again with their data directory"
	}
	checks = append(checks, servers)
	if voters < 3 {
		checks = append(checks, api.Check{Name: "quorum", OK: true, Detail: fmt.Sprintf("%s: losing one stops the cluster; three servers survive that", count(voters, "voter"))})
	}
	states, versions := map[rota.NodeState][]string{}, map[string]int{}
	for _, n := range nodes {
		states[n.State] = append(states[n.State], n.Name)
		if n.State != rota.NodeLeft && n.State != rota.NodeDown {
			versions[n.Version]++
		}
	}
	bad := append(states[rota.NodeSuspect], states[rota.NodeDown]...)
	fleet := api.Check{Name: "nodes", OK: len(bad) == 0, Detail: fmt.Sprintf("%d ready", len(states[rota.NodeReady]))}
	if len(bad) > 0 {
		fleet.Detail += ", gone or in doubt: " + strings.Join(bad, ", ") + "; `rota node explain NAME` says more"
	}
	checks = append(checks, fleet)
	for _, n := range nodes {
		if n.Unfit != "" {
			checks = append(checks, api.Check{Name: "fit", Detail: n.Name + " starts nothing, and tries again by itself: " + n.Unfit})
		}
	}
	if len(versions) > 1 {
		checks = append(checks, api.Check{Name: "versions", OK: true, Detail: fmt.Sprintf("%d different versions run: fine while upgrading", len(versions))})
	}
	if st.IndexAgeMs > 5000 {
		checks = append(checks, api.Check{Name: "log", Detail: fmt.Sprintf("%s has heard nothing new for %s", st.Node, humanDuration(ms(st.IndexAgeMs)))})
	}
	return checks
}

// askNodes asks each living node for what it found out about itself.
func (a *app) askNodes(ctx context.Context, client *api.Client, st *api.StatusView, nodes []api.NodeView) []api.DoctorView {
	views := make([]*api.DoctorView, len(nodes))
	slots := make(chan struct{}, doctorAtOnce)
	var all sync.WaitGroup
	for i, n := range nodes {
		if n.State == rota.NodeDown || n.State == rota.NodeLeft {
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			views[i] = a.askNode(ctx, client, st.Node, n)
		})
	}
	all.Wait()
	found := []api.DoctorView{}
	for _, v := range views {
		if v != nil {
			found = append(found, *v)
		}
	}
	return found
}

func (a *app) askNode(ctx context.Context, client *api.Client, answering string, n api.NodeView) *api.DoctorView {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	var err error
	if n.Name != answering {
		client, err = a.clientFor([]string{n.Address})
	}
	if err == nil {
		var v *api.DoctorView
		if v, err = client.Doctor(ctx); err == nil {
			v.Node = n.Name
			return v
		}
	}
	var unreachable *api.UnreachableError
	detail := err.Error()
	if errors.As(err, &unreachable) || errors.Is(err, context.DeadlineExceeded) {
		detail = n.Address + " does not answer from here"
	}
	return &api.DoctorView{Node: n.Name, Checks: []api.Check{{Name: "reachable", Detail: detail}}}
}

// failing names what is wrong: cluster/leader, n1/disk.
func failing(r *doctorReport) []string {
	var names []string
	add := func(where string, checks []api.Check) {
		for _, c := range checks {
			if !c.OK {
				names = append(names, where+"/"+c.Name)
			}
		}
	}
	add("cluster", r.Cluster)
	for _, n := range r.Nodes {
		add(n.Node, n.Checks)
	}
	add("local", r.Local)
	return names
}

func doctorTable(r *doctorReport) *table {
	t := &table{columns: []column{{title: "WHERE"}, {title: "CHECK"}, {title: ""}, {title: "FOUND"}}}
	add := func(where string, checks []api.Check) {
		for _, c := range checks {
			mark := cell{text: "ok", ink: inkGreen}
			if !c.OK {
				mark = cell{text: "BAD", ink: inkRed}
			}
			t.rows = append(t.rows, []cell{{text: where}, {text: c.Name}, mark, {text: c.Detail}})
		}
	}
	add("cluster", r.Cluster)
	for _, n := range r.Nodes {
		add(n.Node, n.Checks)
	}
	add("this machine", r.Local)
	return t
}
