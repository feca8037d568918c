package keeper

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// newTestTree is a tree with a cgroup of its own.
func newTestTree(t *testing.T) *tree {
	t.Helper()
	dir, err := findCgroup("test-"+randomID(), func(string) error { return nil })
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	tr := &tree{id: "test", cgroup: dir, hold: -1}
	t.Cleanup(func() {
		tr.close()
		if exists(dir) {
			t.Errorf("%s is left", dir)
		}
	})
	return tr
}

func newTestGroup(t *testing.T, tr *tree) *cgroupGroup {
	t.Helper()
	g, err := tr.group(false)
	if err != nil {
		t.Fatal(err)
	}
	return g.(*cgroupGroup)
}

// begin starts a command in a group.
func begin(t *testing.T, g *cgroupGroup, words ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.prepare(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.started(cmd.Process.Pid)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func emptied(t *testing.T, g *cgroupGroup) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); !g.empty(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s is never empty", g.dir)
		}
	}
}

// TestACgroupHoldsOneAttemptAfterTheOther: and what is meant for the first, however
// late, does not reach the second.
func TestACgroupHoldsOneAttemptAfterTheOther(t *testing.T) {
	tr := newTestTree(t)
	first := newTestGroup(t, tr)
	dir := first.dir
	cmd := begin(t, first, "sleep", "0.05")
	if first.empty() {
		t.Fatal("a group with a process is empty")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	emptied(t, first)

	second := newTestGroup(t, tr)
	if second.dir != dir || !second.again() || first.again() || second.mark() == first.mark() {
		t.Fatalf("the second is in %s, the first was in %s", second.dir, dir)
	}
	begin(t, second, "sleep", "60")
	first.kill()
	first.signal(syscall.SIGKILL)
	first.discard()
	if !first.empty() || second.empty() {
		t.Fatal("the first is not over, or the second is")
	}
	time.Sleep(20 * time.Millisecond) // a kill would have landed
	if len(cgroupMembers(dir)) != 1 {
		t.Fatal("what was meant for the first reached the second")
	}
	second.kill()
	emptied(t, second)
	if exists(dir) {
		t.Error("a group that was killed is kept")
	}
}

// TestAChangedCgroupIsNotUsedAgain: frozen, or with others below it.
func TestAChangedCgroupIsNotUsedAgain(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"frozen": func(dir string) error { return os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0) },
		"parent": func(dir string) error { return os.Mkdir(filepath.Join(dir, "sub"), 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTestTree(t)
			g := newTestGroup(t, tr)
			dir := g.dir
			if err := begin(t, g, "true").Wait(); err != nil {
				t.Fatal(err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			emptied(t, g)
			if exists(dir) {
				t.Error("it is kept")
			}
			if again := newTestGroup(t, tr); again.again() {
				t.Error("it is used again")
			} else {
				again.discard()
			}
		})
	}
}

// TestThePoolIsBounded however many attempts end at once.
func TestThePoolIsBounded(t *testing.T) {
	tr := newTestTree(t)
	var groups []*cgroupGroup
	for range maxPool + 3 {
		g := newTestGroup(t, tr)
		g.closeFD()
		groups = append(groups, g)
	}
	for _, g := range groups {
		emptied(t, g)
	}
	entries, err := os.ReadDir(tr.cgroup)
	if err != nil {
		t.Fatal(err)
	}
	dirs := 0
	for _, e := range entries {
		if e.IsDir() {
			dirs++
		}
	}
	if dirs != maxPool || len(tr.pool.free) != maxPool {
		t.Errorf("%d groups are kept, %d in the pool; the bound is %d", dirs, len(tr.pool.free), maxPool)
	}
}
