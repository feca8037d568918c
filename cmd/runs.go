package cmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (a *app) runsCommand() *cobra.Command {
	return family("runs", "Runs: list, show, wait, cancel, graph",
		a.runsList(), a.runsShow(), a.runsWait(), a.runsCancel(), a.runsGraph(),
		a.later("runs pause"), a.later("runs resume"), a.later("runs retry"))
}

func (a *app) runsList() *cobra.Command {
	var o listOptions
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List runs, newest first", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			query, err := o.query(a)
			if err != nil {
				return err
			}
			client, err := a.connect()
			if err != nil {
				return err
			}
			runs, more, err := o.collect(c.Context(), client, query)
			if err != nil {
				return err
			}
			if err := a.show(view{
				data:  runs,
				names: func() []string { return runIDs(runs) },
				table: func() *table { return a.runTable(runs) },
				empty: "no runs; start one with `rota run FILE`",
			}); err != nil {
				return err
			}
			if more && !a.structured() {
				a.hint("there are more: --limit N or --all")
			}
			return nil
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.status, "status", "", "only runs with this status")
	f.StringVar(&o.job, "job", "", "only runs of this job")
	f.StringVar(&o.since, "since", "", "only runs created in this time, such as 2h or 7d")
	f.StringArrayVar(&o.labels, "label", nil, "only runs with this label, k=v (may be repeated)")
	f.IntVar(&o.limit, "limit", 100, "at most this many")
	f.BoolVar(&o.all, "all", false, "all of them")
	return c
}

func runIDs(runs []api.RunView) []string {
	ids := make([]string, len(runs))
	for i, r := range runs {
		ids[i] = string(r.ID)
	}
	return ids
}

func (a *app) runTable(runs []api.RunView) *table {
	now := a.now()
	t := &table{columns: []column{
		{title: "RUN"},
		{title: "JOB"},
		{title: "STATUS"},
		{title: "TASKS", right: true},
		{title: "CREATED", right: true},
		{title: "TOOK", right: true},
		{title: "COST", right: true},
		{title: "VERSION", wide: true, right: true},
		{title: "NAMESPACE", wide: true},
		{title: "PRIORITY", wide: true, right: true},
		{title: "LABELS", wide: true},
	}}
	for _, r := range runs {
		t.rows = append(t.rows, []cell{
			{text: string(r.ID)},
			{text: r.Job},
			{text: r.Status.String(), ink: inkOfRun(r.Status)},
			{text: endedOf(r)},
			{text: humanAge(r.CreatedAt, now)},
			{text: humanSpan(r.CreatedAt, r.FinishedAt, now)},
			{text: r.CostMicros.String()},
			{text: fmt.Sprint(r.Version)},
			{text: r.Namespace},
			{text: fmt.Sprint(r.Priority)},
			{text: dash(labelText(r.Labels))},
		})
	}
	return t
}

// endedOf is how many of a run's tasks have ended: 3/5.
func endedOf(r api.RunView) string { return fmt.Sprintf("%d/%d", ended(r), r.TasksTotal) }

func ended(r api.RunView) int {
	n := 0
	for _, s := range rota.Statuses {
		if s.Terminal() {
			n += r.TaskCounts[s.String()]
		}
	}
	return n
}

func (a *app) runsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "One run with its tasks", Args: exactly("a run"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			run, err := client.RunNow(c.Context(), args[0], api.RunOptions{Tasks: true})
			if err != nil {
				return err
			}
			return a.showRun(run)
		},
	}
}

// showRun writes a run with its tasks as -o asks.
func (a *app) showRun(run *api.RunView) error {
	return a.show(view{
		data:  run,
		names: func() []string { return []string{string(run.ID)} },
		text:  func(wide bool) error { return a.writeRun(run, wide) },
	})
}

