package localcluster

import (
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary act as the nodes and keepers that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "start" {
		os.Exit(pretendNode(os.Args[3]))
	}
	if len(os.Args) > 3 && os.Args[1] == "keeper" {
		os.Exit(pretendKeeper(os.Args[3], slices.Contains(os.Args, "busy")))
	}
	os.Exit(m.Run())
}

// pretendNode starts a keeper, says how it was called, and waits for SIGTERM.
func pretendNode(data string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	if err := os.MkdirAll(filepath.Join(data, "keeper"), 0o700); err != nil {
		return 1
	}
	args := []string{"keeper", "--data", data}
	if slices.Contains(os.Args, "busy") {
		args = append(args, "busy")
	}
	_, _ = os.Stdout.WriteString(strings.Join(os.Args[1:], " ") + "\n")
	keeper := exec.Command(os.Args[0], args...)
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := keeper.Start(); err != nil {
		return 1
	}
	<-signals
	return 0
}

// pretendKeeper holds its lock for ever; a busy one until its task has ended, of
// which it leaves a note.
func pretendKeeper(data string, busy bool) int {
	lock, err := os.Create(filepath.Join(data, "keeper", "lock"))
	if err != nil || syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) != nil {
		return 1
	}
	task := exec.Command("sleep", "1")
	if busy && task.Start() != nil {
		return 1
	}
	if err := os.WriteFile(data+".up", nil, 0o600); err != nil {
		return 1
	}
	if !busy {
		asked := make(chan os.Signal, 1) // a signal that nobody sends
		signal.Notify(asked, syscall.SIGUSR1)
		<-asked
	}
	if task.Wait() != nil {
		return 1
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(data)), filepath.Base(data)+".done"), nil, 0o600); err != nil {
		return 1
	}
	return 0
}

func startPretenders(t *testing.T, args ...string) *Cluster {
	t.Helper()
	cfg, err := DefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Parent, cfg.Port, cfg.Args = t.TempDir(), 19720, args
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

// alive reports whether a process is there and has not ended: nobody may have
// waited for it yet.
func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// awaitKeeper waits until the node's keeper can be told by its command line: a
// process that was forked shows its parent's until it has executed.
func awaitKeeper(t *testing.T, n *Node) []*os.Process {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; {
		keepers, err := n.keepers()
		if err == nil && len(keepers) == 1 {
			return keepers
		}
		if time.Now().After(until) || Pause(t.Context()) != nil {
			t.Fatalf("%d keepers of node %s, error %v", len(keepers), n.Name(), err)
		}
	}
}

func TestClosedClusterLeavesNobodyAlive(t *testing.T) {
	c := startPretenders(t)
	var pids []int
	for _, n := range c.Nodes() {
		keepers := awaitKeeper(t, n)
		pids = append(pids, n.PID(), keepers[0].Pid)
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

func TestHostThatIsGoneTakesItsKeeperAlong(t *testing.T) {
	c := startPretenders(t)
	n := c.Nodes()[1]
	awaitKeeper(t, n)
	if err := n.KillHost(); err != nil {
		t.Fatal(err)
	}
	if err := unlocked(filepath.Join(n.data, "keeper", "lock"), 10*time.Second); err != nil {
		t.Error(err)
	}
	if alive(n.PID()) {
		t.Error("the node is alive")
	}
	for _, other := range []*Node{c.Nodes()[0], c.Nodes()[2]} {
		if keepers, err := other.keepers(); err != nil || len(keepers) != 1 || !alive(other.PID()) {
			t.Errorf("node %s has %d keepers, error %v", other.Name(), len(keepers), err)
		}
	}
}

func TestKeeperMayEndItsTasks(t *testing.T) {
	c := startPretenders(t, "busy")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes() {
		if _, err := os.Stat(filepath.Join(filepath.Dir(c.Dir()), n.Name()+".done")); err != nil {
			t.Errorf("the keeper of %s was killed while it had a task: %v", n.Name(), err)
		}
	}
}

func TestKilledNodeStartsAgainAsItself(t *testing.T) {
	c := startPretenders(t, "--log-store", "wal")
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
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); n.said() != first+"\n"+first; {
		if time.Now().After(until) || Pause(t.Context()) != nil {
			t.Fatalf("it said %q at first and now %q in all", first, n.said())
		}
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
