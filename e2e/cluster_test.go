package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const chain = `
job "chain" {
  task "make" {
    driver  = "exec"
    command = ["sh", "-c", "echo '{\"words\": [\"one\", \"two\", \"three\"]}'"]
    output {
      type = "json"
    }
  }
  task "each" {
    driver   = "exec"
    for_each = toset(["a", "b", "c"])
    command  = ["sh", "-c", "echo ${each.key}-${length(task.make.output.words)}"]
    output {
      type = "text"
    }
  }
  task "join" {
    driver  = "exec"
    command = ["echo", join(" ", values(task.each)[*].output)]
    output {
      type = "text"
    }
  }
}
`

// TestThreeNodesRunAJobThatPassesDataAlong: what one task printed, the next gets
// as a typed value, and every node tells the same story.
func TestThreeNodesRunAJobThatPassesDataAlong(t *testing.T) {
	nodes := cluster(t, 3)
	id := submit(t, nodes[1], chain)
	run := await(t, 30*time.Second, id, nodes[2])
	if run.Status != "succeeded" || string(run.task("join").Output) != `"a-3 b-3 c-3"` {
		t.Fatalf("the run ended as %+v", run)
	}
	for _, p := range nodes {
		other := await(t, 10*time.Second, id, p)
		if fmt.Sprint(other) == "" || other.Status != run.Status || len(other.Tasks) != 5 {
			t.Errorf("%s tells another story: %+v", p.name, other)
		}
	}
}