func (a *app) writeRun(r *api.RunView, wide bool) error {
	now := a.now()
	f := newFields(a.out)
	f.add("run", "%s", r.ID)
	f.add("job", "%s, version %d", r.Job, r.Version)
	f.paint("status", inkOfRun(r.Status), r.Status.String())
	if r.Reason != nil {
		f.add("reason", "%s", r.Reason.Text)
	}
	f.add("namespace", "%s", r.Namespace)
	f.add("labels", "%s", labelText(r.Labels))
	f.add("created", "%s (%s)", r.CreatedAt.Time().Format(time.RFC3339), humanAge(r.CreatedAt, now))
	took := "so far"
	if r.FinishedAt != 0 {
		took = "in all"
	}
	f.add("took", "%s %s", humanSpan(r.CreatedAt, r.FinishedAt, now), took)
	f.add("tasks", "%d: %s", r.TasksTotal, paintless(r.TaskCounts))
	f.add("cost", "%s, %d tokens in, %d out", r.CostMicros, r.TokensIn, r.TokensOut)
	if err := f.write(); err != nil {
		return err
	}
	if len(r.Tasks) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	tasks, left := mostTelling(r.Tasks, r.TasksTotal, wide)
	if err := a.taskTable(tasks).write(a.out, wide); err != nil {
		return err
	}
	if left > 0 {
		a.hint("%d more tasks are not shown: `rota task list %s --all`, or -o wide", left, r.ID)
	}
	return nil
}

// tableTasks is how many tasks of a run are listed for a person who did not ask
// for more.
const tableTasks = 50

// mostTelling picks the tasks to show of a large run: what did not go well or has not
// ended, in the order of the file, before what is over; left is how many it leaves out.
func mostTelling(tasks []api.TaskView, total int, wide bool) (shown []api.TaskView, left int) {
	if wide || len(tasks) <= tableTasks {
		return tasks, total - len(tasks)
	}
	quiet := func(t *api.TaskView) bool { return t.Status == rota.StatusDelivered || t.Status == rota.StatusSkipped }
	for _, want := range []bool{false, true} {
		for i := range tasks {
			if len(shown) < tableTasks && quiet(&tasks[i]) == want {
				shown = append(shown, tasks[i])
			}
		}
	}
	return shown, total - len(shown)
}

func paintless(counts map[string]int) string { return paintCounts(screen{}, counts) }

func (a *app) taskTable(tasks []api.TaskView) *table {
	now := a.now()
	t := &table{columns: []column{
		{title: "TASK"},
		{title: "STATUS"},
		{title: "NODE"},
		{title: "ATTEMPTS", right: true},
		{title: "TOOK", right: true},
		{title: "EXIT", wide: true, right: true},
		{title: "COST", wide: true, right: true},
		{title: "DEPENDS ON", wide: true},
		{title: "NOTE"},
	}}
	for _, task := range tasks {
		exit := "-"
		if task.FinishedAt != 0 && task.StartedAt != 0 {
			exit = fmt.Sprint(task.ExitCode)
		}
		t.rows = append(t.rows, []cell{
			{text: string(task.Key)},
			{text: task.Status.String(), ink: inkOfTask(task.Status)},
			{text: dash(task.Node)},
			{text: fmt.Sprint(task.Attempts)},
			{text: humanSpan(task.StartedAt, task.FinishedAt, now)},
			{text: exit},
			{text: task.CostMicros.String()},
			{text: dash(join(task.DependsOn, ","))},
			{text: taskNote(task)},
		})
	}
	return t
}

// taskNote is why a task failed, waits, or was skipped, in one line.
func taskNote(t api.TaskView) string {
	switch {
	case t.Cause != rota.CauseNone && t.Message != "":
		return t.Cause.String() + ": " + t.Message
	case t.Cause != rota.CauseNone:
		return t.Cause.String()
	case t.Reason != nil && t.Reason.Text != "":
		return t.Reason.Text
	case t.Reason != nil:
		return t.Reason.Code
	}
	return ""
}

func (a *app) runsWait() *cobra.Command {
	var w waitOptions
	c := &cobra.Command{
		Use: "wait RUN", Short: "Wait until a run has ended", Args: exactly("a run"),
		Long: `Wait until a run has ended. The exit code says how: 0 succeeded, 1 failed or cancelled,
4 paused, 6 the --timeout passed, 130 Ctrl-C (the run goes on).`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			run, err := client.Run(c.Context(), args[0], api.RunOptions{})
			if err != nil {
				return err
			}
			return a.attend(c.Context(), client, run, w)
		},
	}
	w.bind(c)
	return c
}

func (a *app) runsCancel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "cancel RUN", Short: "Cancel whatever of a run has not ended", Args: exactly("a run"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			run, err := client.CancelRun(c.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.done(run, []string{string(run.ID)}, "run %s: %s", run.ID, run.Status)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever looks at it later")
	return c
}

// done shows the object that a command changed to programs, and a sentence to
// people.
func (a *app) done(data any, names []string, format string, args ...any) error {
	if a.structured() {
		return a.show(view{data: data, names: func() []string { return names }})
	}
	a.note(format, args...)
	return nil
}

func (a *app) now() time.Time { return time.Now() }
