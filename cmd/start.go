package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
)

// DefaultHTTPPort is the port of the HTTP door; Raft and gossip follow on the two
// ports above it.
const DefaultHTTPPort = 8420

// StartFlags are the checked flags of rota start.
type StartFlags struct {
	Data            string // absolute
	HasData         bool   // the data directory belongs to a cluster: Join and BootstrapExpect are ignored
	Name            string // empty: the host's name
	Roles           []rota.Role
	BootstrapExpect int      // 0: not given
	Join            []string // host:port of HTTP doors
	HTTP            string   // host:port to listen on
	Raft            string   // host:port; the HTTP host, port + 1 unless given
	Gossip          string   // host:port; the HTTP host, port + 2 unless given
	Advertise       string   // host others reach this node at; empty: the host it listens on
	Insecure        bool     // listen beyond loopback without a cluster secret
	Fast            bool     // profile fast: shorter leases
	LogStore        string   // bolt or wal
	Capabilities    []string // sorted
	Labels          []rota.Pair
	Slots           int64 // 0: 512 a core
	MemoryBytes     int64 // bound of the process's memory; 0: half of the machine's
	GPU             GPUFlag
	Pool            string
	LogLevel        string // trace, debug, info, warn, error
}

// GPUFlag says where a node's devices come from.
type GPUFlag struct {
	Detect   bool       // ask the driver; finding none is fine unless Required
	Required bool       // --gpu auto was written: finding none is an error worth saying
	Fake     []rota.GPU // announced instead, for tests and demos
}

// rawStart is what pflag fills in.
type rawStart struct {
	StartFlags
	configs []string
	roles   []string
	labels  []string
	joins   []string
	memory  string
	gpu     string
	profile string
}

func (a *app) startCommand() *cobra.Command {
	var raw rawStart
	c := &cobra.Command{
		Use:   "start --data DIR (--bootstrap-expect N | --join HOST)",
		Short: "Run one node of a cluster",
		Long: `Run one node of a cluster in the foreground.

Three servers found a cluster, each on its own machine; on one machine each with its own ports:

  rota start --data n1 --name n1 --bootstrap-expect 3
  rota start --data n2 --name n2 --bootstrap-expect 3 --http 127.0.0.1:8430 --join 127.0.0.1:8420
  rota start --data n3 --name n3 --bootstrap-expect 3 --http 127.0.0.1:8440 --join 127.0.0.1:8420

A node whose data directory belongs to a cluster goes on where it stopped and ignores both flags.
SIGINT or SIGTERM is a planned stop: tasks go on for a while, in case the node returns.
A second signal stops the tasks, too.`,
		Args: noArguments,
	}
	bindStart(c, &raw)
	c.RunE = func(c *cobra.Command, _ []string) error {
		flags, err := raw.check(c.Flags().Changed)
		if err != nil {
			return err
		}
		if a.doors.Start == nil {
			return notBuilt("rota start", "")
		}
		for _, ignored := range []string{"join", "bootstrap-expect"} {
			if flags.HasData && c.Flags().Changed(ignored) {
				a.note("the data directory %s is in use already: --%s is ignored", flags.Data, ignored)
			}
		}
		ctx, streams, stop := a.streams(c.Context())
		defer stop()
		return a.doors.Start(ctx, flags, streams)
	}
	return c
}

func bindStart(c *cobra.Command, raw *rawStart) {
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&raw.Data, "data", "", "directory for everything this node keeps (required)")
	f.StringVar(&raw.Name, "name", "", "name of the node (default: the host's name)")
	f.StringArrayVar(&raw.configs, "config", nil, "configuration file (may be repeated)")
	f.StringSliceVar(&raw.roles, "role", nil, "server, worker or both (default server,worker)")
	f.IntVar(&raw.BootstrapExpect, "bootstrap-expect", 0, "found a cluster with this many servers")
	f.StringSliceVar(&raw.joins, "join", nil, "HOST[:8420] of a node of the cluster to join (may be repeated)")
	f.StringVar(&raw.HTTP, "http", "127.0.0.1:8420", "address of the HTTP door")
	f.StringVar(&raw.Raft, "raft", "", "address for Raft (default: as --http, port + 1)")
	f.StringVar(&raw.Gossip, "gossip", "", "address for gossip, TCP and UDP (default: as --http, port + 2)")
	f.StringVar(&raw.Advertise, "advertise", "", "host at which others reach this node")
	f.BoolVar(&raw.Insecure, "insecure", false, "listen beyond loopback although nobody is asked who they are (a lab)")
	f.StringVar(&raw.profile, "profile", "default", "lease times: default or fast")
	f.StringVar(&raw.LogStore, "log-store", "bolt", "store of the replicated log: bolt or wal")
	f.StringArrayVar(&raw.Capabilities, "capability", nil, "what this node can do (may be repeated)")
	f.StringArrayVar(&raw.labels, "label", nil, "k=v for constraints (may be repeated)")
	f.Int64Var(&raw.Slots, "slots", 0, "attempts at the same time (default 512 a core)")
	f.StringVar(&raw.memory, "memory", "", "most memory the node itself may use, such as 8GiB (default: half of the machine's)")
	f.StringVar(&raw.gpu, "gpu", "", "none, auto, or fake:MODEL,MEM,COUNT (default: what is there)")
	f.StringVar(&raw.Pool, "pool", "", "pool the node belongs to")
	f.StringVar(&raw.LogLevel, "log-level", "info", "trace, debug, info, warn or error")
}

