package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// marked is a task like holding whose processes can be told from all others, and
// that leaves a process outside of its session.
func marked(file, mark string) string {
	return fmt.Sprintf(`
job "marked" {
  task "hold" {
    driver  = "exec"
    command = ["sh", "-c", "(setsid sleep %s &); while [ ! -e %s ]; do sleep 0.05; done; echo done"]
    output {
      type = "text"
    }
  }
}`, mark, file)
}

// TestDeadKeepersTasksRunAgain: whatever ends or hangs the keeper ends its tasks,
// those that left their session too, and they run again.
// (Source: RELIABILITY.md, section 2, the table.)
func TestDeadKeepersTasksRunAgain(t *testing.T) {
	nodes := cluster(t, 3)
	for i, c := range []struct {
		name   string
		signal syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"hung", syscall.SIGSTOP}} {
		t.Run(c.name, func(t *testing.T) {
			file, mark := filepath.Join(t.TempDir(), "go"), "8640"+strconv.Itoa(i)
			id := submit(t, nodes[0], marked(file, mark))
			victim := running(t, id, "", nodes...)
			first := commandLines(mark)
			if victim.contained(t) != "pidns" {
				t.Skipf("skipped: without a PID namespace (%s) a keeper's death is not that of its tasks", victim.contained(t))
			}
			began := time.Now()
			if err := syscall.Kill(victim.keeperPID(), c.signal); err != nil {
				t.Fatal(err)
			}
			eventually(t, 12*time.Second, "the tasks of the keeper end", func() (string, bool) {
				for _, line := range commandLines(mark) {
					for _, old := range first {
						if line == old {
							return line, false
						}
					}
				}
				return "", true
			})
			dead := time.Since(began)
			run := again(t, id, nodes)
			t.Logf("keeper of %s %s: its tasks ended after %v, it ran again on %s after %v", victim.name, c.name,
				dead.Round(10*time.Millisecond), run.Tasks[0].Node, time.Since(began).Round(10*time.Millisecond))
			if copies := sleepers(mark); len(copies) > 1 {
				t.Errorf("copies of the task are alive at once: %v", copies)
			}
			finish(t, file, id, nodes...)
			deliveredOnce(t, nodes[0], await(t, 5*time.Second, id, nodes[0]))
			gone(t, 8*time.Second, mark)
			ready(t, nodes...)
		})
	}
}

// sleepers are the processes that a marked task left outside of its session.
func sleepers(mark string) []string {
	return slices.DeleteFunc(commandLines(mark), func(line string) bool {
		return !strings.HasSuffix(line, " sleep "+mark+" ") || strings.Contains(line, " sh ")
	})
}

// again waits until a run's only task runs in a later attempt than its first.
func again(t *testing.T, id string, nodes []*process) runView {
	t.Helper()
	var run runView
	eventually(t, 40*time.Second, "the task runs again", func() (string, bool) {
		for _, p := range nodes {
			var err error
			if run, err = runOf(p, id); err == nil && len(run.Tasks) == 1 && run.Tasks[0].Attempts > 1 && run.Tasks[0].Status == "running" {
				return "", true
			}
		}
		return fmt.Sprintf("%+v", run), false
	})
	return run
}

// contained is the level at which a node holds its tasks.
func (p *process) contained(t *testing.T) string {
	t.Helper()
	out := must(t, p, "node", "show", p.name, "-o", "template={{.containment}}")
	return strings.TrimSpace(out)
}

