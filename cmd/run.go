package cmd

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/jobspecs"
)

// runOptions are the flags of rota run.
type runOptions struct {
	adhoc
	waitOptions
	job, key, at   string
	wait           bool
	priority       int
	labels         []string
	vars, varFiles []string
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run (FILE | -- COMMAND...)",
		Short: "Run a job file, or a single command",
		Long: `Start a run of a job file ("-" reads it from stdin), or of a single command, and print the
run's ID. With --wait it ends when the run does, with --follow it shows what happens.

  rota run nightly.hcl --var day=monday --wait
  rota run --cpu 2 --memory 1GiB --follow -- make -C /srv/app test
  rota run --each-line images.txt --wait -- convert {} {}.png

Exit codes with --wait: 0 succeeded, 1 failed or cancelled, 4 paused, 6 the --timeout passed
(the run goes on), 130 Ctrl-C (the run goes on).`,
		RunE: func(c *cobra.Command, args []string) error {
			src, err := a.runSource(c, &o, args)
			if err != nil {
				return err
			}
			return a.submit(c.Context(), src, o)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.job, "job", "", "which job of the file")
	bindVars(c, &o.vars, &o.varFiles)
	f.BoolVar(&o.wait, "wait", false, "wait until the run has ended")
	o.waitOptions.bind(c)
	f.StringVar(&o.key, "idempotency-key", "", "the same key starts the same run once (default: a new one)")
	f.IntVar(&o.priority, "priority", -1, "0 to 100, 100 first (default: as the job says)")
	f.StringArrayVar(&o.labels, "label", nil, "k=v on the run (may be repeated)")
	f.StringVar(&o.at, "at", "", "start later (not built yet)")
	o.adhoc.bind(c)
	return c
}

// runSource decides between the two forms and gives the job's source.
func (a *app) runSource(c *cobra.Command, o *runOptions, args []string) (jobspecs.Source, error) {
	changed := c.Flags().Changed
	dash := c.ArgsLenAtDash()
	for _, later := range []string{"at", "max-parallel"} {
		if changed(later) {
			return jobspecs.Source{}, notBuilt("--"+later, "")
		}
	}
	switch {
	case dash == 0 && len(args) > 0:
		for _, flag := range []string{"job", "var", "var-file"} {
			if changed(flag) {
				return jobspecs.Source{}, usage("", "--%s is for job files: a command has no variables", flag)
			}
		}
		lines, err := a.linesOf(o.eachLine)
		if err != nil {
			return jobspecs.Source{}, err
		}
		return o.source(args, lines)
	case len(args) == 1 && dash < 0:
		for _, flag := range adhocFlags() {
			if changed(flag) {
				return jobspecs.Source{}, usage("say it in the file, or run a command: rota run --"+flag+" ... -- COMMAND", "--%s is for single commands", flag)
			}
		}
		return a.readSource(args[0])
	case len(args) == 0:
		return jobspecs.Source{}, usage("rota run FILE, or rota run -- COMMAND", "rota run needs a job file or a command")
	}
	return jobspecs.Source{}, usage("to run a command put -- before it: rota run -- "+strings.Join(args, " "), "rota run takes one job file, got %q, too", args[1])
}

func (a *app) submit(ctx context.Context, src jobspecs.Source, o runOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	request, err := a.submission(src, o)
	if err != nil {
		return err
	}
	client, err := a.connect()
	if err != nil {
		return err
	}
	key := o.key
	if key == "" {
		key = rand.Text()
	}
	run, existed, err := client.Submit(ctx, request, key)
	if err != nil {
		return a.submitFault(withSource(err, src), key)
	}
	if existed {
		a.note("the key %s names a run that exists: %s", key, run.ID)
	}
	if o.wait || o.follow {
		return a.attend(ctx, client, run, o.waitOptions)
	}
	return a.showStarted(run)
}

func (a *app) submission(src jobspecs.Source, o runOptions) (*api.SubmitRequest, error) {
	values, err := a.variables(o.varFiles, o.vars)
	if err != nil {
		return nil, err
	}
	labels, err := labelMap(o.labels)
	if err != nil {
		return nil, err
	}
	text := string(src.Text)
	request := &api.SubmitRequest{
		Namespace: a.flags.namespace, Source: &text, Filename: src.Filename, Files: src.Files, Job: o.job, Variables: values, Labels: labels,
	}
	request.Priority, err = priorityOf(o.priority)
	return request, err
}

// submitFault adds to an uncertain outcome how to ask again without doing it twice.
func (a *app) submitFault(err error, key string) error {
	if !errors.Is(err, rota.ErrUnknown) && !errors.Is(err, rota.ErrUnavailable) && !errors.Is(err, rota.ErrNoLeader) {
		return err
	}
	f := a.faultOf(err)
	if f.kind == "unreachable" {
		return f
	}
	f.next = "send it again with --idempotency-key " + key + ": if the run was started after all, you get that one"
	return f
}
