package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
)

// quickWithin bounds `rota bench all --quick`; stopping the nodes comes on top.
const quickWithin = 160 * time.Second

// measures are all there are, in the order of `rota bench all`.
func measures() []*measure {
	return []*measure{machine(), footprint(), ops(), submit(), dispatch(), drain(), latency(), workflow(), backlog(), procs(), failover(), reassign(), million(), fleet(), soak()}
}

// Commands are the sub-commands of `rota bench`. The version goes into the report.
func Commands(version string) []*cobra.Command {
	var out []*cobra.Command
	for _, m := range measures() {
		out = append(out, command(version, m.name, m.short, []*measure{m}))
	}
	together := slices.DeleteFunc(measures(), func(m *measure) bool { return m.alone })
	return append(out, command(version, "all", "Everything but the long ones, one after another", together))
}

// command makes a sub-command of measures. Ctrl-C ends it early with what it has
// found out until then.
func command(version, name, short string, ms []*measure) *cobra.Command {
	s := &settings{}
	c := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, SilenceUsage: true}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVar(&s.quick, "quick", false, "one short repeat, for a first look: everything together in under three minutes")
	f.IntVar(&s.repeats, "repeats", 3, "how often to measure")
	f.DurationVar(&s.span, "for", 5*time.Second, "how long to measure what is done for a while")
	f.StringVar(&s.logStore, "log-store", "bolt", "store of the replicated log: bolt or wal")
	f.IntVar(&s.slots, "slots", 0, "attempts at the same time on a node (default: the node's own)")
	f.StringVar(&s.parent, "dir", "", "directory on the disk to measure (default: that of temporary files)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		format := "table"
		if o := c.Flags().Lookup("output"); o != nil {
			format = o.Value.String()
		}
		if err := s.complete(c.Flags().Changed, format); err != nil {
			return err
		}
		s.note = func(format string, args ...any) {
			fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) //nolint:errcheck // a closed terminal stops nothing
		}
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if s.quick {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, quickWithin)
			defer cancel()
		}
		return perform(ctx, version, s, ms, format, c.OutOrStdout())
	}
	return c
}

// complete fills in what the other flags say, and checks all.
func (s *settings) complete(given func(flag string) bool, format string) error {
	invalid := func(format string, args ...any) error {
		return &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf(format, args...)}
	}
	s.kills = 10
	if s.quick {
		s.kills = 3
		if !given("repeats") {
			s.repeats = 1
		}
		if !given("for") {
			s.span = 2 * time.Second
		}
	}
	switch {
	case format != "table" && format != "json":
		return invalid("-o %q: rota bench speaks table and json", format)
	case s.repeats < 1 || s.repeats > 100:
		return invalid("--repeats %d: want 1 to 100", s.repeats)
	case s.span < 100*time.Millisecond || s.span > 24*time.Hour:
		return invalid("--for %s: want 100ms to 24h", s.span)
	case s.logStore != "bolt" && s.logStore != "wal":
		return invalid("--log-store %q: want bolt or wal", s.logStore)
	case s.slots < 0:
		return invalid("--slots %d: want 1 or more", s.slots)
	}
	return nil
}

// perform measures and reports, also what was found out before an error.
func perform(ctx context.Context, version string, s *settings, ms []*measure, format string, to io.Writer) error {
	r := &Report{
		Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(),
		LogStore: s.logStore, Data: s.parent, Quick: s.quick,
	}
	if r.Data == "" {
		r.Data = os.TempDir()
	}
	r.Disk = diskOf(r.Data)
	var err error
	for _, m := range ms {
		var figures []Figure
		figures, err = m.run(ctx, s)
		r.Figures = append(r.Figures, figures...)
		if err != nil {
			break
		}
	}
	if len(r.Figures) == 0 {
		return err
	}
	if format == "json" {
		return errors.Join(err, r.writeJSON(to))
	}
	return errors.Join(err, r.writeTable(to))
}
