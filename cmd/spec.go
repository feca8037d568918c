package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/jobspecs"
)

func (a *app) validateCommand() *cobra.Command {
	var job string
	var vars, varFiles []string
	c := &cobra.Command{
		Use: "validate FILE", Short: "Check a job file, offline", Args: exactly("a job file"),
		Long: `Check a job file on this machine: syntax, names, types, cycles, limits. Variables without
a value are warnings, since a run may bring them.`,
		RunE: func(_ *cobra.Command, args []string) error {
			values, err := a.variables(varFiles, vars)
			if err != nil {
				return err
			}
			src, err := a.readSource(args[0])
			if err != nil {
				return err
			}
			file, ds := jobspecs.Parse(src, jobspecs.Inputs{Job: job, Variables: values, AllowMissing: true})
			if ds.HasErrors() {
				return specFault(src, ds)
			}
			a.warnings(withSnippets(ds, src.Filename, src.Text))
			return a.showValid(src.Filename, file, ds)
		},
	}
	c.Flags().StringVar(&job, "job", "", "only this job of the file")
	bindVars(c, &vars, &varFiles)
	return c
}

func bindVars(c *cobra.Command, vars, files *[]string) {
	c.Flags().StringArrayVar(vars, "var", nil, "NAME=VALUE of a variable (may be repeated)")
	c.Flags().StringArrayVar(files, "var-file", nil, "JSON or YAML file with values of variables (may be repeated)")
}

// warnings shows diagnostics that do not stop anything.
func (a *app) warnings(ds rota.Diagnostics) {
	if len(ds) == 0 {
		return
	}
	switch a.flags.errorFormat {
	case "line":
		for _, d := range ds {
			a.err.line(lineOf(d))
		}
	case "json": // they are in the answer
	default:
		writeDiagnostics(a.err, ds)
	}
}

func (a *app) showValid(name string, file *jobspecs.File, ds rota.Diagnostics) error {
	answer := api.ValidateView{Valid: true, Diagnostics: ds, Jobs: []api.JobSummary{}}
	if answer.Diagnostics == nil {
		answer.Diagnostics = rota.Diagnostics{}
	}
	var names, words []string
	for _, job := range file.Jobs() {
		answer.Jobs = append(answer.Jobs, api.JobSummary{Name: job.Name, Tasks: len(job.Tasks)})
		names = append(names, job.Name)
		words = append(words, fmt.Sprintf("job %s with %s", job.Name, count(len(job.Tasks), "task")))
	}
	return a.show(view{
		data:  answer,
		names: func() []string { return names },
		text: func(bool) error {
			_, err := fmt.Fprintf(a.out, "%s is valid: %s\n", name, strings.Join(words, ", "))
			return err
		},
	})
}

