package keeper_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user without rights.
const nobody = 65534

// TestAUserWithoutRightsHasAKeeperToo tells some of the stories again as such a
// user: with whatever levels of containment that user can have.
func TestAUserWithoutRightsHasAKeeperToo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is such a user already")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	bin, home := filepath.Join(dir, "keeper.test"), filepath.Join(dir, "home")
	if err := os.WriteFile(bin, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-test.v", "-test.run", "^(TestAProcessRunsAndItsExitIsKept|TestNothingOutlivesItsStop|TestADaemonLeftBehindEndsWithItsTask|TestDeadKeepersTasksDieWithItOrAreSwept|TestTasksCannotHarmTheirInit)$")
	cmd.Env = []string{"TMPDIR=" + home, "PATH=" + os.Getenv("PATH"), "HOME=" + home}
	cmd.Dir = home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "is not to be had") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if !strings.Contains(string(out), "--- PASS: TestAProcessRunsAndItsExitIsKept/subreaper") {
		t.Errorf("the weakest level was not tried:\n%s", out)
	}
}
