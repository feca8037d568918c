package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test; TestMain sets it once.
var binary string

func TestMain(m *testing.M) { os.Exit(mainCode(m)) }

func mainCode(m *testing.M) int {
	if binary = os.Getenv("ROTA_BIN"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "rota-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "rota")
	build := exec.Command("go", "build", "-tags", "hashicorpmetrics", "-o", binary, "../cmd/rota")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: build the binary: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is one node of a cluster under test.
type process struct {
	name, dir string
	port      int      // HTTP; Raft and gossip are the next two
	base      []string // arguments that say who and where it is
	args      []string // all
	build     string   // the program; empty: the one under test
	cmd       *exec.Cmd
	log       string
	exited    chan struct{} // closed when the process of cmd has been waited for
}

func (p *process) address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }
func (p *process) url() string     { return "http://" + p.address() }

// newProcess gives a node its place and its flags; start starts it.
func newProcess(t *testing.T, name string, flags ...string) *process {
	t.Helper()
	p := &process{name: name, dir: filepath.Join(t.TempDir(), name), port: freePorts(t)}
	p.log = p.dir + ".log"
	p.base = []string{
		"start", "--data", p.dir, "--name", name, "--http", p.address(),
		"--raft", fmt.Sprintf("127.0.0.1:%d", p.port+1), "--gossip", fmt.Sprintf("127.0.0.1:%d", p.port+2),
	}
	p.flags(flags...)
	t.Cleanup(func() { p.end(t) })
	return p
}

// flags replaces what the node is told beside who and where it is.
func (p *process) flags(flags ...string) { p.args = append(p.base[:len(p.base):len(p.base)], flags...) }

// start runs the node's process; again after it was killed.
func (p *process) start(t *testing.T, more ...string) {
	t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	program := binary
	if p.build != "" {
		program = p.build
	}
	p.cmd = exec.Command(program, append(p.args[:len(p.args):len(p.args)], more...)...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	p.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // its exit code is read from ProcessState
		close(exited)
	}(p.cmd)
}

// kill sends SIGKILL to the node's agent; its keeper lives on for a while.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-p.exited
}

// keeperPID finds the node's keeper by the data directory on its command line; 0
// if there is none.
func (p *process) keeperPID() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
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
		if len(args) > 3 && args[1] == "keeper" && args[2] == "--data" && args[3] == p.dir {
			return pid
		}
	}
	return 0
}

// killHost ends agent and keeper together, as a power cut does.
func (p *process) killHost(t *testing.T) {
	t.Helper()
	if pid := p.keeperPID(); pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	p.kill(t)
	if pid := p.keeperPID(); pid > 0 { // it may have been replaced in between
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone is fine
	}
}

// end stops whatever of the node is alive and shows its log if the test failed.
func (p *process) end(t *testing.T) {
	t.Helper()
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may be stopped, or gone
		for _, wait := range []time.Duration{300 * time.Millisecond, 4 * time.Second} {
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				break
			}
			select {
			case <-p.exited:
			case <-time.After(wait):
			}
		}
		p.killHost(t)
	}
	if t.Failed() {
		if b, err := os.ReadFile(p.log); err == nil {
			t.Logf("---- %s ----\n%s", p.name, tail(b, 6000))
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Log(err)
		}
	}
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// freePorts finds three ports in a row that nobody listens on.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if portFree(port+1) && portFree(port+2) {
			return port
		}
	}
	t.Fatal("no three free ports in a row")
	return 0
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// cluster starts n nodes that find each other.
func cluster(t *testing.T, n int, flags ...string) []*process {
	t.Helper()
	nodes := make([]*process, n)
	for i := range nodes {
		nodes[i] = newProcess(t, fmt.Sprintf("n%d", i+1), append([]string{"--bootstrap-expect", strconv.Itoa(n)}, flags...)...)
	}
	t.Cleanup(func() { stopTogether(nodes) })
	for _, p := range nodes {
		for _, other := range nodes {
			if other != p {
				p.args = append(p.args, "--join", other.address())
			}
		}
		p.start(t)
	}
	ready(t, nodes...)
	return nodes
}

