package cmd

import (
	"fmt"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/rota-sched/rota/api"
)

func (a *app) jobCommand() *cobra.Command {
	return family("job", "Stored jobs: list, show, versions, diff, pause, resume, delete",
		a.jobList(), a.jobShow(), a.jobVersions(), a.jobDiff(), a.jobPause(true), a.jobPause(false), a.jobDelete())
}

func (a *app) jobList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List stored jobs", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			jobs, err := client.Jobs(c.Context())
			if err != nil {
				return err
			}
			return a.showJobs(jobs, func(j *api.JobView) string { return j.Name }, "no jobs; store one with `rota apply FILE`")
		},
	}
}

func (a *app) jobVersions() *cobra.Command {
	return &cobra.Command{
		Use: "versions JOB", Short: "Versions of a job, newest first", Args: exactly("a job"),
		Long: `List the versions of a job that are kept: the newest, and those that runs were made of.`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			versions, err := client.JobVersions(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.showJobs(versions, func(j *api.JobView) string { return strconv.Itoa(j.Version) }, "no versions")
		},
	}
}

func (a *app) showJobs(jobs []api.JobView, name func(*api.JobView) string, empty string) error {
	now := a.now()
	return a.show(view{
		data: jobs,
		names: func() []string {
			names := make([]string, len(jobs))
			for i := range jobs {
				names[i] = name(&jobs[i])
			}
			return names
		},
		table: func() *table {
			t := &table{columns: []column{
				{title: "JOB"},
				{title: "VERSION", right: true},
				{title: "STORED", right: true},
				{title: "STATE"},
				{title: "FILE"},
				{title: "NAMESPACE", wide: true},
				{title: "HASH", wide: true},
			}}
			for _, j := range jobs {
				state := cell{text: "ready", ink: inkGreen}
				if j.Paused {
					state = cell{text: "paused", ink: inkYellow}
				}
				t.rows = append(t.rows, []cell{
					{text: j.Name},
					{text: strconv.Itoa(j.Version)},
					{text: humanAge(j.CreatedAt, now)},
					state,
					{text: dash(j.Filename)},
					{text: j.Namespace},
					{text: j.Hash},
				})
			}
			return t
		},
		empty: empty,
	})
}

func (a *app) jobShow() *cobra.Command {
	version := 0
	c := &cobra.Command{
		Use: "show JOB", Short: "A job with its source", Args: exactly("a job"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			j, err := client.JobVersion(c.Context(), args[0], version)
			if err != nil {
				return err
			}
			return a.show(view{
				data:  j,
				names: func() []string { return []string{j.Name} },
				text:  func(bool) error { return a.writeJob(j) },
			})
		},
	}
	c.Flags().IntVar(&version, "version", 0, "which version (default: the newest)")
	return c
}

func (a *app) writeJob(j *api.JobView) error {
	f := newFields(a.out)
	f.add("job", "%s, version %d", j.Name, j.Version)
	f.add("namespace", "%s", j.Namespace)
	if j.Paused {
		f.paint("state", inkYellow, "paused: it starts no runs")
	}
	f.add("stored", "%s (%s)", j.CreatedAt.Time().Format(time.RFC3339), humanAge(j.CreatedAt, a.now()))
	f.add("file", "%s", dash(j.Filename))
	for _, file := range j.Files {
		f.add("with", "%s (%s)", file.Path, humanBytes(int64(len(file.Data))))
	}
	if err := f.write(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\n%s", j.Source)
	return err
}

func (a *app) jobDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff JOB [FROM [TO]]", Short: "What changed between two versions",
		Long: `Show what changed from one version of a job to another, as a unified diff. Without TO it
is the newest, without FROM the one before TO that is kept.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 3 {
				return usage("usage: "+c.UseLine(), "%q takes a job and up to two version numbers", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			from, to, err := a.versionsToCompare(c, client, args)
			if err != nil {
				return err
			}
			var sides [2]*api.JobView
			for i, n := range []int{from, to} {
				if sides[i], err = client.JobVersion(c.Context(), args[0], n); err != nil {
					return err
				}
			}
			name := func(j *api.JobView) string { return fmt.Sprintf("%s version %d", j.Name, j.Version) }
			_, err = a.out.Write(diff.Diff(name(sides[0]), []byte(sides[0].Source), name(sides[1]), []byte(sides[1].Source)))
			return err
		},
	}
}

func (a *app) versionsToCompare(c *cobra.Command, client *api.Client, args []string) (from, to int, err error) {
	numbers := make([]int, 0, 2)
	for _, word := range args[1:] {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return 0, 0, usage("`rota job versions "+args[0]+"` lists them", "%q is no number of a version", word)
		}
		numbers = append(numbers, n)
	}
	switch len(numbers) {
	case 2:
		return numbers[0], numbers[1], nil
	case 1:
		return numbers[0], 0, nil
	}
	versions, err := client.JobVersions(c.Context(), args[0])
	if err != nil {
		return 0, 0, err
	}
	if len(versions) < 2 {
		return 0, 0, &fault{
			code: exitNotFound, what: fmt.Sprintf("only version %d of job %s is kept", versions[0].Version, args[0]),
			next: "older ones leave with the last run that was made of them",
		}
	}
	return versions[1].Version, versions[0].Version, nil
}

func (a *app) jobPause(pause bool) *cobra.Command {
	word, short, said := "resume", "Let a job start runs again", "starts runs again"
	if pause {
		word, short, said = "pause", "Let a job start no runs; those that run go on", "starts no runs until it is resumed"
	}
	return &cobra.Command{
		Use: word + " JOB", Short: short, Args: exactly("a job"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			j, err := client.PauseJob(c.Context(), args[0], pause)
			if err != nil {
				return err
			}
			return a.done(j, []string{j.Name}, "job %s %s", j.Name, said)
		},
	}
}

func (a *app) jobDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete JOB", Aliases: []string{"rm"}, Short: "Forget a job; its runs go on", Args: exactly("a job"),
		Long: `Forget a job: it starts no runs by its name any more. Runs that exist go on and keep the
version that they were made of. ` + "`rota apply`" + ` brings the job back.`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.connect()
			if err != nil {
				return err
			}
			j, err := client.DeleteJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.done(j, []string{j.Name}, "job %s is forgotten", j.Name)
		},
	}
}
