package node

import (
	"fmt"
	"net"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
)

// Config is all that one node needs to know. Start from DefaultConfig; addresses
// are host:port.
type Config struct {
	Data            string // the node's data directory; attempts, logs and the keeper's records are always on disk
	Memory          bool   // keep the replicated log and state in memory only: for trials
	Name            string
	Roles           []rota.Role
	HTTP            string // to listen on
	Raft            string
	Gossip          string
	Advertise       string // host others reach this node at; empty: the host it listens on
	Join            []string
	BootstrapExpect int
	LogStore        string // bolt or wal
	Times           rota.LeaseTimes
	Capabilities    []string
	Models          []string
	Labels          []rota.Pair
	Pool            string
	Slots           int64      // 0: 512 a core
	SteerGC         bool       // set the garbage collector's pace by what is alive
	GPUs            []rota.GPU // announced instead of what the machine has; nil: none
	DetectGPUs      bool
	NeedGPUs        bool   // finding none is an error
	Executable      string // the binary that runs as the keeper; empty: this one
	Version         string
	Logger          hclog.Logger
	// Fatal ends the process after the reason was logged: the node's store cannot be
	// trusted or does not answer, and Run may never return. Nil: it is only logged.
	Fatal func()
}

// DefaultConfig is a node that is server and worker on loopback.
func DefaultConfig() Config {
	return Config{
		Roles: []rota.Role{rota.RoleServer, rota.RoleWorker},
		HTTP:  "127.0.0.1:8420", Raft: "127.0.0.1:8421", Gossip: "127.0.0.1:8422",
		LogStore: "bolt", Times: rota.DefaultLeaseTimes(), Version: "dev",
	}
}

func (c *Config) hasRole(r rota.Role) bool { return slices.Contains(c.Roles, r) }

// check completes the configuration and refuses what contradicts itself.
func (c *Config) check() error {
	if c.Data == "" {
		return &rota.Refusal{Kind: rota.KindInvalid, Detail: "a node needs a data directory: attempts and logs are kept there"}
	}
	if err := c.Times.Check(); err != nil {
		return err
	}
	if c.Name == "" {
		c.Name = hostname()
	}
	return nil
}

// advertise is the address that others are told for the HTTP door.
func (c *Config) advertise(bound net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("the HTTP door's address: %w", err)
	}
	if c.Advertise != "" {
		host = c.Advertise
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return "", &rota.Refusal{Kind: rota.KindInvalid, Detail: fmt.Sprintf(
			"the node listens on %s, which others cannot dial: say where they reach it with --advertise HOST", bound)}
	}
	return net.JoinHostPort(host, port), nil
}

// advertised is a listening address under the advertised host; empty: as bound.
func (c *Config) advertised(bind string) string {
	if c.Advertise == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(bind)
	if err != nil {
		return "" // the part that binds it says what is wrong
	}
	return net.JoinHostPort(c.Advertise, port)
}
