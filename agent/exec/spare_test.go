package exec_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/agenttest"
)

// over runs a task to its end, and lets the cluster take that in.
func (n *node) over(task agent.Task) {
	n.t.Helper()
	if out := n.run(task); out.Cause != rota.CauseNone {
		n.t.Fatalf("%v ended with %+v", task.Spec.Command, out)
	}
	n.driver.Forget([]agent.Ref{task.Ref()})
}

func inode(t *testing.T, path string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestADirectoryWithoutTracesIsUsedAgain: by a task that finds nothing in it, while
// the first one's log is found empty.
func TestADirectoryWithoutTracesIsUsedAgain(t *testing.T) {
	n := newNode(t)
	first := n.task("true")
	if out := n.run(first); out.Cause != rota.CauseNone {
		t.Fatalf("%+v", out)
	}
	before := inode(t, first.Dir)
	if _, err := n.layout.LoadTask(first.Ref()); err != nil {
		t.Fatalf("an agent after this one could not report its end: %v", err)
	}
	n.driver.Forget([]agent.Ref{first.Ref()})
	if _, err := os.Stat(first.Dir); !os.IsNotExist(err) {
		t.Fatalf("the directory is still there: %v", err)
	}

	second := n.task("sh", "-c", `echo "$(ls -A . .. "$ROTA_ARTIFACTS")"; echo x > file; echo y > "$ROTA_ARTIFACTS/made"`)
	n.over(second)
	if !os.SameFile(before, inode(t, second.Dir)) {
		t.Error("the second task got a new directory")
	}
	if got, want := n.log(second), ".:\n\n..:\nartifacts\nattempt.json\nwork\n\n"+second.Dir+"/artifacts:\n"; got != want {
		t.Errorf("the second task found %q, want %q", got, want)
	}
	if got, err := n.layout.LoadTask(second.Ref()); err != nil || got.Spec.Command[0] != "sh" {
		t.Errorf("its record is %+v, %v", got, err)
	}
	if got := n.log(first); got != "" {
		t.Errorf("the first task's log is %q", got)
	}
}

func (n *node) log(task agent.Task) string {
	n.t.Helper()
	f, err := agent.Logs{Layout: n.layout}.Open(task.Task, task.Fence.Attempt(), agent.FileStdout)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(f)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(b)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestADirectoryWithTracesIsNot: whatever a task left or changed stays its own.
func TestADirectoryWithTracesIsNot(t *testing.T) {
	for name, script := range map[string]string{
		"output": `echo said`, "an artifact": `touch "$ROTA_ARTIFACTS/a"`, "a file": `touch f`, "a hidden file": `touch .f`,
		"usage": `echo {} > "$ROTA_USAGE"`, "modes": `chmod 777 .`, "modes of artifacts": `chmod 755 "$ROTA_ARTIFACTS"`,
		"a link": `cd ..; rmdir work; ln -s / work`, "another record": `cd ..; ln attempt.json "$TMPDIR/again" 2>/dev/null || ln attempt.json again`,
		"a neighbour": `mkdir ../../2`,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			task := n.task("sh", "-c", script)
			task.Spec.Env = []rota.Pair{{Key: "TMPDIR", Value: t.TempDir()}}
			n.over(task)
			if _, err := os.Stat(task.Dir); err != nil {
				t.Errorf("the directory was taken away: %v", err)
			}
		})
	}
}

// TestNobodysDirectoryIsTaken: of a task whose next attempt has begun here.
func TestNobodysDirectoryIsTaken(t *testing.T) {
	n := newNode(t)
	first := n.task("true")
	if out := n.run(first); out.Cause != rota.CauseNone {
		t.Fatalf("%+v", out)
	}
	again := first
	again.Fence, again.Dir = rota.NewFence(0, 2), n.layout.Attempt(first.Task, 2)
	again.Spec = &rota.TaskSpec{Driver: rota.DriverExec, Command: []string{"sleep", "1000"}}
	h, err := n.driver.Start(t.Context(), again, agenttest.Quiet{})
	if err != nil {
		t.Fatal(err)
	}
	n.driver.Forget([]agent.Ref{first.Ref()})
	for _, dir := range []string{first.Dir, again.Dir} {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	if err := h.Stop(t.Context(), rota.Stop{}, rota.CauseCancelled); err != nil {
		t.Error(err)
	}
}

// TestSpareDirectoriesSurviveTheirDriver: the next one uses those that are as they
// should be and removes the others.
func TestSpareDirectoriesSurviveTheirDriver(t *testing.T) {
	n := newNode(t)
	task := n.task("true")
	n.over(task)
	bad := filepath.Join(n.layout.Spare(), "bad")
	if err := os.MkdirAll(bad, 0o700); err != nil {
		t.Fatal(err)
	}
	spare := func() (names []string) {
		entries, err := os.ReadDir(n.layout.Spare())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if got := spare(); len(got) != 2 {
		t.Fatalf("spare: %v", got)
	}
	d := n.connect()
	go d.Run(t.Context()) //nolint:errcheck // ends with the test
	eventually(t, "the bad one is removed", func() bool {
		_, err := os.Stat(bad)
		return os.IsNotExist(err)
	})
	eventually(t, "the good one is used", func() bool {
		n.run(n.task("true"))
		return len(spare()) == 0
	})
}