// TestAWorkerWithGPUsGetsTheGPUTask: it holds no replica, joins through any node,
// and answers as the others do.
func TestAWorkerWithGPUsGetsTheGPUTask(t *testing.T) {
	nodes := cluster(t, 3)
	gpu := newProcess(t, "g1", "--role", "worker", "--join", nodes[0].address(), "--gpu", "fake:H100,80GiB,8", "--label", "rack=a")
	gpu.start(t)
	all := append(nodes[:3:3], gpu)
	ready(t, all...)

	out := must(t, gpu, "run", "--wait", "--follow", "--gpu", "1", "--gpu-model", "H100", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES on $ROTA_NODE")
	if !strings.Contains(out, "fake-") || !strings.Contains(out, "on g1") {
		t.Errorf("the GPU task printed %q", out)
	}
	id := submit(t, gpu, `
job "share" {
  task "half" {
    driver   = "exec"
    for_each = toset(["1", "2", "3"])
    command  = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 1"]
    constraint {
      attribute = "label.rack"
      operator  = "="
      value     = "a"
    }
    resources {
      gpu {
        count  = 1
        memory = "80GiB"
        share  = 0.5
      }
    }
    output {
      type = "text"
    }
  }
}`)
	run := await(t, 30*time.Second, id, nodes[0])
	for _, task := range run.Tasks {
		if task.Status != "delivered" || task.Node != "g1" || !strings.Contains(string(task.Output), "fake-") {
			t.Errorf("%s: %+v", task.Key, task)
		}
	}
	sameStatus(t, all)
}

// sameStatus waits until every node shows the same cluster.
func sameStatus(t *testing.T, nodes []*process) {
	t.Helper()
	eventually(t, 15*time.Second, "the same status everywhere", func() (string, bool) {
		var first string
		for _, p := range nodes {
			s, err := statusOf(p)
			if err != nil {
				return err.Error(), false
			}
			text := fmt.Sprint(s.ClusterID, s.Leader, s.Term, s.Nodes, s.Tasks)
			if first == "" {
				first = text
			} else if first != text {
				return first + " but " + p.name + " says " + text, false
			}
		}
		return "", true
	})
}

// holding is a task that can run on any node, says where it runs, ends on SIGTERM
// and only ends by itself when the file appears.
func holding(file string) string {
	return fmt.Sprintf(`
job "holding" {
  task "hold" {
    driver  = "exec"
    command = ["sh", "-c", "while [ ! -e %s ]; do sleep 0.05; done; echo done"]
    output {
      type = "text"
    }
  }
}`, file)
}

// running waits until the run's only task runs and returns the node it runs on.
func running(t *testing.T, id string, not string, nodes ...*process) *process {
	t.Helper()
	var on *process
	eventually(t, 40*time.Second, "the task runs", func() (string, bool) {
		for _, p := range nodes {
			run, err := runOf(p, id)
			if err != nil || len(run.Tasks) != 1 {
				continue
			}
			task := run.Tasks[0]
			for _, q := range nodes {
				if task.Status == "running" && task.Node == q.name && q.name != not {
					on = q
				}
			}
			return fmt.Sprintf("%+v", run), on != nil
		}
		return "nobody answers", false
	})
	return on
}

func without(nodes []*process, gone *process) []*process {
	var rest []*process
	for _, p := range nodes {
		if p != gone {
			rest = append(rest, p)
		}
	}
	return rest
}

// TestDeadNodesTasksRunElsewhere kills the node that runs a task in three ways;
// each time the task runs again on another node and is delivered once.
func TestDeadNodesTasksRunElsewhere(t *testing.T) {
	kills := []struct {
		name string
		kill func(*testing.T, *process)
	}{
		{"agent", func(t *testing.T, p *process) { t.Helper(); p.kill(t) }},
		{"host", func(t *testing.T, p *process) { t.Helper(); p.killHost(t) }},
		{"hung agent", func(t *testing.T, p *process) {
			t.Helper()
			if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, k := range kills {
		t.Run(k.name, func(t *testing.T) {
			nodes := cluster(t, 3)
			file := filepath.Join(t.TempDir(), "go")
			id := submit(t, nodes[0], holding(file))
			victim := running(t, id, "", nodes...)
			rest := without(nodes, victim)
			began := time.Now()
			k.kill(t, victim)
			second := running(t, id, victim.name, rest...)
			t.Logf("%s of %s gone: running on %s after %v", k.name, victim.name, second.name, time.Since(began).Round(10*time.Millisecond))
			finish(t, file, id, rest...)
		})
	}
}

// finish lets a holding task end and checks that it was delivered.
func finish(t *testing.T, file, id string, nodes ...*process) runView {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run := await(t, 30*time.Second, id, nodes...)
	if run.Status != "succeeded" || run.Tasks[0].Status != "delivered" || string(run.Tasks[0].Output) != `"done"` {
		t.Fatalf("the run ended as %+v", run)
	}
	return run
}

// TestDeadLeaderLosesNothing: writes are accepted again, the task that the leader
// itself ran goes on elsewhere, and its other runs are there.
func TestDeadLeaderLosesNothing(t *testing.T) {
	nodes := cluster(t, 3)
	leader := leaderOf(t, nodes...)
	file := filepath.Join(t.TempDir(), "go")
	pinned := strings.Replace(holding(file), "command", "constraint {\n attribute = \"node.name\"\n operator = \"!=\"\n value = \"nobody\"\n }\n command", 1)
	id := submit(t, nodes[0], pinned)
	before := submit(t, nodes[0], chain)
	await(t, 20*time.Second, before, nodes[0])

	leader.kill(t)
	rest := without(nodes, leader)
	began := time.Now()
	var after string
	eventually(t, 20*time.Second, "a write is accepted", func() (string, bool) {
		out, errOut, code := rota(rest[0], "run", "--", "true")
		after = strings.TrimSpace(out)
		return errOut, code == 0
	})
	t.Logf("next accepted write after %v", time.Since(began).Round(10*time.Millisecond))
	if run := await(t, 30*time.Second, after, rest...); run.Status != "succeeded" {
		t.Errorf("the run submitted after the leader's death: %+v", run)
	}
	if run := await(t, 5*time.Second, before, rest[1]); run.Status != "succeeded" {
		t.Errorf("the run that had ended before: %+v", run)
	}
	running(t, id, leader.name, rest...)
	finish(t, file, id, rest...)
}

// TestRestartedAgentAdoptsItsTask: an agent that is back within two seconds goes on
// with what its keeper still runs; no attempt is lost.
func TestRestartedAgentAdoptsItsTask(t *testing.T) {
	nodes := cluster(t, 3)
	file := filepath.Join(t.TempDir(), "go")
	id := submit(t, nodes[0], holding(file))
	victim := running(t, id, "", nodes...)
	victim.kill(t)
	victim.start(t)
	ready(t, nodes...)
	run := finish(t, file, id, nodes...)
	if run.Tasks[0].Attempts != 1 || run.Tasks[0].Node != victim.name {
		t.Errorf("the task was not adopted: %+v", run.Tasks[0])
	}
}

// TestAllNodesKilledAtOnceGoOn: every acknowledged run is there afterwards and
// ends.
func TestAllNodesKilledAtOnceGoOn(t *testing.T) {
	nodes := cluster(t, 3)
	file := filepath.Join(t.TempDir(), "go")
	id := submit(t, nodes[0], holding(file))
	running(t, id, "", nodes...)
	ids := []string{id}
	for i := range 20 {
		ids = append(ids, submit(t, nodes[i%3], chain))
	}
	for _, p := range nodes {
		p.killHost(t)
	}
	for _, p := range nodes {
		p.start(t)
	}
	ready(t, nodes...)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if run := await(t, 60*time.Second, id, nodes[1]); run.Status != "succeeded" {
			t.Errorf("run %s ended as %+v", id, run)
		}
	}
}

// TestNodeComesBackUnderAnotherAddress: identity is the data directory's, not the
// address's.
func TestNodeComesBackUnderAnotherAddress(t *testing.T) {
	nodes := cluster(t, 3)
	moved := nodes[2]
	moved.killHost(t)
	port := freePorts(t)
	for i, a := range moved.args {
		for d := range 3 {
			if a == fmt.Sprintf("127.0.0.1:%d", moved.port+d) {
				moved.args[i] = fmt.Sprintf("127.0.0.1:%d", port+d)
			}
		}
	}
	moved.port = port
	moved.start(t)
	ready(t, nodes...)
	nodes[0].killHost(t) // only with the moved one is there still a majority
	id := ""
	eventually(t, 30*time.Second, "a write is accepted", func() (string, bool) {
		out, errOut, code := rota(moved, "run", "--", "true")
		id = strings.TrimSpace(out)
		return errOut, code == 0
	})
	if run := await(t, 30*time.Second, id, moved); run.Status != "succeeded" {
		t.Errorf("%+v", run)
	}
}

// TestAFourthServerFollows: it holds a replica and does not vote.
func TestAFourthServerFollows(t *testing.T) {
	nodes := cluster(t, 3)
	fourth := newProcess(t, "n4", "--join", nodes[1].address())
	fourth.start(t)
	ready(t, append(nodes[:3:3], fourth)...)
	eventually(t, 20*time.Second, "n4 is a non-voter", func() (string, bool) {
		out := must(t, nodes[0], "status", "-o", "json")
		var s struct {
			Servers []struct{ Name, State string }
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err.Error(), false
		}
		for _, server := range s.Servers {
			if server.Name == "n4" && server.State == "non_voter" {
				return "", len(s.Servers) == 4
			}
		}
		return out, false
	})
}
