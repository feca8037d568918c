package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noArguments refuses arguments; for a command with sub-commands it names the one
// that was probably meant.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		return unknownCommand(c, args[0])
	}
	return usage("see `"+c.CommandPath()+" --help`", "%q takes no arguments, got %q", c.CommandPath(), args[0])
}

// exactly wants one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usage("usage: "+c.UseLine(), "%q needs %s", c.CommandPath(), names[len(args)])
		case len(args) > len(names):
			return usage("usage: "+c.UseLine(), "%q takes %s, %q is too much", c.CommandPath(), strings.Join(names, " and "), args[len(names)])
		}
		return nil
	}
}

// family is a command that only holds others.
func family(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var names []string
			for _, child := range c.Commands() {
				if child.IsAvailableCommand() {
					names = append(names, child.Name())
				}
			}
			return usage("see `"+c.CommandPath()+" --help`", "%q needs one of its commands: %s", c.CommandPath(), strings.Join(names, ", "))
		},
	}
	c.AddCommand(children...)
	return c
}

func unknownCommand(c *cobra.Command, got string) error {
	next := "see `" + c.CommandPath() + " --help`"
	var names []string
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() {
			names = append(names, child.Name())
			names = append(names, child.Aliases...)
		}
	}
	if near := nearest(got, names); near != "" {
		next = fmt.Sprintf("did you mean `%s %s`?", c.CommandPath(), near)
	}
	return usage(next, "%q has no command %q", c.CommandPath(), got)
}

// flagFault words pflag's errors and names the flag that was probably meant.
func flagFault(c *cobra.Command, err error) error {
	next := "see `" + c.CommandPath() + " --help`"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		name := unknown.GetSpecifiedName()
		if near := nearest(name, names); near != "" {
			next = "did you mean --" + near + "?"
		}
		return usage(next, "%q has no flag --%s", c.CommandPath(), name)
	}
	return usage(next, "%s", err)
}

// nearest finds the word that was probably meant; empty if none is close.
func nearest(got string, words []string) string {
	best, distance := "", max(1, len(got)/3)+1
	slices.Sort(words)
	for _, w := range words {
		d := editDistance(strings.ToLower(got), strings.ToLower(w))
		if len(got) >= 3 && strings.HasPrefix(w, got) {
			d = 1
		}
		if d < distance {
			best, distance = w, d
		}
	}
	return best
}

// editDistance is the number of insertions, deletions, substitutions and swaps of
// neighbours between two words.
func editDistance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
