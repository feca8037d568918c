package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (a *app) runsGraph() *cobra.Command {
	var dot bool
	c := &cobra.Command{
		Use: "graph RUN", Short: "Which task comes after which", Args: exactly("a run"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			g, err := client.RunGraph(c.Context(), args[0])
			if err != nil {
				return err
			}
			if dot {
				_, err := a.out.Write([]byte(dotGraph(g)))
				return err
			}
			return a.show(view{
				data: g,
				names: func() []string {
					keys := make([]string, len(g.Nodes))
					for i, n := range g.Nodes {
						keys[i] = string(n.Key)
					}
					return keys
				},
				table: func() *table { return graphTable(g) },
			})
		},
	}
	c.Flags().BoolVar(&dot, "dot", false, "in Graphviz's language: rota runs graph RUN --dot | dot -Tsvg")
	return c
}

// graphTable lists the tasks level by level: a task stands one step below the
// lowest that it waits for.
func graphTable(g *api.GraphView) *table {
	after := map[rota.TaskKey][]api.GraphEdge{}
	for _, e := range g.Edges {
		after[e.To] = append(after[e.To], e)
	}
	depth := depths(g, after)
	t := &table{columns: []column{{title: "TASK"}, {title: "STATUS"}, {title: "AFTER"}}}
	deepest := 0
	for _, n := range g.Nodes {
		deepest = max(deepest, depth[n.Key])
	}
	for level := range deepest + 1 {
		for _, n := range g.Nodes {
			if depth[n.Key] != level {
				continue
			}
			t.rows = append(t.rows, []cell{
				{text: strings.Repeat("  ", min(level, 20)) + string(n.Key)},
				{text: n.Status.String(), ink: inkOfTask(n.Status)},
				{text: dash(edgeText(after[n.Key]))},
			})
		}
	}
	return t
}

// depths gives each task the length of the longest way to it.
func depths(g *api.GraphView, after map[rota.TaskKey][]api.GraphEdge) map[rota.TaskKey]int {
	open, next := map[rota.TaskKey]int{}, map[rota.TaskKey][]rota.TaskKey{}
	depth := map[rota.TaskKey]int{}
	var ready []rota.TaskKey
	for _, n := range g.Nodes {
		open[n.Key] = len(after[n.Key])
		if open[n.Key] == 0 {
			ready = append(ready, n.Key)
		}
	}
	for _, e := range g.Edges {
		next[e.From] = append(next[e.From], e.To)
	}
	for len(ready) > 0 {
		key := ready[0]
		ready = ready[1:]
		for _, to := range next[key] {
			depth[to] = max(depth[to], depth[key]+1)
			if open[to]--; open[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	return depth
}

// maxEdgesShown bounds the tasks named in one line.
const maxEdgesShown = 6

func edgeText(edges []api.GraphEdge) string {
	var parts []string
	for i, e := range edges {
		if i == maxEdgesShown {
			parts = append(parts, fmt.Sprintf("%d more", len(edges)-i))
			break
		}
		word := string(e.From)
		if e.Kind != rota.EdgeDelivered.String() {
			word += " (" + e.Kind + ")"
		}
		parts = append(parts, word)
	}
	return strings.Join(parts, ", ")
}

func dotGraph(g *api.GraphView) string {
	colours := map[ink]string{inkGreen: "palegreen", inkCyan: "lightblue", inkRed: "salmon", inkYellow: "khaki", inkDim: "gray90"}
	var b strings.Builder
	b.WriteString("digraph run {\n  rankdir=LR; node [shape=box, style=\"rounded,filled\", fontname=sans];\n")
	for _, n := range g.Nodes {
		fmt.Fprintf(&b, "  %s [fillcolor=%s, tooltip=%s];\n", dotWord(string(n.Key)), dotWord(colours[inkOfTask(n.Status)]), dotWord(n.Status.String()))
	}
	for _, e := range g.Edges {
		style := ""
		if e.Kind != rota.EdgeDelivered.String() {
			style = " [style=dashed, label=" + dotWord(e.Kind) + "]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s;\n", dotWord(string(e.From)), dotWord(string(e.To)), style)
	}
	b.WriteString("}\n")
	return b.String()
}

func dotWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