func (raw *rawStart) check(given func(flag string) bool) (StartFlags, error) {
	f := raw.StartFlags
	if len(raw.configs) > 0 {
		return f, notBuilt("--config", "give the settings as flags: `rota start --help`")
	}
	if f.Data == "" {
		return f, usage("name a directory that only this node uses: --data ./data", "--data is missing")
	}
	var err error
	if f.Data, err = filepath.Abs(f.Data); err != nil {
		return f, fmt.Errorf("find the data directory: %w", err)
	}
	if f.HasData, err = hasData(f.Data); err != nil {
		return f, err
	}
	steps := []func() error{
		func() error { f.Roles, err = parseRoles(raw.roles); return err },
		func() error { f.Join, err = parseJoins(raw.joins); return err },
		func() error { return checkBirth(f, given) },
		func() error { return f.addresses() },
		func() error { f.Labels, err = parsePairs("--label", raw.labels); return err },
		func() error { f.GPU, err = parseGPU(raw.gpu); return err },
		func() error { f.MemoryBytes, err = parseMemory(raw.memory); return err },
		func() error { f.Capabilities, err = parseCapabilities(f.Capabilities); return err },
		func() error {
			f.Fast = raw.profile == "fast"
			return oneOf("--profile", raw.profile, "default", "fast")
		},
		func() error { return oneOf("--log-store", f.LogStore, "bolt", "wal") },
		func() error { return oneOf("--log-level", f.LogLevel, "trace", "debug", "info", "warn", "error") },
		func() error {
			if given("slots") && f.Slots < 1 {
				return usage("leave it out for 512 a core", "--slots %d: want 1 or more", f.Slots)
			}
			return nil
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return f, err
		}
	}
	return f, nil
}

// hasData reports whether a data directory belongs to a cluster: a start that never came
// so far leaves nothing that counts.
func hasData(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, &fault{
			code: exitUsage, what: fmt.Sprintf("the data directory %s cannot be read", dir), why: err.Error(),
			next: "give this node a directory of its own that it may write: --data DIR", cause: err,
		}
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "cluster.json" }), nil
}

// checkBirth demands to know how a node without data comes to its cluster.
func checkBirth(f StartFlags, given func(flag string) bool) error {
	worker := !slices.Contains(f.Roles, rota.RoleServer)
	if given("bootstrap-expect") && (f.BootstrapExpect < 1 || f.BootstrapExpect > 9) {
		return usage("3 servers survive the loss of one, 5 of two", "--bootstrap-expect %d: want the number of servers that found the cluster, 1 to 9", f.BootstrapExpect)
	}
	if f.HasData {
		return nil
	}
	switch {
	case worker && given("bootstrap-expect"):
		return usage("start it with --join HOST", "--bootstrap-expect is for servers: with --role worker this node holds no replica")
	case worker && len(f.Join) == 0:
		return usage("name any node of the cluster: --join HOST[:8420]", "a worker without data needs --join")
	case f.BootstrapExpect == 0 && len(f.Join) == 0:
		return usage("to found a cluster: --bootstrap-expect 3 on three nodes (1 for a cluster that starts alone)\n"+
			"to become part of one: --join HOST[:8420] of any of its nodes\n"+
			"only to look around: `rota dev`",
			"%s holds no data of a node: neither --join nor --bootstrap-expect says where it belongs", f.Data)
	}
	return nil
}

// addresses completes and checks the three addresses to listen on.
func (f *StartFlags) addresses() error {
	host, port, err := splitAddress("--http", f.HTTP, DefaultHTTPPort)
	if err != nil {
		return err
	}
	f.HTTP = net.JoinHostPort(host, strconv.Itoa(port))
	above := func(n int) int {
		if port == 0 {
			return 0
		}
		return port + n
	}
	for _, d := range []struct {
		flag string
		to   *string
		port int
	}{{"--raft", &f.Raft, above(1)}, {"--gossip", &f.Gossip, above(2)}} {
		if *d.to == "" {
			*d.to = net.JoinHostPort(host, strconv.Itoa(d.port))
			continue
		}
		h, p, err := splitAddress(d.flag, *d.to, d.port)
		if err != nil {
			return err
		}
		*d.to = net.JoinHostPort(h, strconv.Itoa(p))
	}
	return f.checkReach()
}

// checkReach keeps a node without a secret on loopback unless --insecure was
// given. (Source: DESIGN.md, section 11.)
func (f *StartFlags) checkReach() error {
	open := false
	for _, listen := range [][2]string{{"--http", f.HTTP}, {"--raft", f.Raft}, {"--gossip", f.Gossip}} {
		flag, address := listen[0], listen[1]
		host, _, _ := net.SplitHostPort(address)
		if isLoopback(host) {
			continue
		}
		open = true
		if !f.Insecure {
			return usage("stay on this machine: leave "+flag+" out, or give it 127.0.0.1\n"+
				"in a lab whose network you trust: add --insecure\n"+
				"join tokens, which make it safe, are not built yet",
				"%s %s can be reached from other machines, and nobody would be asked who they are", flag, address)
		}
		if ip := net.ParseIP(host); (host == "" || ip != nil && ip.IsUnspecified()) && f.Advertise == "" {
			return usage("add --advertise HOST: the name or address of this machine in that network",
				"%s %s listens everywhere, but others need one address to reach this node at", flag, address)
		}
	}
	if f.Advertise == "" {
		return nil
	}
	if strings.ContainsAny(f.Advertise, "/ ") || strings.Contains(f.Advertise, ":") && net.ParseIP(f.Advertise) == nil {
		return usage("the ports are those of --http, --raft and --gossip", "--advertise %q: want a host name or IP address without a port", f.Advertise)
	}
	if !open && !isLoopback(f.Advertise) {
		return usage("listen where others can reach it: --http "+net.JoinHostPort(f.Advertise, strconv.Itoa(DefaultHTTPPort))+" --insecure",
			"--advertise %s names an address at which nothing listens: this node stays on loopback", f.Advertise)
	}
	return nil
}
