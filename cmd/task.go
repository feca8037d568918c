package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func (a *app) taskCommand() *cobra.Command {
	return family("task", "Tasks of a run: list, show, logs, explain, cancel, answer",
		a.taskList(), a.taskShow(), a.taskLogs(), a.taskExplain(), a.taskCancel(), a.taskAnswer(), a.later("task retry"))
}

// onTask makes the body of a command about one task.
func (a *app) onTask(do func(ctx context.Context, client *api.Client, run, key string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		run, key, err := taskAddress(args[0])
		if err != nil {
			return err
		}
		client, err := a.connect()
		if err != nil {
			return err
		}
		return do(c.Context(), client, run, key)
	}
}

func (a *app) taskShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN/KEY", Short: "One task with its attempts and output", Args: exactly("a task"),
		RunE: a.onTask(func(ctx context.Context, client *api.Client, run, key string) error {
			t, err := client.TaskNow(ctx, run, key)
			if err != nil {
				return err
			}
			return a.show(view{
				data:  t,
				names: func() []string { return []string{string(t.Run) + "/" + string(t.Key)} },
				text:  func(wide bool) error { return a.writeTask(t, wide) },
			})
		}),
	}
}

func (a *app) writeTask(t *api.TaskDetail, wide bool) error {
	now := a.now()
	f := newFields(a.out)
	f.add("task", "%s/%s", t.Run, t.Key)
	f.paint("status", inkOfTask(t.Status), t.Status.String())
	if t.Reason != nil {
		f.add("reason", "%s", dash(t.Reason.Text))
	}
	if t.Cause != rota.CauseNone {
		f.add("cause", "%s", strings.TrimSuffix(t.Cause.String()+": "+t.Message, ": "))
	}
	f.add("type", "%s", t.Type)
	f.add("driver", "%s", t.Driver)
	f.add("command", "%s", shellWords(t.Command))
	f.add("asks for", "%s", resourceText(t.Resources))
	f.add("priority", "%d", t.Priority)
	f.add("depends on", "%s", join(t.DependsOn, ", "))
	if t.Placement != nil {
		f.add("placed", "on %s %s%s", t.Placement.Node, humanAge(t.Placement.PlacedAt, now), prefixed(", gpu ", grantText(t.Placement.GPUs)))
	}
	f.add("took", "%s", humanSpan(t.StartedAt, t.FinishedAt, now))
	f.add("attempts", "%d, %d of them count", t.Attempts, t.AttemptsUsed)
	if t.DueAt != 0 && !t.Status.Terminal() {
		f.add("next", "at %s", t.DueAt.Time().Format(time.RFC3339))
	}
	f.add("cost", "%s, %d tokens in, %d out", t.CostMicros, t.TokensIn, t.TokensOut)
	f.add("output", "%s", outputText(t))
	if err := f.write(); err != nil {
		return err
	}
	return a.writeAttempts(t, wide)
}

