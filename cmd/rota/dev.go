package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/rota-sched/rota/cmd"
	"github.com/rota-sched/rota/node"
)

// dev runs a whole cluster in this process until ctx ends, or the demonstration.
func dev(ctx context.Context, f cmd.DevFlags, to cmd.Streams) error {
	if f.Demo {
		return demo(ctx, f, to)
	}
	data := f.Data
	if data == "" {
		dir, err := os.MkdirTemp("", "rota-dev-")
		if err != nil {
			return fmt.Errorf("make a directory for the nodes: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // what stays of it is in the temporary directory
		data = dir
	}
	boundMemory(0)
	nodes, err := openDev(ctx, f, data, to)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(to.Stderr, "%d nodes, the first at http://%s; Ctrl-C ends them and what runs on them\n", len(nodes), nodes[0].Address()); err != nil {
		return err
	}
	return runDev(ctx, nodes)
}

// openDev opens the nodes; on an error none stays open.
func openDev(ctx context.Context, f cmd.DevFlags, data string, to cmd.Streams) ([]*node.Node, error) {
	var nodes []*node.Node
	for i := range f.Nodes {
		n, err := node.Open(ctx, devConfig(f, data, i, to))
		if err != nil {
			for _, opened := range nodes {
				err = errors.Join(err, opened.Close())
			}
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func devConfig(f cmd.DevFlags, data string, i int, to cmd.Streams) node.Config {
	at := func(i, offset int) string { return net.JoinHostPort(f.Host, strconv.Itoa(f.Port+10*i+offset)) }
	cfg := node.DefaultConfig()
	cfg.Name = fmt.Sprintf("n%d", i+1)
	cfg.Data, cfg.Memory = filepath.Join(data, cfg.Name), f.Data == ""
	cfg.HTTP, cfg.Raft, cfg.Gossip = at(i, 0), at(i, 1), at(i, 2)
	cfg.DetectGPUs, cfg.Version, cfg.SteerGC = true, version, steersGC()
	cfg.Logger = logger(f.LogLevel, to.Stderr).Named(cfg.Name)
	if cfg.BootstrapExpect = min(f.Nodes, 3); i >= 3 {
		cfg.BootstrapExpect = 0
	}
	for j := range f.Nodes {
		if j != i {
			cfg.Join = append(cfg.Join, at(j, 0))
		}
	}
	return cfg
}

// runDev runs the nodes until ctx ends or one of them fails; their tasks end with
// them.
func runDev(ctx context.Context, nodes []*node.Node) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		n.Hurry()
		wg.Go(func() {
			defer cancel()
			errs[i] = n.Run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
