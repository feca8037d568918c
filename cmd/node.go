package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (a *app) nodeCommand() *cobra.Command {
	return family("node", "Machines of the cluster",
		&cobra.Command{
			Use: "list", Aliases: []string{"ls"}, Short: "List the nodes", Args: noArguments,
			RunE: func(c *cobra.Command, _ []string) error { return a.nodeList(c.Context()) },
		},
		&cobra.Command{
			Use: "show NODE", Short: "One node with what runs on it", Args: exactly("a node"),
			RunE: func(c *cobra.Command, args []string) error { return a.nodeShow(c.Context(), args[0]) },
		},
		a.drainCommand("drain", "Give the node nothing new; what runs there goes on", true),
		a.drainCommand("undrain", "Let the node take tasks again", false),
		&cobra.Command{
			Use: "explain NODE", Short: "What the node does, and why it gets nothing new", Args: exactly("a node"),
			RunE: func(c *cobra.Command, args []string) error { return a.nodeExplain(c.Context(), args[0]) },
		},
	)
}

func (a *app) nodeList(ctx context.Context) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	nodes, err := client.Nodes(ctx)
	if err != nil {
		return err
	}
	return a.show(view{
		data: nodes,
		names: func() []string {
			names := make([]string, len(nodes))
			for i, n := range nodes {
				names[i] = n.Name
			}
			return names
		},
		table: func() *table { return nodeTable(nodes) },
		empty: "no nodes",
	})
}

func nodeTable(nodes []api.NodeView) *table {
	t := &table{columns: []column{
		{title: "NODE"},
		{title: "STATE"},
		{title: "ROLES"},
		{title: "RUNNING", right: true},
		{title: "CPU", right: true},
		{title: "MEMORY", right: true},
		{title: "GPU"},
		{title: "ADDRESS"},
		{title: "POOL", wide: true},
		{title: "LABELS", wide: true},
		{title: "CAPABILITIES", wide: true},
		{title: "CONTAINMENT", wide: true},
		{title: "VERSION", wide: true},
		{title: "ID", wide: true},
		{title: "STARTS NOTHING", wide: !slices.ContainsFunc(nodes, func(n api.NodeView) bool { return n.Unfit != "" })},
	}}
	for _, n := range nodes {
		t.rows = append(t.rows, []cell{
			{text: n.Name},
			{text: string(n.State), ink: inkOfNode(n.State)},
			{text: join(n.Roles, ",")},
			{text: fmt.Sprintf("%d/%d", n.Running, n.Slots)},
			{text: humanCores(n.Used.CPUMilli) + "/" + humanCores(n.Resources.CPUMilli)},
			{text: humanBytes(n.Used.MemoryBytes) + "/" + humanBytes(n.Resources.MemoryBytes)},
			{text: gpuSummary(n.Resources.GPUs)},
			{text: n.Address},
			{text: dash(n.Pool)},
			{text: dash(labelText(n.Labels))},
			{text: dash(strings.Join(n.Capabilities, ","))},
			{text: dash(n.Containment)},
			{text: dash(n.Version)},
			{text: string(n.ID)},
			{text: dash(n.Unfit)},
		})
	}
	return t
}

// gpuSummary counts the devices by model and what is free: 6/8 H100.
func gpuSummary(gpus []api.GPUView) string {
	if len(gpus) == 0 {
		return "-"
	}
	var models []string
	total, free := map[string]int{}, map[string]int64{}
	for _, g := range gpus {
		if total[g.Model] == 0 {
			models = append(models, g.Model)
		}
		total[g.Model]++
		free[g.Model] += g.FreeMilli
	}
	parts := make([]string, len(models))
	for i, m := range models {
		used := int64(total[m])*rota.WholeGPU - free[m]
		parts[i] = fmt.Sprintf("%s/%d %s", humanCores(used), total[m], m)
	}
	return strings.Join(parts, ", ")
}

func (a *app) nodeShow(ctx context.Context, name string) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	n, err := client.Node(ctx, name)
	if err != nil {
		return err
	}
	return a.show(view{
		data:  n,
		names: func() []string { return []string{n.Name} },
		text:  func(bool) error { return a.writeNode(n) },
	})
}

