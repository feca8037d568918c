package localcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rota-sched/rota/api"
)

// How long the parts of a stop may take, and how often is looked.
const (
	stopPatience   = 8 * time.Second  // of a node that was asked to end with its tasks
	keeperPatience = 10 * time.Second // longer than a keeper needs to end its tasks
	look           = 20 * time.Millisecond
	askAgain       = 100 * time.Millisecond // between two signals of a stop
)

// Config of a cluster. Start from DefaultConfig.
type Config struct {
	Nodes      int
	Host       string   // they listen at
	Port       int      // of the first node; where it is taken, free ones above it are
	Parent     string   // directory to make the cluster's own in; empty: the system's for temporary files
	Prefix     string   // of that directory's name
	Executable string   // a rota binary
	Args       []string // for `rota start`, beside those that make it a node of this cluster
}

// DefaultConfig is three nodes of this very program on loopback.
func DefaultConfig() (Config, error) {
	self, err := os.Executable()
	if err != nil {
		return Config{}, fmt.Errorf("find this program: %w", err)
	}
	return Config{Nodes: 3, Host: "127.0.0.1", Port: 8420, Prefix: "rota-local-", Executable: self}, nil
}

// Cluster is some nodes and the directory of all they keep.
type Cluster struct {
	dir   string
	nodes []*Node
}

// Start starts the nodes and does not wait for them. After an error nothing of them
// is left.
func Start(ctx context.Context, cfg Config) (c *Cluster, err error) {
	port, err := freePorts(cfg.Host, cfg.Port, cfg.Nodes)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cfg.Parent, cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("make a directory for the nodes: %w", err)
	}
	c = &Cluster{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	var addresses []string
	for i := range cfg.Nodes {
		addresses = append(addresses, net.JoinHostPort(cfg.Host, strconv.Itoa(port+portsEach*i)))
	}
	for i, http := range addresses {
		n := &Node{name: fmt.Sprintf("n%d", i+1), http: http, executable: cfg.Executable}
		n.data = filepath.Join(dir, n.name)
		n.args = []string{"start", "--data", n.data, "--name", n.name, "--http", http, "--bootstrap-expect", strconv.Itoa(cfg.Nodes)}
		for _, other := range addresses {
			if other != http {
				n.args = append(n.args, "--join", other)
			}
		}
		n.args = append(n.args, cfg.Args...)
		if n.client, err = api.NewClient([]string{http}, api.Options{Patience: -1}); err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
		if err := n.Start(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Nodes are the cluster's nodes, by number.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Dir is the directory of everything the nodes keep; Close removes it.
func (c *Cluster) Dir() string { return c.dir }

// Addresses are where the nodes' HTTP doors are.
func (c *Cluster) Addresses() []string {
	out := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		out[i] = n.http
	}
	return out
}

// Node finds a node by its name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q in this cluster", name)
}

// Ready waits until every node says that all of them are ready under the same
// leader, and returns the leader's name. A node that ends meanwhile is an error
// with what it said.
func (c *Cluster) Ready(ctx context.Context) (leader string, err error) {
	for {
		leader, why := c.agree(ctx)
		if why == nil {
			return leader, nil
		}
		for _, n := range c.nodes {
			select {
			case <-n.Ended():
				return "", fmt.Errorf("node %s ended: %s", n.name, n.said())
			default:
			}
		}
		if err := Pause(ctx); err != nil {
			return "", fmt.Errorf("wait for the nodes (%w): %w", why, err)
		}
	}
}

// agree asks all nodes whether all are ready under one leader, and which.
func (c *Cluster) agree(ctx context.Context) (leader string, err error) {
	for _, n := range c.nodes {
		name, err := n.agree(ctx, len(c.nodes))
		switch {
		case err != nil:
			return "", fmt.Errorf("node %s: %w", n.name, err)
		case leader != "" && name != leader:
			return "", fmt.Errorf("two nodes name two leaders, %s and %s", leader, name)
		}
		leader = name
	}
	return leader, nil
}

// Pause waits a moment before the next look.
func Pause(ctx context.Context) error {
	t := time.NewTimer(look)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Close ends the nodes with their tasks and keepers, and removes what they kept.
func (c *Cluster) Close() error {
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes)+1)
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = n.close() })
	}
	wg.Wait()
	if err := os.RemoveAll(c.dir); err != nil {
		errs[len(c.nodes)] = fmt.Errorf("remove the nodes' directory: %w", err)
	}
	return errors.Join(errs...)
}

// portsEach is how many ports lie between two nodes; a node uses three.
const portsEach = 10

// freePorts finds a first port so that all nodes find theirs free: the one asked
// for, or one above it.
func freePorts(host string, from, nodes int) (int, error) {
	need := portsEach * nodes
	for base := from; base < from+2000; base += need {
		free, err := allFree(host, base, need)
		if err != nil {
			return 0, err
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row from %d on: name another first port", need, from)
}

func allFree(host string, base, count int) (bool, error) {
	for i := range count {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(base+i))) //nolint:noctx // it does not wait
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for a free port: %w", err)
		}
		if err := l.Close(); err != nil {
			return false, fmt.Errorf("look for a free port: %w", err)
		}
	}
	return true, nil
}
