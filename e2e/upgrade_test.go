package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// olderBuild is the program as it would be if it knew nothing but format 1.
func olderBuild(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const file = "fsm/limits.go"
	newest := regexp.MustCompile(`MaxFormat: +(rota\.Format\w+),`)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(newest.FindAll(source, -1)); n != 1 {
		t.Fatalf("%s: %s is there %d times, want once", file, newest, n)
	}
	older := newest.ReplaceAll(source, []byte("MaxFormat: 1 + 0*$1,")) // the import is still used
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, file): filepath.Join(dir, "limits.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"limits.go": older, "overlay.json": overlay} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "rota-older")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-tags", "hashicorpmetrics", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "../cmd/rota")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the older program: %v\n%s", err, out)
	}
	return program
}

// formatOf is the format version that is active.
func formatOf(t *testing.T, p *process) uint16 {
	t.Helper()
	v, problem := saved(p, filepath.Join(t.TempDir(), "now"), "--stale")
	if problem != "" {
		t.Fatal(problem)
	}
	return v.Format
}

// TestAClusterIsUpgradedOneServerAfterTheOther under load, from a build that knows only
// the first format; then a server of that build comes back by mistake.
func TestAClusterIsUpgradedOneServerAfterTheOther(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	began := time.Now()
	older := olderBuild(t)
	t.Logf("the older build took %s", time.Since(began).Round(time.Millisecond))
	nodes := make([]*process, 3)
	for i := range nodes {
		nodes[i] = newProcess(t, "n"+strconv.Itoa(i+1))
		nodes[i].build = older
	}
	found(t, nodes)
	ready(t, nodes...)
	file := filepath.Join(t.TempDir(), "go")
	held := submit(t, nodes[0], holding(file))
	running(t, held, "", nodes...)
	load := submitOn(t, nodes...)
	for i, p := range nodes {
		if f := formatOf(t, p); f != 1 {
			t.Fatalf("with %d of 3 servers upgraded the format is %d", i, f)
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.exited
		p.build = ""
		p.start(t)
		ready(t, nodes...)
	}
	eventually(t, 20*time.Second, "the format rises", func() (string, bool) {
		f := formatOf(t, nodes[0])
		return strconv.Itoa(int(f)), f > 1
	})
	ids := load.stop()
	t.Logf("%d runs were acknowledged meanwhile", len(ids))
	if len(ids) == 0 {
		t.Error("no run was acknowledged")
	}
	allSucceed(t, nodes[2], ids)
	if run := finish(t, file, held, nodes...); run.Tasks[0].Attempts != 1 {
		t.Errorf("the upgrade cost the long task an attempt: %+v", run.Tasks[0])
	}
	sameState(t, nodes)
	t.Run("an older server halts", func(t *testing.T) { olderHalts(t, older, nodes, ids) })
}

// olderHalts brings a server back with a build that cannot read what the log has by now:
// it ends, says why in its last line, and the right build goes on from the same directory.
func olderHalts(t *testing.T, older string, nodes []*process, ids []string) {
	t.Helper()
	back := nodes[1]
	if err := back.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-back.exited
	back.build = older
	back.start(t)
	select {
	case <-back.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if code := back.cmd.ProcessState.ExitCode(); code == 0 {
		t.Error("it ended with 0")
	}
	said, err := os.ReadFile(back.log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	last := lines[len(lines)-1]
	t.Logf("its last words: %s", last)
	if !strings.Contains(last, "format") || !strings.Contains(last, "this binary knows 1") {
		t.Error("they do not say that the format is newer than the program")
	}
	back.build = ""
	back.start(t)
	ready(t, nodes...)
	allSucceed(t, back, ids)
	sameState(t, nodes)
}
