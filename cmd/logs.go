package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// logOptions are the flags of rota task logs.
type logOptions struct {
	follow  bool
	stream  string
	attempt uint64
	tail    string
}

func (a *app) taskLogs() *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use: "logs RUN/KEY", Short: "What a task wrote: its stdout to stdout, its stderr to stderr", Args: exactly("a task"),
		RunE: a.onTask(func(ctx context.Context, client *api.Client, run, key string) error {
			return a.copyLogs(ctx, client, run, key, o)
		}),
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVarP(&o.follow, "follow", "f", false, "go on until the attempt has ended")
	f.StringVar(&o.stream, "stream", "both", "stdout, stderr or both")
	f.Uint64Var(&o.attempt, "attempt", 0, "number of the attempt (default: the newest)")
	f.StringVar(&o.tail, "tail", "", "only the last so many bytes, such as 64KiB")
	return c
}

func (o *logOptions) each() ([]api.LogOptions, error) {
	base := api.LogOptions{Attempt: o.attempt, Follow: o.follow}
	if o.tail != "" {
		n, err := rota.ParseSize(o.tail)
		if err != nil || n <= 0 {
			return nil, usage("", "--tail %q: want a size in bytes, such as 4096 or 64KiB", o.tail)
		}
		base.Offset = -n
	}
	if err := oneOf("--stream", o.stream, "stdout", "stderr", "both"); err != nil {
		return nil, err
	}
	if o.stream != "both" {
		base.Stream = o.stream
		return []api.LogOptions{base}, nil
	}
	stdout, stderr := base, base
	stdout.Stream, stderr.Stream = "stdout", "stderr"
	return []api.LogOptions{stdout, stderr}, nil
}

// copyLogs copies the streams of an attempt at the same time. One stream alone goes
// to stdout.
func (a *app) copyLogs(ctx context.Context, client *api.Client, run, key string, o logOptions) error {
	each, err := o.each()
	if err != nil {
		return err
	}
	errs := make([]error, len(each))
	var all sync.WaitGroup
	for i, options := range each {
		to := a.Stdout
		if len(each) > 1 && options.Stream == "stderr" {
			to = a.Stderr
		}
		all.Go(func() { errs[i] = copyLog(ctx, client, run, key, options, to) })
	}
	all.Wait()
	return errors.Join(dedupe(errs)...)
}

// dedupe keeps the first of errors that say the same.
func dedupe(errs []error) []error {
	for _, err := range errs {
		if err != nil {
			return []error{err}
		}
	}
	return nil
}

func copyLog(ctx context.Context, client *api.Client, run, key string, o api.LogOptions, to io.Writer) error {
	log, err := client.TaskLogs(ctx, run, key, o)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // it was only read
	if _, err := io.Copy(to, log); err != nil {
		return fmt.Errorf("copy %s of %s/%s: %w", o.Stream, run, key, err)
	}
	return nil
}

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use: "logs RUN", Short: "What the tasks of a run wrote, each line with its task", Args: exactly("a run"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			if _, key, err := taskAddress(args[0]); err == nil && key != "" { // people forget the word task
				run, key, _ := taskAddress(args[0])
				return a.copyLogs(c.Context(), client, run, key, logOptions{follow: follow, stream: "both"})
			}
			run, err := client.Run(c.Context(), args[0], api.RunOptions{})
			if err != nil {
				return err
			}
			if follow && !run.Status.Terminal() {
				return a.followRunLogs(c.Context(), client, run)
			}
			return a.runLogs(c.Context(), client, run)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run has ended")
	return c
}

// followRunLogs shows what tasks write until the run has ended.
func (a *app) followRunLogs(ctx context.Context, client *api.Client, run *api.RunView) error {
	f := &follower{app: a, client: client, run: run.ID, raw: run.TasksTotal == 1, quiet: true, only: true}
	f.start(ctx)
	_, err := client.WaitRun(ctx, string(run.ID), nil)
	f.close(ctx, err == nil)
	return err
}

// runLogs shows what the tasks of a run have written, in the order of the file.
func (a *app) runLogs(ctx context.Context, client *api.Client, run *api.RunView) error {
	tasks, err := client.RunTasks(ctx, string(run.ID))
	if err != nil {
		return err
	}
	f := &follower{app: a, client: client, run: run.ID, raw: len(tasks) == 1, only: true}
	missing := 0
	for _, t := range tasks {
		if t.StartedAt == 0 {
			continue
		}
		for _, stream := range []string{"stdout", "stderr"} {
			log, err := client.TaskLogs(ctx, string(run.ID), string(t.Key), api.LogOptions{Stream: stream})
			switch {
			case errors.Is(err, rota.ErrNotFound):
				missing++
				continue
			case err != nil && ctx.Err() == nil && !errors.Is(err, rota.ErrUnavailable):
				return err
			case err != nil:
				a.warn("the %s of %s cannot be read now: %s", stream, t.Key, err)
				continue
			}
			if f.raw {
				f.copyRaw(log, stream)
			} else {
				f.copyLines(log, t.Key, stream)
			}
			_ = log.Close()
		}
	}
	if missing > 0 && missing == 2*len(tasks) {
		a.note("no logs of run %s are kept (%s looked for)", run.ID, strconv.Itoa(missing))
	}
	return nil
}
