package cmd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota/api"
)

// dispatchOptions are the flags of rota dispatch.
type dispatchOptions struct {
	waitOptions
	input, key, eachLine string
	version, priority    int
	wait                 bool
	labels               []string
	vars, varFiles       []string
}

func (a *app) dispatchCommand() *cobra.Command {
	var o dispatchOptions
	c := &cobra.Command{
		Use: "dispatch JOB", Short: "Start runs of a stored job", Args: exactly("a job"),
		Long: `Start a run of a job that is stored (rota apply), and print the run's ID. Nothing is sent but
its name and the values, so this is the fast way to start many.

  rota dispatch resize --input '{"image":"a.png"}'
  rota dispatch resize --each-line images.txt

The job sees the input as event. With --each-line every line of the file (- is stdin) starts
a run of its own, with the line as its input: JSON if it is that, else a text. The run's IDs
are printed in the order of the lines. With the same --idempotency-key and the same lines
the whole may be repeated: what was started is not started again.`,
		RunE: func(c *cobra.Command, args []string) error {
			request, err := a.dispatchRequest(args[0], &o)
			if err != nil {
				return err
			}
			client, err := a.connect()
			if err != nil {
				return err
			}
			if o.key == "" {
				o.key = rand.Text()
			}
			if o.eachLine != "" {
				return a.dispatchLines(c.Context(), client, request, &o)
			}
			return a.dispatchOne(c.Context(), client, request, &o)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.input, "input", "", "JSON that the job sees as event")
	f.StringVar(&o.eachLine, "each-line", "", "file whose lines start a run each, - for stdin")
	bindVars(c, &o.vars, &o.varFiles)
	f.IntVar(&o.version, "version", 0, "which version of the job (default: the newest)")
	f.IntVar(&o.priority, "priority", -1, "0 to 100, 100 first (default: as the job says)")
	f.StringArrayVar(&o.labels, "label", nil, "k=v on the run (may be repeated)")
	f.StringVar(&o.key, "idempotency-key", "", "the same key starts the same run once (default: a new one)")
	f.BoolVar(&o.wait, "wait", false, "wait until the run has ended")
	o.bind(c)
	return c
}

func (a *app) dispatchRequest(job string, o *dispatchOptions) (*api.SubmitRequest, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	values, err := a.variables(o.varFiles, o.vars)
	if err != nil {
		return nil, err
	}
	labels, err := labelMap(o.labels)
	if err != nil {
		return nil, err
	}
	request := &api.SubmitRequest{Namespace: a.flags.namespace, Job: job, Version: o.version, Variables: values, Labels: labels}
	switch {
	case o.version < 0:
		return nil, usage("", "--version %d: want a number from 1", o.version)
	case o.eachLine != "" && o.input != "":
		return nil, usage("", "--input and --each-line both say what the job sees as event: keep one")
	case o.eachLine != "" && (o.wait || o.follow):
		return nil, usage("`rota runs wait RUN` waits for one of them", "--each-line starts many runs and waits for none")
	case o.input != "" && !json.Valid([]byte(o.input)):
		return nil, usage(`a text needs quotes of its own: --input '"words"'`, "--input is not JSON")
	}
	if o.input != "" {
		request.Event = json.RawMessage(o.input)
	}
	request.Priority, err = priorityOf(o.priority)
	return request, err
}

func (a *app) dispatchOne(ctx context.Context, client *api.Client, request *api.SubmitRequest, o *dispatchOptions) error {
	run, existed, err := client.Submit(ctx, request, o.key)
	if err != nil {
		return a.submitFault(err, o.key)
	}
	if existed {
		a.note("the key %s names a run that exists: %s", o.key, run.ID)
	}
	if o.wait || o.follow {
		return a.attend(ctx, client, run, o.waitOptions)
	}
	return a.showStarted(run)
}

// showStarted shows a run that nobody waits for: its ID, to people and scripts.
func (a *app) showStarted(run *api.RunView) error {
	if err := a.show(view{
		data:  run,
		names: func() []string { return []string{string(run.ID)} },
		text:  func(bool) error { _, err := fmt.Fprintln(a.out, run.ID); return err },
	}); err != nil {
		return err
	}
	if a.err.terminal && a.out.terminal {
		a.hint("`rota runs wait %s` waits for its end, `rota logs -f %s` shows what it writes", run.ID, run.ID)
	}
	return nil
}

// labelMap reads --label words; nil for none.
func labelMap(words []string) (map[string]string, error) {
	pairs, err := parsePairs("--label", words)
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m, nil
}

// priorityOf reads --priority; -1 was not given.
func priorityOf(n int) (*int, error) {
	switch {
	case n == -1:
		return nil, nil
	case n < 0 || n > 100:
		return nil, usage("", "--priority %d: want 0 to 100, 100 first", n)
	}
	return &n, nil
}
