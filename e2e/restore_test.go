package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// snapshotView is what is in a snapshot.
type snapshotView struct {
	ClusterID   string         `json:"cluster_id"`
	Index       uint64         `json:"index"`
	Incarnation uint16         `json:"incarnation"`
	Format      uint16         `json:"format"`
	Digest      string         `json:"digest"`
	Tasks       map[string]int `json:"tasks"`
}

// saved writes the state that a node has to a file, and says what is in it.
func saved(p *process, file string, flags ...string) (snapshotView, string) {
	var v snapshotView
	out, errOut, code := rota(p, append([]string{"snapshot", "save", file, "-o", "json"}, flags...)...)
	if code != 0 {
		return v, errOut
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, err.Error()
	}
	return v, ""
}

// sameState waits until every node has had the first one's digest at an index that both
// reached, and fails if one had another.
func sameState(t *testing.T, nodes []*process) {
	t.Helper()
	dir := t.TempDir()
	seen := map[uint64]string{} // digests by index
	met := map[int]bool{}
	eventually(t, 20*time.Second, "every state meets the first one's", func() (string, bool) {
		views := make([]snapshotView, len(nodes))
		said := make([]string, len(nodes))
		var all sync.WaitGroup
		for i, p := range nodes {
			all.Go(func() { views[i], said[i] = saved(p, filepath.Join(dir, strconv.Itoa(i)), "--stale") })
		}
		all.Wait()
		for i, v := range views {
			if said[i] != "" {
				return said[i], false
			}
			if first, ok := seen[v.Index]; i > 0 && ok {
				met[i] = true
				if v.Digest != first {
					t.Fatalf("at index %d %s has digest %s, %s has %s", v.Index, nodes[0].name, first, nodes[i].name, v.Digest)
				}
			} else if i == 0 {
				seen[v.Index] = v.Digest
			}
		}
		return "no common index yet", len(met) == len(nodes)-1
	})
}

// on is a task that prints done, on the one node that it names.
func on(node string) string {
	return `
job "on" {
  task "hold" {
    driver  = "exec"
    command = ["echo", "done"]
    constraint {
      attribute = "node.name"
      operator  = "="
      value     = "` + node + `"
    }
    output {
      type = "text"
    }
  }
}`
}

// keyed submits a file under a key and gives the run's ID.
func keyed(t *testing.T, p *process, file, key string) string {
	t.Helper()
	return strings.TrimSpace(must(t, p, "run", file, "--idempotency-key", key))
}

// jobFile writes a job file.
func jobFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "job.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// found starts nodes with empty or prepared directories as a new cluster.
func found(t *testing.T, nodes []*process, flags ...string) {
	t.Helper()
	for _, p := range nodes {
		args := append([]string{"--bootstrap-expect", strconv.Itoa(len(nodes))}, flags...)
		for _, other := range nodes {
			if other != p {
				args = append(args, "--join", other.address())
			}
		}
		p.flags(args...)
		p.start(t)
	}
	t.Cleanup(func() { stopTogether(nodes) })
}

// TestASnapshotBecomesAClusterOfAnotherSize: what ran runs again, what was queued is
// done, and what had ended is known, also by its key.
func TestASnapshotBecomesAClusterOfAnotherSize(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	old := cluster(t, 3, "--profile", "fast")
	file := filepath.Join(t.TempDir(), "go")
	held := submit(t, old[0], holding(file))
	running(t, held, "", old...)
	waits := submit(t, old[1], on("m4"))
	done := jobFile(t, chain)
	ended := keyed(t, old[2], done, "once")
	await(t, 20*time.Second, ended, old[2])
	backup := filepath.Join(t.TempDir(), "backup")
	before, problem := saved(old[2], backup)
	if problem != "" || before.Tasks["running"] != 1 || before.Tasks["queued"] != 1 {
		t.Fatalf("the snapshot: %+v %s", before, problem)
	}
	for _, p := range old {
		p.killHost(t)
	}

	nodes := make([]*process, 5)
	for i := range nodes {
		nodes[i] = newProcess(t, "m"+strconv.Itoa(i+1))
	}
	must(t, nil, "snapshot", "restore", backup, "--data", nodes[1].dir)
	found(t, nodes, "--profile", "fast")
	ready(t, nodes...)
	again := running(t, held, "", nodes...)
	t.Logf("the task that ran goes on, on %s", again.name)
	finish(t, file, held, nodes...)
	if run := await(t, 20*time.Second, waits, nodes...); run.Status != "succeeded" || run.Tasks[0].Node != "m4" {
		t.Errorf("what was queued: %+v", run)
	}
	if id := keyed(t, nodes[3], done, "once"); id != ended {
		t.Errorf("the key gives run %s, it was %s", id, ended)
	}
	after, problem := saved(nodes[4], filepath.Join(t.TempDir(), "after"))
	if problem != "" || after.Incarnation <= before.Incarnation || after.ClusterID == before.ClusterID {
		t.Errorf("before %+v, after %+v %s", before, after, problem)
	}
	sameState(t, nodes)
}

// TestALostMajorityIsRecoveredFromTheThird: the last server founds a cluster of one,
// which grows to three and then survives the loss of the one it came from.
func TestALostMajorityIsRecoveredFromTheThird(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	nodes := cluster(t, 3, "--profile", "fast")
	file := filepath.Join(t.TempDir(), "go")
	held := submit(t, nodes[0], holding(file))
	running(t, held, "", nodes...)
	done := jobFile(t, chain)
	ended := keyed(t, nodes[1], done, "once")
	await(t, 20*time.Second, ended, nodes[0]) // so the third server has it
	for _, p := range nodes {
		p.killHost(t)
	}
	last, lost := nodes[0], nodes[1:]
	for _, p := range lost {
		if err := os.RemoveAll(p.dir); err != nil {
			t.Fatal(err)
		}
	}

	if out := must(t, nil, "server", "recover", "--data", last.dir); !strings.Contains(out, "lost") {
		t.Errorf("the look says nothing of what is lost: %s", out)
	}
	must(t, nil, "server", "recover", "--data", last.dir, "--force")
	last.flags("--profile", "fast", "--bootstrap-expect", "1")
	last.start(t)
	ready(t, last)
	running(t, held, "", last)
	finish(t, file, held, last)
	if id := keyed(t, last, done, "once"); id != ended {
		t.Errorf("the key gives run %s, it was %s", id, ended)
	}

	for _, p := range lost {
		p.flags("--profile", "fast", "--join", last.address())
		p.start(t)
	}
	ready(t, nodes...)
	eventually(t, 20*time.Second, "three servers vote", func() (string, bool) {
		out, errOut, _ := rota(last, "status", "-o", "json")
		var s struct {
			Servers []struct{ State string }
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err.Error() + errOut, false
		}
		voters := 0
		for _, server := range s.Servers {
			if server.State == "leader" || server.State == "follower" {
				voters++
			}
		}
		return out, voters == 3
	})
	sameState(t, nodes)
	last.killHost(t)
	eventually(t, 20*time.Second, "a write is accepted without the first", func() (string, bool) {
		_, errOut, code := rota(lost[0], "run", "--", "true")
		return errOut, code == 0
	})
	if run := await(t, 20*time.Second, held, lost...); run.Status != "succeeded" {
		t.Errorf("what the old cluster had: %+v", run)
	}
}
