package cmd

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota/api"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Version of this binary", Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			v := api.VersionView{Version: a.version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			return a.show(view{
				data:  v,
				names: func() []string { return []string{v.Version} },
				text: func(bool) error {
					_, err := fmt.Fprintf(a.out, "rota %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
					return err
				},
			})
		},
	}
}

func (a *app) benchCommand() *cobra.Command {
	if len(a.doors.Bench) == 0 {
		c := a.later("bench")
		c.DisableFlagParsing = true
		return c
	}
	return family("bench", "Measure a cluster and this machine", a.doors.Bench...)
}

// later is a command that the contract names and this version does not have.
func (a *app) later(path string) *cobra.Command {
	name := path[strings.LastIndexByte(path, ' ')+1:]
	return &cobra.Command{
		Use: name, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return notBuilt("rota "+path, "`rota --help` lists what is")
		},
	}
}

// laterCommands are the commands of the contract that are not built yet.
func (a *app) laterCommands() []*cobra.Command {
	var commands []*cobra.Command
	for name := range strings.FieldsSeq("dead approve reject event signal budget cost secret artifact top token mcp") {
		commands = append(commands, a.later(name))
	}
	return commands
}