func (a *app) writeAttempts(t *api.TaskDetail, wide bool) error {
	if len(t.AttemptList)+len(t.LateResults) == 0 {
		return nil
	}
	now := a.now()
	rows := &table{columns: []column{
		{title: "ATTEMPT", right: true},
		{title: "NODE"},
		{title: "STARTED", right: true},
		{title: "TOOK", right: true},
		{title: "EXIT", right: true},
		{title: "FENCE", wide: true, right: true},
		{title: "COST", wide: true, right: true},
		{title: "HOW IT WENT"},
	}}
	add := func(at api.AttemptView, late string) {
		how, colour, exit := "ended well", inkGreen, fmt.Sprint(at.ExitCode)
		switch {
		case at.Cause != rota.CauseNone:
			how, colour = strings.TrimSuffix(at.Cause.String()+": "+at.Message, ": "), inkRed
		case at.FinishedAt == 0:
			how, colour, exit = "goes on", inkCyan, "-"
		}
		rows.rows = append(rows.rows, []cell{
			{text: fmt.Sprint(at.Number)},
			{text: dash(at.Node)},
			{text: humanAge(at.StartedAt, now)},
			{text: humanSpan(at.StartedAt, at.FinishedAt, now)},
			{text: exit},
			{text: at.Fence.String()},
			{text: at.CostMicros.String()},
			{text: late + how, ink: colour},
		})
	}
	for _, at := range t.AttemptList {
		add(at, "")
	}
	for _, at := range t.LateResults {
		add(at, "late result: ")
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return rows.write(a.out, wide)
}

// maxOutputShown bounds the output in the text form; -o json has all of it.
const maxOutputShown = 2000

// outputText is a task's output for people: a text as it is, JSON indented.
func outputText(t *api.TaskDetail) string {
	raw := bytes.TrimSpace(t.Output)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var b bytes.Buffer
		if json.Indent(&b, raw, "", "  ") != nil {
			return string(raw)
		}
		text = b.String()
	}
	if len(text) > maxOutputShown {
		return strings.ToValidUTF8(text[:maxOutputShown], "") + fmt.Sprintf("\n... %s in all: -o json shows it", humanBytes(int64(len(text))))
	}
	return text
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// resourceText is what a task asks for in words.
func resourceText(r rota.Resources) string {
	parts := []string{humanCores(r.CPUMilli) + " cpu", humanBytes(r.MemoryBytes) + " memory"}
	if r.DiskBytes > 0 {
		parts = append(parts, humanBytes(r.DiskBytes)+" disk")
	}
	if r.GPU.Count > 0 {
		parts = append(parts, demandText(r.GPU)+" gpu")
	}
	return strings.Join(parts, ", ")
}

// shellWords writes a command so that it could be pasted into a shell.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") != "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func (a *app) taskExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain RUN/KEY", Short: "Why a task waits, or why it is where it is", Args: exactly("a task"),
		RunE: a.onTask(func(ctx context.Context, client *api.Client, run, key string) error {
			e, err := client.ExplainTask(ctx, run, key)
			if err != nil {
				return err
			}
			return a.show(view{
				data:  e,
				names: func() []string { return []string{string(e.Run) + "/" + string(e.Key)} },
				text:  func(bool) error { return a.writeExplain(e) },
			})
		}),
	}
}

func (a *app) writeExplain(e *api.ExplainView) error {
	f := newFields(a.out)
	f.add("task", "%s/%s", e.Run, e.Key)
	f.paint("status", inkOfTask(e.Status), e.Status.String())
	if e.Reason != nil {
		f.add("reason", "%s", e.Reason.Text)
		f.add("code", "%s", e.Reason.Code)
	}
	if e.Place > 0 {
		f.add("place", "%d of %d in the order", e.Place, e.Queued)
	}
	if err := f.write(); err != nil || len(e.Candidates) == 0 {
		return err
	}
	t := &table{columns: []column{{title: "NODE"}, {title: "FITS"}, {title: "WHY"}}}
	for _, c := range e.Candidates {
		fits := cell{text: "no", ink: inkYellow}
		if c.Fits {
			fits = cell{text: "yes", ink: inkGreen}
		}
		node := c.Node
		if c.Count > 1 {
			node = strings.TrimSpace(fmt.Sprintf("%s (%s)", node, count(c.Count, "node")))
		}
		why := c.Text
		if why == "" {
			why = c.Misfit
		}
		t.rows = append(t.rows, []cell{{text: node}, fits, {text: dash(why)}})
	}
	return a.section(t)
}

func (a *app) taskCancel() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "cancel RUN/KEY", Short: "Cancel a task; what depends on it is skipped", Args: exactly("a task"),
		RunE: a.onTask(func(ctx context.Context, client *api.Client, run, key string) error {
			t, err := client.CancelTask(ctx, run, key, reason)
			if err != nil {
				return err
			}
			return a.doneTask(t)
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever looks at it later")
	return c
}

func (a *app) doneTask(t *api.TaskDetail) error {
	name := string(t.Run) + "/" + string(t.Key)
	return a.done(t, []string{name}, "task %s: %s", name, t.Status)
}

func (a *app) taskAnswer() *cobra.Command {
	var rerun, giveUp bool
	c := &cobra.Command{
		Use: "answer RUN/KEY (--rerun | --give-up)", Short: "Settle a task whose outcome is unknown", Args: exactly("a task"),
		Long: `Settle a task with rerun = "ask" whose attempt was lost with its node, so that nobody knows
whether it has done its work: run it again, or give it up as a dead letter.`,
		RunE: a.onTask(func(ctx context.Context, client *api.Client, run, key string) error {
			if rerun == giveUp {
				return usage("look at what it did first: `rota task logs "+run+"/"+key+"`", "say one of --rerun and --give-up")
			}
			t, err := client.AnswerTask(ctx, run, key, rerun)
			if err != nil {
				return err
			}
			return a.doneTask(t)
		}),
	}
	c.Flags().BoolVar(&rerun, "rerun", false, "run it again")
	c.Flags().BoolVar(&giveUp, "give-up", false, "make it a dead letter")
	return c
}