func (a *app) fmtCommand() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "fmt FILE...", Short: "Format job files in place",
		Long: `Format job files in place and print the names of those that changed. "-" formats stdin to
stdout. With --check nothing is written, and the exit code is 1 if something would change.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("usage: "+c.UseLine(), "%q needs a job file", c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			changed := false
			for _, name := range args {
				did, err := a.formatFile(name, check)
				if err != nil {
					return err
				}
				changed = changed || did
			}
			if check && changed {
				return &quietExit{exitFailed}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&check, "check", false, "only say what would change")
	return c
}

// formatFile formats one file and reports whether that changes it.
func (a *app) formatFile(name string, check bool) (changed bool, err error) {
	var text []byte
	if name == "-" {
		text, err = readAtMost(a.Stdin, rota.MaxSourceBytes)
	} else {
		text, err = readFile(name, rota.MaxSourceBytes)
	}
	if err != nil {
		return false, a.fileFault(name, err)
	}
	formatted, ds := jobspecs.Format(text)
	if ds.HasErrors() {
		for i := range ds {
			ds[i].File = name
		}
		return false, specFault(jobspecs.Source{Filename: name, Text: text}, ds)
	}
	changed = !bytes.Equal(text, formatted)
	switch {
	case name == "-" && !check:
		_, err = a.out.Write(formatted)
		return changed, err
	case !changed:
		return false, nil
	case !check:
		if err := replaceFile(name, formatted); err != nil {
			return true, &fault{code: exitFailed, what: name + " cannot be written", why: plainPathError(err), cause: err}
		}
	}
	_, err = fmt.Fprintln(a.out, name)
	return true, err
}

// replaceFile writes a file beside the old one and puts it in its place.
func replaceFile(name string, text []byte) (err error) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, writeErr := f.Write(text)
	if err := errors.Join(writeErr, f.Chmod(info.Mode().Perm()), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (a *app) planCommand() *cobra.Command {
	var job string
	var vars, varFiles []string
	var detailed bool
	c := &cobra.Command{
		Use: "plan FILE", Short: "Dry run: what would change, what would run where, what it may cost", Args: exactly("a job file"),
		RunE: func(c *cobra.Command, args []string) error {
			values, err := a.variables(varFiles, vars)
			if err != nil {
				return err
			}
			src, err := a.readSource(args[0])
			if err != nil {
				return err
			}
			client, err := a.connect()
			if err != nil {
				return err
			}
			text := string(src.Text)
			plan, err := client.Plan(c.Context(), &api.SpecRequest{
				Namespace: a.flags.namespace, Source: &text, Filename: src.Filename, Files: src.Files, Job: job, Variables: values,
			})
			if err != nil {
				return withSource(err, src)
			}
			a.warnings(withSnippets(plan.Diagnostics, src.Filename, src.Text))
			if err := a.showPlan(plan); err != nil {
				return err
			}
			if detailed && (plan.Changed || len(plan.Changes) > 0) {
				return &quietExit{exitChanges}
			}
			return nil
		},
	}
	c.Flags().StringVar(&job, "job", "", "which job of the file")
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 10 if something would change")
	bindVars(c, &vars, &varFiles)
	return c
}

func (a *app) showPlan(p *api.PlanView) error {
	return a.show(view{
		data: p,
		names: func() []string {
			keys := make([]string, len(p.Tasks))
			for i, t := range p.Tasks {
				keys[i] = string(t.Key)
			}
			return keys
		},
		text: func(wide bool) error { return a.writePlan(p, wide) },
	})
}

func (a *app) writePlan(p *api.PlanView, wide bool) error {
	var b strings.Builder
	switch {
	case p.Version == 0:
		fmt.Fprintf(&b, "job %s is new\n", p.Job)
	case !p.Changed:
		fmt.Fprintf(&b, "job %s is the same as version %d\n", p.Job, p.Version)
	default:
		fmt.Fprintf(&b, "job %s differs from version %d\n", p.Job, p.Version)
	}
	marks := map[string]cell{"add": {"+", inkGreen}, "remove": {"-", inkRed}, "change": {"~", inkYellow}}
	for i, c := range p.Changes {
		if i == 50 {
			fmt.Fprintf(&b, "  ... and %d more\n", len(p.Changes)-i)
			break
		}
		mark, ok := marks[c.Action]
		if !ok {
			mark = cell{text: c.Action}
		}
		line := mark.text + " " + string(c.Key)
		if len(c.Fields) > 0 {
			line += ": " + strings.Join(c.Fields, ", ")
		}
		b.WriteString("  " + a.out.paint(mark.ink, visible(line)) + "\n")
	}
	b.WriteString("\n")
	if _, err := a.out.Write([]byte(b.String())); err != nil {
		return err
	}
	t := &table{columns: []column{
		{title: "TASK"},
		{title: "DRIVER"},
		{title: "CPU", right: true},
		{title: "MEMORY", right: true},
		{title: "GPU"},
		{title: "PRIORITY", right: true, wide: true},
		{title: "DEPENDS ON", wide: true},
		{title: "WHERE NOW"},
	}}
	for _, task := range p.Tasks {
		where := cell{text: task.Node, ink: inkGreen}
		if task.Node == "" && task.Reason != nil {
			where = cell{text: task.Reason.Text, ink: inkOfReason(task.Reason.Code)}
		}
		t.rows = append(t.rows, []cell{
			{text: string(task.Key)},
			{text: string(task.Driver)},
			{text: humanCores(task.Resources.CPUMilli)},
			{text: humanBytes(task.Resources.MemoryBytes)},
			{text: demandText(task.Resources.GPU)},
			{text: fmt.Sprint(task.Priority)},
			{text: dash(join(task.DependsOn, ","))},
			{text: dash(where.text), ink: where.ink},
		})
	}
	if err := t.write(a.out, wide); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\n%s, at most %s\n", count(len(p.Tasks), "task"), p.CostMicros)
	return err
}

func inkOfReason(code string) ink {
	if code == rota.ReasonNoNode {
		return inkRed
	}
	return inkDim
}

// demandText is a demand for GPUs in words: 2 x H100 from 80GiB, 0.5 of one.
func demandText(d rota.GPUDemand) string {
	if d.Count == 0 {
		return "-"
	}
	s := fmt.Sprint(d.Count)
	if d.ShareMilli > 0 {
		s = humanCores(d.ShareMilli)
	}
	if d.Model != "" {
		s += " " + d.Model
	}
	if d.MemoryBytes > 0 {
		s += " from " + humanBytes(d.MemoryBytes)
	}
	return s
}