// TestShortHangsCostNothing: an agent that hangs for less than its lease, and one
// that is stopped in good order and started again, go on with their task.
func TestShortHangsCostNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	nodes := cluster(t, 3)
	file := filepath.Join(t.TempDir(), "go")
	id := submit(t, nodes[0], holding(file))
	victim := running(t, id, "", nodes...)

	hang(t, victim, 3*time.Second)
	ready(t, nodes...)
	if run := await1(t, id, nodes); run.Tasks[0].Attempts != 1 || run.Tasks[0].Status != "running" {
		t.Fatalf("a hang of 3 s cost an attempt: %+v", run.Tasks[0])
	}

	// The lease still counts from before the hang until it is renewed, and a stop that
	// lasts longer than what is left of it does cost an attempt.
	hold(t, 2*time.Second)
	if err := victim.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-victim.exited
	if code := victim.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("a planned stop ended with %d", code)
	}
	hold(t, 2200*time.Millisecond) // longer than a keeper waits for an agent that crashed
	victim.start(t)
	ready(t, nodes...)
	if run := await1(t, id, nodes); run.Tasks[0].Attempts != 1 || run.Tasks[0].Status != "running" {
		t.Fatalf("a planned stop cost an attempt: %+v", run.Tasks[0])
	}

	hold(t, 2*time.Second) // its lease is renewed every second
	hang(t, victim, 3*time.Second)
	ready(t, nodes...)
	run := finish(t, file, id, nodes...)
	if run.Tasks[0].Attempts != 1 || run.Tasks[0].Node != victim.name {
		t.Errorf("a hang of 3 s cost an attempt: %+v", run.Tasks[0])
	}
}

// hang stops a node's agent for a while.
func hang(t *testing.T, p *process, d time.Duration) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hold(t, d)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// hold lets a fault last: its length is what is tested, nothing is waited for.
func hold(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// await1 reads a run of one task from the first node that has it.
func await1(t *testing.T, id string, nodes []*process) runView {
	t.Helper()
	var run runView
	eventually(t, 10*time.Second, "the run is there", func() (string, bool) {
		for _, p := range nodes {
			var err error
			if run, err = runOf(p, id); err == nil && len(run.Tasks) == 1 {
				return "", true
			}
		}
		return "", false
	})
	return run
}

// TestWithoutAMajorityTasksEndInTime: a node that reaches no majority of the
// servers ends its tasks before its lease is over, and runs them again when the
// servers are back. (on_disconnect = stop, the default.)
func TestWithoutAMajorityTasksEndInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	nodes := cluster(t, 3)
	file := filepath.Join(t.TempDir(), "go")
	id := submit(t, nodes[0], marked(file, "86411"))
	alone := running(t, id, "", nodes...)
	others := without(nodes, alone)
	for _, p := range others {
		p.killHost(t)
	}
	began := time.Now()
	gone(t, 12*time.Second, "86411") // D is at most 10 s away
	t.Logf("alone, its tasks ended after %v", time.Since(began).Round(10*time.Millisecond))
	for _, p := range others {
		p.start(t)
	}
	ready(t, nodes...)
	again(t, id, nodes)
	finish(t, file, id, nodes...)
	deliveredOnce(t, nodes[0], await(t, 5*time.Second, id, nodes[0]))
}

// TestFrozenHostIsFencedOff: agent, keeper and tasks of a node stop for longer
// than its lease, as in a paused virtual machine. The task runs elsewhere; what
// the frozen one says afterwards counts for nothing.
func TestFrozenHostIsFencedOff(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	nodes := cluster(t, 3)
	file := filepath.Join(t.TempDir(), "go")
	id := submit(t, nodes[0], holding(file))
	victim := running(t, id, "", nodes...)
	pids := []int{victim.cmd.Process.Pid, victim.keeperPID()}
	for _, line := range commandLines(file) {
		pid, _, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(pid); err == nil {
			pids = append(pids, n)
		}
	}
	each := func(s syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, s) // a child of the shell may have ended
		}
	}
	each(syscall.SIGSTOP)
	t.Cleanup(func() { each(syscall.SIGCONT) })
	rest := without(nodes, victim)
	second := running(t, id, victim.name, rest...)
	if err := os.WriteFile(file, nil, 0o600); err != nil { // both may end now
		t.Fatal(err)
	}
	each(syscall.SIGCONT)
	run := await(t, 20*time.Second, id, rest...)
	if run.Status != "succeeded" || run.Tasks[0].Attempts != 2 || run.Tasks[0].Node != second.name {
		t.Errorf("the run ended as %+v", run)
	}
	ready(t, nodes...)
	deliveredOnce(t, nodes[0], run)
}
