package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/jobspecs"
)

// maxApplied bounds the files of one rota apply.
const maxApplied = 1000

func (a *app) applyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "apply PATH...", Short: "Store job files, to be dispatched by name",
		Long: `Store the jobs of files as their newest versions. A directory stands for its *.hcl and
*.hcl.json files. All files are checked before the first job is stored. A job that is
stored already with the same text and files stays as it is, so this may be repeated.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("usage: "+c.UseLine(), "%q needs a job file or a directory", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			jobs, err := a.jobsOf(args)
			if err != nil {
				return err
			}
			client, err := a.connect()
			if err != nil {
				return err
			}
			applied, err := a.applyAll(c.Context(), client, jobs)
			if len(applied) > 0 {
				if showErr := a.showApplied(applied); err == nil {
					err = showErr
				}
			}
			return err
		},
	}
}

// localJob is a job of a file on this machine.
type localJob struct {
	name string
	src  jobspecs.Source
}

// jobsOf reads and checks all files.
func (a *app) jobsOf(paths []string) ([]localJob, error) {
	names, err := a.jobFiles(paths)
	if err != nil {
		return nil, err
	}
	var jobs []localJob
	seen := map[string]string{}
	for _, name := range names {
		src, err := a.readSource(name)
		if err != nil {
			return nil, err
		}
		file, ds := jobspecs.Parse(src, jobspecs.Inputs{AllowMissing: true})
		if ds.HasErrors() {
			return nil, specFault(src, ds)
		}
		for _, job := range file.Jobs() {
			key := job.Namespace + "/" + job.Name
			if other, again := seen[key]; again {
				return nil, usage("give one of them another name", "%s and %s both hold a job %q", other, name, job.Name)
			}
			seen[key] = name
			jobs = append(jobs, localJob{name: job.Name, src: src})
		}
	}
	return jobs, nil
}

// jobFiles lists the files that the paths mean, each once.
func (a *app) jobFiles(paths []string) ([]string, error) {
	var names []string
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case p == "-" || err == nil && !info.IsDir():
			names = append(names, p)
			continue
		case err != nil:
			return nil, a.fileFault(p, err)
		}
		found, err := filesIn(p)
		if err != nil {
			return nil, a.fileFault(p, err)
		}
		if len(found) == 0 {
			return nil, usage("job files end in .hcl or .hcl.json; name another file itself", "the directory %s holds no job file", p)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxApplied {
		return nil, usage("apply them in several calls", "%d job files at once, the limit is %d", len(names), maxApplied)
	}
	return names, nil
}

func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && (strings.HasSuffix(e.Name(), ".hcl") || strings.HasSuffix(e.Name(), ".hcl.json")) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}

// applyAll stores the jobs, one after another; after an error those before it are
// stored.
func (a *app) applyAll(ctx context.Context, client *api.Client, jobs []localJob) ([]*api.ApplyView, error) {
	var applied []*api.ApplyView
	for _, j := range jobs {
		text := string(j.src.Text)
		v, err := client.ApplyJob(ctx, j.name, &api.ApplyRequest{Namespace: a.flags.namespace, Source: &text, Filename: j.src.Filename, Files: j.src.Files})
		if err != nil {
			return applied, withSource(err, j.src)
		}
		for _, d := range v.Diagnostics {
			if d.Severity == rota.SeverityWarning && !strings.Contains(d.Summary, "has no value") { // runs bring values
				a.warnings(withSnippets(rota.Diagnostics{d}, j.src.Filename, j.src.Text))
			}
		}
		applied = append(applied, v)
	}
	return applied, nil
}

func (a *app) showApplied(applied []*api.ApplyView) error {
	return a.show(view{
		data: applied,
		names: func() []string {
			names := make([]string, len(applied))
			for i, v := range applied {
				names[i] = v.Name
			}
			return names
		},
		text: func(bool) error {
			for _, v := range applied {
				word := map[string]string{api.JobCreated: "created", api.JobUpdated: "new version"}[v.Result]
				if word == "" {
					word = v.Result
				}
				if _, err := fmt.Fprintf(a.out, "job %s: %s, version %d\n", v.Name, word, v.Version); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
