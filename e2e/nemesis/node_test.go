package nemesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/cluster"
)

// node is one host of the world: a namespace, an agent's process and its keeper.
type node struct {
	w          *world
	i          int
	name, ip   string
	ns         string // network namespace
	dir, log   string
	binary     string
	args, env  []string
	client     *api.Client // asks this node alone, once
	cgroupPath string
	cgroup     *os.File // nil: it shares the test's
	cmd        *exec.Cmd
	exited     chan struct{}
}

func (n *node) address() string { return fmt.Sprintf("%s:%d", n.ip, portHTTP) }

// group makes the node's v2 cgroup.
func (n *node) group(t *testing.T) {
	t.Helper()
	if cgroupRoot == "" {
		return
	}
	n.cgroupPath = filepath.Join(cgroupRoot, n.ns)
	if err := os.Mkdir(n.cgroupPath, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if n.cgroup, err = os.Open(n.cgroupPath); err != nil {
		t.Fatal(err)
	}
}

// start runs the node's process; again after it has ended.
func (n *node) start(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	_, _ = fmt.Fprintf(out, "-------- started at %s\n", time.Now().UTC().Format(time.RFC3339Nano))
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + n.ns, "--", n.binary}, n.args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), n.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if n.cgroup != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(n.cgroup.Fd())
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	n.cmd, n.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
}

func (n *node) alive() bool {
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// kill sends SIGKILL to the agent's process; its keeper lives on for a while.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	<-n.exited
}

func (n *node) signal(s syscall.Signal) { _ = n.cmd.Process.Signal(s) } // it may have ended

// keepers are the processes of the node's keeper, found by the data directory in
// their arguments.
func (n *node) keepers() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(b), "\x00")
		for i, a := range args {
			if len(args) > 1 && args[1] == "keeper" && a == n.dir && args[i-1] == "--data" {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func (n *node) signalKeepers(s syscall.Signal) int {
	pids := n.keepers()
	for _, pid := range pids {
		_ = syscall.Kill(pid, s) // it may have ended
	}
	return len(pids)
}

// killHost ends agent and keeper together.
func (n *node) killHost() {
	n.signalKeepers(syscall.SIGKILL)
	n.kill()
	n.signalKeepers(syscall.SIGKILL) // it may have been replaced in between
}

// end stops whatever of the node is alive and shows its log if the test failed.
func (n *node) end(t *testing.T) {
	t.Helper()
	n.freeze(false)
	if n.cmd != nil {
		n.signal(syscall.SIGCONT)
		n.signalKeepers(syscall.SIGCONT)
		n.killHost()
	}
	if t.Failed() {
		if b, err := os.ReadFile(n.log); err == nil {
			t.Logf("---- %s ----\n%s", n.name, b[max(0, len(b)-3000):])
		}
	}
}

// freeze stops every process of the node at once, or lets them go on; false where
// there is no cgroup for it.
func (n *node) freeze(on bool) bool {
	if n.cgroup == nil {
		return false
	}
	value := "0"
	if on {
		value = "1"
	}
	return os.WriteFile(filepath.Join(n.cgroupPath, "cgroup.freeze"), []byte(value), 0) == nil
}

func (n *node) status() (*api.StatusView, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return n.client.Status(ctx)
}

// probe asks the node what only nodes ask each other: digests of its state.
func (n *node) probe() (cluster.ProbeReply, error) {
	var reply cluster.ProbeReply
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.address()+"/v1/internal/probe", strings.NewReader("{}"))
	if err != nil {
		return reply, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return reply, err
	}
	if resp.StatusCode != http.StatusOK {
		return reply, fmt.Errorf("%s: %s", resp.Status, b)
	}
	return reply, json.Unmarshal(b, &reply)
}

// said is all that the node has written.
func (n *node) said() string {
	b, err := os.ReadFile(n.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(b)
}

// lastWords are the end of the node's log.
func (n *node) lastWords() string {
	lines := strings.Split(strings.TrimSpace(n.said()), "\n")
	return lines[len(lines)-1]
}
