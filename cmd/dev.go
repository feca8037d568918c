package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// DevFlags are the checked flags of rota dev.
type DevFlags struct {
	Nodes    int
	Data     string // absolute; empty: in memory
	Host     string // loopback
	Port     int    // of the first node; node i listens on Port + 10 i
	Demo     bool
	LogLevel string
}

// maxDevNodes bounds a cluster in one process.
const maxDevNodes = 50

func (a *app) devCommand() *cobra.Command {
	var f DevFlags
	var http string
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine, to try things",
		Long: `Run a cluster of several nodes in this process, on loopback, in memory unless --data
names a directory. Ctrl-C ends it and everything that runs on it.

  rota dev
  rota run --wait -- echo hello       (in another terminal)`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.Nodes < 1 || f.Nodes > maxDevNodes {
				return usage("3 nodes show everything", "--nodes %d: want 1 to %d", f.Nodes, maxDevNodes)
			}
			var err error
			if f.Host, f.Port, err = splitAddress("--http", http, DefaultHTTPPort); err != nil {
				return err
			}
			if !isLoopback(f.Host) {
				return usage("for other machines: `rota start`", "--http %s: rota dev stays on loopback, such as 127.0.0.1:%d", http, DefaultHTTPPort)
			}
			if f.Port != 0 && f.Port+10*(f.Nodes-1)+2 > 65535 {
				return usage("", "--http %s: %d nodes need ports up to %d, the last one is 65535", http, f.Nodes, f.Port+10*(f.Nodes-1)+2)
			}
			if err := oneOf("--log-level", f.LogLevel, "trace", "debug", "info", "warn", "error"); err != nil {
				return err
			}
			if f.Data != "" {
				if f.Data, err = filepath.Abs(f.Data); err != nil {
					return fmt.Errorf("find the data directory: %w", err)
				}
			}
			if a.doors.Dev == nil {
				return notBuilt("rota dev", "")
			}
			ctx, streams, stop := a.streams(c.Context())
			defer stop()
			return a.doors.Dev(ctx, f, streams)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.Nodes, "nodes", 3, "number of nodes")
	flags.StringVar(&f.Data, "data", "", "directory to keep the cluster in (default: in memory)")
	flags.StringVar(&http, "http", fmt.Sprintf("127.0.0.1:%d", DefaultHTTPPort), "address of the first node; node i uses port + 10 i")
	flags.BoolVar(&f.Demo, "demo", false, "run a demonstration job, kill the node that runs it, show how it goes on")
	flags.StringVar(&f.LogLevel, "log-level", "error", "trace, debug, info, warn or error")
	return c
}

// streams prepares a door: a context that the first SIGINT or SIGTERM ends, and a
// channel that the second closes. stop must be called at the end.
func (a *app) streams(parent context.Context) (context.Context, Streams, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	hurry := make(chan struct{})
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer close(done)
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		cancel()
		if _, ok := <-signals; ok {
			close(hurry)
		}
	}()
	s := Streams{Stdout: a.out, Stderr: a.err, Terminal: a.err.terminal, Colour: a.err.colour, Hurry: hurry}
	return ctx, s, func() {
		cancel()
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

func (a *app) keeperCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "keeper",
		Short:              "Parent of task processes; started by a node",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if a.doors.Keeper == nil {
				return notBuilt("rota keeper", "")
			}
			return a.doors.Keeper(c.Context(), args, Streams{Stdout: a.out, Stderr: a.err})
		},
	}
}
