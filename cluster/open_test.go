package cluster_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
)

// TestWhatCannotBeOpenedSaysWhatToDo. (Source: the project's first issue, "Bad
// input and bad days".)
func TestWhatCannotBeOpenedSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cases := []struct {
		name   string
		change func(cfg *cluster.Config) error
		want   []string
	}{
		{"Raft's port is taken", func(c *cluster.Config) error { c.RaftBind = taken.Addr().String(); return nil }, []string{"Raft port", "--raft", "another"}},
		{"gossip's port is taken", func(c *cluster.Config) error { c.GossipBind = taken.Addr().String(); return nil }, []string{"gossip port", "--gossip", "another"}},
		{"nobody could dial it", func(c *cluster.Config) error { c.RaftBind = "0.0.0.0:0"; return nil }, []string{"--advertise"}},
		{"a file where the directory should be", func(c *cluster.Config) error {
			c.DataDir = filepath.Join(c.DataDir, "file")
			return os.WriteFile(c.DataDir, nil, 0o600)
		}, []string{"--data"}},
		{"a read-only directory", func(c *cluster.Config) error {
			if os.Getuid() == 0 {
				c.DataDir = "/proc/rota" // root may write anywhere else
				return nil
			}
			return os.Chmod(c.DataDir, 0o500)
		}, []string{"--data"}},
		{"a torn ID", func(c *cluster.Config) error {
			return os.WriteFile(filepath.Join(c.DataDir, "node-id"), []byte("what"), 0o600)
		}, []string{"node-id", "backup"}},
		{"a torn membership", func(c *cluster.Config) error {
			return os.WriteFile(filepath.Join(c.DataDir, "cluster.json"), []byte("{"), 0o600)
		}, []string{"cluster.json", "another node"}},
		{"no role", func(c *cluster.Config) error { c.Roles = nil; return nil }, []string{"role"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := realConfig(t, 0)
			if err := c.change(&cfg); err != nil {
				t.Fatal(err)
			}
			opened, err := cluster.Open(cfg, newWire())
			if err == nil {
				_ = opened.Close()
				t.Fatal("it opened")
			}
			t.Log(err)
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// TestTwoProcessesDoNotShareADirectory, nor two kinds of logs.
func TestTwoProcessesDoNotShareADirectory(t *testing.T) {
	cfg := realConfig(t, 0)
	first, err := cluster.Open(cfg, newWire())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Open(cfg, newWire()); !errors.Is(err, rota.ErrConflict) || !strings.Contains(err.Error(), "another running node") {
		t.Errorf("a second: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.LogStore = cluster.StoreWAL
	if _, err := cluster.Open(cfg, newWire()); !errors.Is(err, rota.ErrConflict) || !strings.Contains(err.Error(), "--log-store bolt") {
		t.Errorf("another store: %v", err)
	}
	cfg.LogStore = cluster.StoreBolt
	again, err := cluster.Open(cfg, newWire())
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != first.ID() {
		t.Error("it came back as another node")
	}
	_ = again.Close()
}

// TestANodeThatLostItsLogDoesNotComeBackAsTheSame: it would vote a second time.
func TestANodeThatLostItsLogDoesNotComeBackAsTheSame(t *testing.T) {
	w := newWire()
	cfg := realConfig(t, 0)
	cfg.BootstrapExpect = 1
	n := startReal(t, w, cfg)
	realLeader(t, []*realNode{n})
	if _, err := n.Propose(t.Context(), submit(1)); err != nil {
		t.Fatal(err)
	}
	n.stop(t)
	if err := os.RemoveAll(filepath.Join(cfg.DataDir, "raft")); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Open(cfg, w); !errors.Is(err, cluster.ErrLostEntries) || !strings.Contains(err.Error(), "rota server recover") {
		t.Errorf("opened with: %v", err)
	}
}

// TestATooLongNameIsRefusedBeforeAnybodyHearsIt: gossip carries 512 bytes.
func TestATooLongNameIsRefusedBeforeAnybodyHearsIt(t *testing.T) {
	cfg := realConfig(t, 0)
	cfg.BootstrapExpect, cfg.Name = 1, strings.Repeat("n", 500)
	c, err := cluster.Open(cfg, newWire())
	if err == nil {
		err = c.Run(t.Context())
	}
	if !errors.Is(err, rota.ErrInvalid) || !strings.Contains(err.Error(), "--name") {
		t.Errorf("it ended with: %v", err)
	}
}
