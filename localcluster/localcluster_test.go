package localcluster

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pretender is a program that acts like a node that only waits for its end.
const pretender = `#!/bin/sh
trap 'exit 0' TERM
echo "$@"
touch "$3.up"
while :; do sleep 0.05; done
`

func startPretenders(t *testing.T) *Cluster {
	t.Helper()
	cfg, err := DefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Parent, cfg.Port, cfg.Executable = t.TempDir(), 19720, filepath.Join(t.TempDir(), "rota")
	cfg.Args = []string{"--log-store", "wal"}
	if err := os.WriteFile(cfg.Executable, []byte(pretender), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
			t.Errorf("the directory is still there: %v", err)
		}
	})
	for _, n := range c.Nodes() {
		awaitUp(t, n)
	}
	return c
}

// awaitUp waits until the node's process has begun its work.
func awaitUp(t *testing.T, n *Node) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(n.data + ".up"); err == nil {
			return
		}
		if time.Now().After(until) || Pause(t.Context()) != nil {
			t.Fatalf("node %s did not start: %s", n.Name(), n.said())
		}
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestClosedClusterLeavesNobodyAlive(t *testing.T) {
	c := startPretenders(t)
	var pids []int
	for _, n := range c.Nodes() {
		pids = append(pids, n.PID())
	}
	if err := c.Nodes()[0].Kill(); err != nil { // a dead node is no trouble
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
}

func TestKilledNodeStartsAgainAsItself(t *testing.T) {
	c := startPretenders(t)
	n, err := c.Node("n2")
	if err != nil {
		t.Fatal(err)
	}
	first := n.said()
	if want := "--http " + n.Address() + " --bootstrap-expect 3 --join " + c.Nodes()[0].Address(); !strings.Contains(first, want) || !strings.HasSuffix(first, "--log-store wal") {
		t.Errorf("it was started with %q, want %q in it", first, want)
	}
	old := n.PID()
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if alive(old) {
		t.Error("a killed node is alive")
	}
	if err := os.Remove(n.data + ".up"); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitUp(t, n)
	if got := n.said(); got != first+"\n"+first {
		t.Errorf("it said %q at first and now %q in all", first, got)
	}
}

func TestDeadNodeEndsTheWaitForTheOthers(t *testing.T) {
	c := startPretenders(t)
	if err := c.Nodes()[1].Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "node n2 ended: start --data") {
		t.Errorf("the error is %v, want one that says which node ended and what it wrote", err)
	}
}

func TestTakenPortIsPassedOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing hangs on it
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	taken = min(taken, 60000)
	got, err := freePorts("127.0.0.1", taken-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got <= taken && taken < got+portsEach {
		t.Errorf("port %d is taken, and the node was given %d to %d", taken, got, got+portsEach-1)
	}
}

func TestKeeperIsKnownByItsDirectory(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{[]string{"/bin/rota", "keeper", "--data", "/tmp/a/n1", "--ready", "3"}, true},
		{[]string{"/proc/self/exe", "keeper", "--why", "x", "--data", "/tmp/a/n1", "--in-ns"}, true},
		{[]string{"/bin/rota", "keeper", "--data", "/tmp/a/n10"}, false},
		{[]string{"/bin/rota", "keeper", "--why", "/tmp/a/n1", "--data", "/tmp/b"}, false},
		{[]string{"/bin/rota", "start", "--data", "/tmp/a/n1"}, false},
		{[]string{"less", "keeper"}, false},
		{[]string{""}, false},
	} {
		if got := isKeeper(strings.Join(c.args, "\x00")+"\x00", "/tmp/a/n1"); got != c.want {
			t.Errorf("%q: %v, want %v", c.args, got, c.want)
		}
	}
}
