package keeper

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOnlyEmptyGroupsOfDeadKeepersGo: whose lock is held, who is alive, who is new
// and who is no keeper's stays.
func TestOnlyEmptyGroupsOfDeadKeepersGo(t *testing.T) {
	base, err := findCgroup("test-"+randomID(), func(string) error { return nil })
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	t.Cleanup(func() {
		if !sweepCgroup(base) {
			t.Errorf("%s is left", base)
		}
	})
	group := func(name string, age time.Duration) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	const old = time.Hour
	own := group(cgroupDirPrefix+"me", old)
	lives := group(cgroupDirPrefix+"lives", old)
	fd, err := holdCgroup(lives)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // a lock
	group(cgroupDirPrefix+"new", 0)
	group("of-others", old)
	busy := filepath.Join(group(cgroupDirPrefix+"busy", old), "1")
	dead := filepath.Join(group(cgroupDirPrefix+"dead", old), "1")
	for _, dir := range []string{busy, dead} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-old)
		if err := os.Chtimes(filepath.Dir(dir), at, at); err != nil {
			t.Fatal(err)
		}
	}
	startIn(t, busy)

	if n := sweepLeftovers(own); n != 1 {
		t.Errorf("%d groups went, want 1", n)
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		if e.IsDir() {
			left = append(left, e.Name())
		}
	}
	want := []string{"of-others", "rota-keeper-busy", "rota-keeper-lives", "rota-keeper-me", "rota-keeper-new"}
	if slices.Sort(left); !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
	if pids := cgroupMembers(busy); len(pids) != 1 {
		t.Errorf("what is alive was touched: %v", pids)
	}
}

func startIn(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // only named
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// TestAKeepersGroupIsMadeAgain: somebody removed it while it was empty; the next
// attempt finds it, and it is locked again.
func TestAKeepersGroupIsMadeAgain(t *testing.T) {
	dir, err := findCgroup("test-"+randomID(), func(string) error { return nil })
	if err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	tr := &tree{id: "test", cgroup: dir, hold: -1}
	if tr.hold, err = holdCgroup(dir); err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	g, err := tr.group(false)
	if err != nil {
		t.Fatal(err)
	}
	g.discard()
	if removeLeftover(dir) || !exists(dir) {
		t.Error("the new group is not held")
	}
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir, at, at); err != nil {
		t.Fatal(err)
	}
	if removeLeftover(dir) || !exists(dir) {
		t.Error("the new group is not locked")
	}
}