func (a *app) writeNode(n *api.NodeView) error {
	f := newFields(a.out)
	f.add("node", "%s", n.Name)
	f.paint("state", inkOfNode(n.State), string(n.State))
	if n.Unfit != "" {
		f.add("starts nothing", "%s", visible(n.Unfit))
	}
	f.add("id", "%s", n.ID)
	f.add("roles", "%s", join(n.Roles, ", "))
	f.add("address", "%s", n.Address)
	f.add("pool", "%s", n.Pool)
	f.add("labels", "%s", labelText(n.Labels))
	f.add("drivers", "%s", join(n.Drivers, ", "))
	f.add("capabilities", "%s", strings.Join(n.Capabilities, ", "))
	f.add("system", "%s/%s, kernel %s", n.OS, n.Arch, dash(n.Kernel))
	f.add("containment", "%s", n.Containment)
	f.add("version", "%s", n.Version)
	f.add("cpu", "%s of %s cores held", humanCores(n.Used.CPUMilli), humanCores(n.Resources.CPUMilli))
	f.add("memory", "%s of %s held", humanBytes(n.Used.MemoryBytes), humanBytes(n.Resources.MemoryBytes))
	f.add("disk", "%s of %s held", humanBytes(n.Used.DiskBytes), humanBytes(n.Resources.DiskBytes))
	f.add("slots", "%d of %d held", n.Running, n.Slots)
	if n.RegisteredAt != 0 {
		f.add("registered", "%s", humanAge(n.RegisteredAt, a.now()))
	}
	if err := f.write(); err != nil {
		return err
	}
	if len(n.Resources.GPUs) > 0 {
		t := &table{columns: []column{{title: "GPU"}, {title: "MODEL"}, {title: "MEMORY", right: true}, {title: "HELD", right: true}}}
		for _, g := range n.Resources.GPUs {
			t.rows = append(t.rows, plain(g.ID, g.Model, humanBytes(g.MemoryBytes), humanCores(rota.WholeGPU-g.FreeMilli)))
		}
		if err := a.section(t); err != nil {
			return err
		}
	}
	if len(n.Attempts) == 0 {
		return nil
	}
	t := &table{columns: []column{{title: "RUNS HERE"}, {title: "CPU", right: true}, {title: "MEMORY", right: true}, {title: "GPU"}}}
	for _, h := range n.Attempts {
		t.rows = append(t.rows, plain(h.Task, humanCores(h.Resources.CPUMilli), humanBytes(h.Resources.MemoryBytes), dash(grantText(h.GPUs))))
	}
	return a.section(t)
}

// section writes a table after an empty line.
func (a *app) section(t *table) error {
	if _, err := io.WriteString(a.out, "\n"); err != nil {
		return err
	}
	return t.write(a.out, false)
}

func grantText(grants []rota.GPUGrant) string {
	parts := make([]string, len(grants))
	for i, g := range grants {
		parts[i] = g.ID
		if g.Milli != rota.WholeGPU {
			parts[i] += " (" + humanCores(g.Milli) + ")"
		}
	}
	return strings.Join(parts, ", ")
}

func (a *app) drainCommand(use, short string, drain bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " NODE", Short: short, Args: exactly("a node"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			change := client.Undrain
			if drain {
				change = client.Drain
			}
			n, err := change(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.structured() {
				return a.show(view{data: n, names: func() []string { return []string{n.Name} }})
			}
			if drain {
				a.note("%s is draining: nothing new is placed there, %s still on it", n.Name, count(int(n.Running), "attempt"))
				a.hint("watch it with `rota node show %s`; take it back with `rota node undrain %s`", n.Name, n.Name)
				return nil
			}
			a.note("%s takes tasks again", n.Name)
			return nil
		},
	}
}

func (a *app) nodeExplain(ctx context.Context, name string) error {
	client, err := a.connect()
	if err != nil {
		return err
	}
	e, err := client.ExplainNode(ctx, name)
	if err != nil {
		return err
	}
	return a.show(view{
		data:  e,
		names: func() []string { return []string{e.Node.Name} },
		text: func(bool) error {
			var b strings.Builder
			fmt.Fprintf(&b, "%s is %s\n", visible(e.Node.Name), a.out.paint(inkOfNode(e.Node.State), string(e.Node.State)))
			if e.Reason != nil {
				fmt.Fprintf(&b, "it gets nothing new: %s\n", visible(e.Reason.Text))
			}
			for _, line := range e.Lines {
				fmt.Fprintf(&b, "  %s\n", visible(line))
			}
			if _, err := io.WriteString(a.out, b.String()); err != nil || len(e.Queued) == 0 {
				return err
			}
			t := &table{columns: []column{{title: "WAITING TASK"}, {title: "PLACE", right: true}, {title: "WHY NOT HERE"}}}
			for _, q := range e.Queued {
				why := ""
				if q.Reason != nil {
					why = q.Reason.Text
				}
				t.rows = append(t.rows, plain(string(q.Run)+"/"+string(q.Key), fmt.Sprint(q.Place), dash(why)))
			}
			return a.section(t)
		},
	})
}

func join[T ~string](words []T, separator string) string {
	parts := make([]string, len(words))
	for i, w := range words {
		parts[i] = string(w)
	}
	return strings.Join(parts, separator)
}

func labelText(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ",")
}
