package cmd

import (
	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (a *app) taskList() *cobra.Command {
	var status []string
	var limit int
	var all bool
	c := &cobra.Command{
		Use: "list RUN", Short: "Tasks of a run in the order of its file", Args: exactly("a run"),
		RunE: func(c *cobra.Command, args []string) error {
			f := api.TaskFilter{Limit: limit}
			for _, word := range status {
				var s rota.Status
				if err := s.UnmarshalText([]byte(word)); err != nil {
					return usage("want one of queued, assigned, running, retrying, waiting, delivered, dead_lettered, skipped, cancelled", "--status: %q is no status of a task", word)
				}
				f.Status = append(f.Status, s)
			}
			client, err := a.connect()
			if err != nil {
				return err
			}
			var tasks []api.TaskView
			for {
				page, err := client.Tasks(c.Context(), args[0], f)
				if err != nil {
					return err
				}
				tasks = append(tasks, page.Items...)
				if page.NextCursor == nil {
					break
				}
				if !all && !a.structured() {
					a.hint("there are more tasks: --all lists them, --status chooses")
				}
				if !all {
					break
				}
				f.Cursor = *page.NextCursor
			}
			return a.show(view{
				data:  tasks,
				names: func() []string { return taskNames(tasks) },
				table: func() *table { return a.taskTable(tasks) },
				empty: "no such tasks",
			})
		},
	}
	c.Flags().StringSliceVar(&status, "status", nil, "only these: queued, running, dead_lettered ... (may be repeated)")
	c.Flags().IntVar(&limit, "limit", 100, "tasks to list, 1 to 1000")
	c.Flags().BoolVar(&all, "all", false, "list all of them")
	return c
}

func taskNames(tasks []api.TaskView) []string {
	names := make([]string, len(tasks))
	for i := range tasks {
		names[i] = string(tasks[i].Key)
	}
	return names
}