// stopTogether tells all nodes to stop: one after the other each would miss those
// before it.
func stopTogether(nodes []*process) {
	for _, p := range nodes {
		if p.cmd != nil && p.cmd.Process != nil {
			_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may be stopped, or gone
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}

// ready waits until every node answers, sees a leader and counts all of them.
func ready(t *testing.T, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		eventually(t, 30*time.Second, p.name+" sees the cluster", func() (string, bool) {
			s, err := statusOf(p)
			if err != nil {
				return err.Error(), false
			}
			return fmt.Sprintf("%+v", s), s.Leader != "" && s.Nodes["ready"] >= len(nodes)
		})
	}
}

type status struct {
	ClusterID string         `json:"cluster_id"`
	Node      string         `json:"node"`
	Leader    string         `json:"leader"`
	Term      uint64         `json:"term"`
	Index     uint64         `json:"index"`
	Nodes     map[string]int `json:"nodes"`
	Tasks     map[string]int `json:"tasks"`
}

func statusOf(p *process) (status, error) {
	var s status
	out, errOut, code := rota(p, "status", "-o", "json")
	if code != 0 {
		return s, fmt.Errorf("status of %s: exit %d: %s", p.name, code, errOut)
	}
	err := json.Unmarshal([]byte(out), &s)
	return s, err
}

// leaderOf says which of the nodes leads, as the first one that answers sees it.
func leaderOf(t *testing.T, nodes ...*process) *process {
	t.Helper()
	var leader *process
	eventually(t, 20*time.Second, "somebody leads", func() (string, bool) {
		for _, p := range nodes {
			s, err := statusOf(p)
			if err != nil {
				continue
			}
			for _, q := range nodes {
				if q.name == s.Leader {
					leader = q
					return "", true
				}
			}
		}
		return "no leader among the nodes", false
	})
	return leader
}

// rota runs the program against a node and returns its output and exit code.
func rota(p *process, args ...string) (stdout, stderr string, code int) {
	return rotaIn(p, "", 60*time.Second, args...)
}

func rotaIn(p *process, stdin string, timeout time.Duration, args ...string) (stdout, stderr string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	if p != nil {
		cmd.Env = append(cmd.Env, "ROTA_ADDR="+p.url())
	}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		return "", err.Error(), -1
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// must runs the program and fails the test unless it exits with 0.
func must(t *testing.T, p *process, args ...string) string {
	t.Helper()
	out, errOut, code := rota(p, args...)
	if code != 0 {
		t.Fatalf("rota %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

type runView struct {
	ID     string     `json:"id"`
	Status string     `json:"status"`
	Tasks  []taskView `json:"tasks"`
}

type taskView struct {
	Key       string          `json:"key"`
	Status    string          `json:"status"`
	Node      string          `json:"node"`
	Attempts  int             `json:"attempts"`
	Cause     string          `json:"cause"`
	Message   string          `json:"message"`
	ExitCode  int             `json:"exit_code"`
	Output    json.RawMessage `json:"output"`
	DependsOn []string        `json:"depends_on"`
	Reason    *struct {
		Code, Text string
	} `json:"reason"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// runOf reads a run through a node.
func runOf(p *process, id string) (runView, error) {
	var r runView
	out, errOut, code := rota(p, "runs", "show", id, "-o", "json")
	if code != 0 {
		return r, fmt.Errorf("runs show %s: exit %d: %s", id, code, errOut)
	}
	err := json.Unmarshal([]byte(out), &r)
	return r, err
}

func (r runView) task(key string) taskView {
	for _, t := range r.Tasks {
		if t.Key == key {
			return t
		}
	}
	return taskView{}
}

// submit writes a job file and starts a run of it.
func submit(t *testing.T, p *process, text string, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "job.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(must(t, p, append([]string{"run", file}, more...)...))
}

// await waits until a run has ended, through any of the nodes that answers.
func await(t *testing.T, timeout time.Duration, id string, nodes ...*process) runView {
	t.Helper()
	var r runView
	eventually(t, timeout, "run "+id+" ends", func() (string, bool) {
		var err error
		for _, p := range nodes {
			if r, err = runOf(p, id); err == nil {
				break
			}
		}
		if err != nil {
			return err.Error(), false
		}
		return fmt.Sprintf("%+v", r), r.Status == "succeeded" || r.Status == "failed" || r.Status == "cancelled"
	})
	return r
}

// eventually asks until the answer is yes; it fails the test with the last words
// after the timeout.
func eventually(t *testing.T, timeout time.Duration, what string, ask func() (string, bool)) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		said, ok := ask()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; last seen: %s", what, timeout, said)
		}
		<-tick.C
	}
}
