package nemesis

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the process that runs the tests finds in its environment.
const (
	envInside = "ROTA_NEMESIS_INSIDE" // set within the namespaces; the v2 cgroup of all nodes, "-" for none
	envReport = "ROTA_NEMESIS_REPORT" // file that the table's lines are appended to
)

// world-wide facts; TestMain sets them once.
var (
	rotaBinary string // the program under test
	cgroupRoot string // the v2 cgroup that the nodes' lie in; empty: none
	whyNot     string // why no test can run; empty: they can
)

func TestMain(m *testing.M) { os.Exit(mainCode(m)) }

// mainCode runs the tests within namespaces of their own for processes, mounts and
// the network: whatever becomes of them, nothing is left when they end.
func mainCode(m *testing.M) int {
	flag.Parse()
	inside := os.Getenv(envInside)
	if inside == "" {
		if whyNot = impossible(); whyNot != "" || flag.Lookup("test.list").Value.String() != "" {
			return m.Run()
		}
		return enter()
	}
	if inside != "-" {
		cgroupRoot = inside
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "nemesis:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "rota-nemesis-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "nemesis:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if rotaBinary = os.Getenv("ROTA_BIN"); rotaBinary == "" {
		rotaBinary = filepath.Join(dir, "rota")
		if err := build(rotaBinary, ""); err != nil {
			fmt.Fprintln(os.Stderr, "nemesis:", err)
			return 1
		}
	}
	return m.Run()
}

// impossible says what is missing for any of the tests.
func impossible() string {
	if runtime.GOOS != "linux" {
		return "it takes Linux"
	}
	if os.Geteuid() != 0 {
		return "it takes root"
	}
	for _, tool := range []string{"ip", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "it takes the tool " + tool + " (util-linux, iproute2)"
		}
	}
	if out, err := exec.Command("unshare", namespaces("true")...).CombinedOutput(); err != nil {
		return fmt.Sprintf("it takes the right to make namespaces: %v %s", err, bytes.TrimSpace(out))
	}
	return ""
}

func namespaces(command ...string) []string {
	return append([]string{
		"--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		"sh", "-c", `"$@"; exit $?`, "sh", // an init that reaps orphans, as machines have it
	}, command...)
}

// enter runs this very program again in the namespaces and gives its exit code.
func enter() int {
	runtime.LockOSThread() // a parent's death is that of the thread which started the child
	group, err := makeCgroup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nemesis: no v2 cgroups:", err)
		group = "-"
	}
	dir, err := os.MkdirTemp("", "rota-nemesis-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "nemesis:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "unshare", namespaces(os.Args...)...)
	cmd.Env = append(os.Environ(), envInside+"="+group, "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if group != "-" {
		removeCgroup(group)
	}
	_ = os.RemoveAll(dir) // what a killed run left
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "nemesis:", err)
		return 1
	}
	return 0
}

// makeCgroup makes the group of all nodes: what their keepers leave in it goes
// with it.
func makeCgroup() (string, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "cgroup2" {
			continue
		}
		for at := range strings.Lines(string(own)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(at), "0::"); ok {
				dir := filepath.Join(fields[1], path, "rota-nemesis-"+strconv.Itoa(os.Getpid()))
				return dir, os.Mkdir(dir, 0o755)
			}
		}
	}
	return "", errors.New("no cgroup2 file system is mounted")
}

// removeCgroup removes a group with those below it, whose processes have ended.
func removeCgroup(dir string) {
	for until := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() || path == dir {
				return nil //nolint:nilerr // it has gone
			}
			removeCgroup1(path)
			return nil
		})
		if err := syscall.Rmdir(dir); err == nil || errors.Is(err, syscall.ENOENT) || time.Now().After(until) {
			return
		}
	}
}

// removeCgroup1 removes the deepest ones first.
func removeCgroup1(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeCgroup1(filepath.Join(dir, e.Name()))
		}
	}
	_ = syscall.Rmdir(dir) // one that is not empty yet is tried again
}

// furnish makes the fresh namespaces fit to live in.
func furnish() error {
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a place for network namespaces: %w", err)
	}
	return tool("ip", "link", "set", "lo", "up")
}

// tool runs a program that has to succeed.
func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// build makes the program, with an overlay of some of its sources where one is
// given.
func build(to, overlay string) error {
	args := []string{"build", "-tags", "hashicorpmetrics", "-o", to}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "github.com/rota-sched/rota/cmd/rota")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w: %s", err, out)
	}
	return nil
}

// possible skips a test where the machine does not allow any of them, or lacks a
// tool that this one needs.
func possible(t *testing.T, tools ...string) {
	t.Helper()
	if whyNot != "" {
		t.Skip("skipped: " + whyNot)
	}
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("skipped: it takes the tool %s: %v", name, err)
		}
	}
}

// long skips what the short run leaves out.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
}
