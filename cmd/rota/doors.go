package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/bench"
	"github.com/rota-sched/rota/cmd"
	"github.com/rota-sched/rota/node"
)

// doors are the long-lived parts behind the command line.
func doors() cmd.Doors {
	return cmd.Doors{
		Start: start,
		Dev:   dev,
		Keeper: func(ctx context.Context, args []string, _ cmd.Streams) error {
			return node.KeeperMain(ctx, args)
		},
		Bench:   bench.Commands(version),
		Version: version,
	}
}

// start runs one node until ctx ends.
func start(ctx context.Context, f cmd.StartFlags, to cmd.Streams) error {
	boundMemory(f.MemoryBytes)
	cfg := node.DefaultConfig()
	cfg.Data, cfg.Name, cfg.Roles = f.Data, f.Name, f.Roles
	cfg.HTTP, cfg.Raft, cfg.Gossip, cfg.Advertise = f.HTTP, f.Raft, f.Gossip, f.Advertise
	cfg.Join, cfg.BootstrapExpect, cfg.LogStore = f.Join, f.BootstrapExpect, f.LogStore
	cfg.Capabilities, cfg.Labels, cfg.Pool, cfg.Slots = f.Capabilities, f.Labels, f.Pool, f.Slots
	cfg.GPUs, cfg.DetectGPUs, cfg.NeedGPUs = f.GPU.Fake, f.GPU.Detect, f.GPU.Required
	cfg.SteerGC = steersGC()
	if f.Fast {
		cfg.Times = rota.FastLeaseTimes()
	}
	cfg.Version = version
	cfg.Logger = logger(f.LogLevel, to.Stderr)
	cfg.Fatal = func() { os.Exit(1) }
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return err
	}
	go func() { // ends with the command, at the latest with the process
		select {
		case <-to.Hurry:
			n.Hurry()
		case <-n.Done():
		}
	}()
	if _, err := fmt.Fprintf(to.Stderr, "%s listens on http://%s\n", n.Name(), n.Address()); err != nil {
		return err
	}
	return n.Run(ctx)
}

func logger(level string, to io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "rota", Level: hclog.LevelFromString(level), Output: to})
}
