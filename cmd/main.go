package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota/api"
)

// Process is what the command line may see of the process it runs in.
type Process struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
}

// Doors are the long-lived parts that the command line starts but does not know:
// the caller fills them in. A nil door makes its command say that this binary
// does not have it.
type Doors struct {
	// Start runs one node until ctx ends.
	Start func(ctx context.Context, flags StartFlags, to Streams) error
	// Dev runs a whole cluster on loopback until ctx ends.
	Dev func(ctx context.Context, flags DevFlags, to Streams) error
	// Keeper is the parent of task processes; its arguments come from an agent.
	Keeper func(ctx context.Context, args []string, to Streams) error
	// Bench are the sub-commands of rota bench.
	Bench []*cobra.Command
	// Checks are looked at by rota doctor where no node answers: this machine's
	// containment level and what else a node would find out about it.
	Checks func(ctx context.Context) []api.Check
	// Version is the binary's; empty: what the build put into this package.
	Version string
}

// Streams is where a door may write, and the signal that follows the first.
type Streams struct {
	Stdout   io.Writer
	Stderr   io.Writer
	Terminal bool // stderr is a terminal
	Colour   bool // stderr takes colour
	// Hurry is closed by the second SIGINT or SIGTERM; the first ends ctx.
	Hurry <-chan struct{}
}

// app is one call of the command line.
type app struct {
	Process
	doors  Doors
	flags  globals
	out    screen // stdout: data only
	err    screen // stderr: progress, hints, warnings, errors
	client *api.Client
}

// globals are the flags that every command takes.
type globals struct {
	address     string
	tokenFile   string
	namespace   string
	output      string
	colour      string
	errorFormat string
}

// Main runs one command and returns its exit code.
func Main(ctx context.Context, p Process, doors Doors) int {
	a := &app{Process: p, doors: doors}
	a.flags.errorFormat = flagAhead(p.Args, "error-format", "text")
	colour := flagAhead(p.Args, "color", "auto")
	a.out = newScreen(p.Stdout, colour, p.Getenv)
	a.err = newScreen(p.Stderr, colour, p.Getenv)

	root := a.root() //nolint:contextcheck // every command gets it from cobra
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	var quiet *quietExit
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &quiet):
		return quiet.code
	case errors.Is(err, syscall.EPIPE):
		return exitFine // the reader of stdout has seen enough
	}
	f := a.faultOf(err)
	a.report(f)
	return f.code
}

// flagAhead looks up a flag before the arguments are parsed, so that an error in
// them is already shown in the form asked for.
func flagAhead(args []string, name, otherwise string) string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if v, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return v
		}
		if arg == "--"+name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return otherwise
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rota",
		Short: "Run work around the clock on machines you own",
		Long: `Rota runs jobs on a cluster of machines: it decides what runs where and when, and
survives the death of any of them.

  rota dev                     a cluster of three nodes on this machine
  rota run job.hcl --wait      run a job and wait for its end
  rota status                  who leads, what runs`,
		Args:              noArguments,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(flagFault)
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.address, "address", "", "addresses of nodes, comma-separated, tried in turn (ROTA_ADDR; default "+defaultAddress+")")
	flags.StringVar(&a.flags.tokenFile, "token-file", "", "file with the token to present (ROTA_TOKEN_FILE)")
	flags.StringVar(&a.flags.namespace, "namespace", "", "namespace to work in (default \"default\")")
	flags.StringVarP(&a.flags.output, "output", "o", "table", "table, wide, json, yaml, name or template=TEMPLATE")
	flags.StringVar(&a.flags.colour, "color", "auto", "auto, always or never (NO_COLOR is obeyed)")
	flags.StringVar(&a.flags.errorFormat, "error-format", "text", "how errors are written: text, json or line")
	a.addCommands(root)
	return root
}

func (a *app) addCommands(root *cobra.Command) {
	root.AddGroup(
		&cobra.Group{ID: "work", Title: "Work:"},
		&cobra.Group{ID: "cluster", Title: "Cluster:"},
		&cobra.Group{ID: "tools", Title: "Tools:"},
	)
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("work", a.runCommand(), a.applyCommand(), a.dispatchCommand(), a.jobCommand(), a.runsCommand(), a.taskCommand(), a.logsCommand(), a.eventsCommand(),
		a.validateCommand(), a.planCommand(), a.fmtCommand())
	group("cluster", a.devCommand(), a.startCommand(), a.statusCommand(), a.nodeCommand(), a.serverCommand(), a.snapshotCommand(), a.doctorCommand())
	root.SetHelpCommandGroupID("tools")
	root.SetCompletionCommandGroupID("tools")
	group("tools", a.versionCommand(), a.benchCommand())
	root.AddCommand(a.keeperCommand())
	root.AddCommand(a.laterCommands()...)
}

// prepare checks the global flags before any command runs.
func (a *app) prepare(*cobra.Command, []string) error {
	switch a.flags.colour {
	case "auto", "always", "never":
	default:
		return usage("", "--color %q: want auto, always or never", a.flags.colour)
	}
	switch a.flags.errorFormat {
	case "text", "json", "line":
	default:
		wrong := a.flags.errorFormat
		a.flags.errorFormat = "text"
		return usage("", "--error-format %q: want text, json or line", wrong)
	}
	return checkOutput(a.flags.output)
}

// note writes progress to stderr.
func (a *app) note(format string, args ...any) {
	a.err.line(fmt.Sprintf(format, args...))
}
