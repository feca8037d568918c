package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// inNamespace runs the calling test again in a network namespace of its own, where
// routes can be cut without anybody noticing. It returns true there.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("ROTA_E2E_NAMESPACE") == t.Name() {
		if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("ip link set lo up: %v\n%s", err, out)
		}
		return true
	}
	for _, tool := range []string{"ip", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: it takes the tool %s: %v", tool, err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("skipped: it takes the right to make a network namespace: %v %s", err, out)
	}
	inner := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m")
	inner.Env = append(os.Environ(), "ROTA_E2E_NAMESPACE="+t.Name(), "ROTA_BIN="+binary)
	out, err := inner.CombinedOutput()
	t.Logf("in a network namespace:\n%s", tail(out, 20_000))
	if err != nil {
		t.Error(err)
	}
	return false
}

// route changes which addresses of the namespace can be reached.
func route(t *testing.T, what string, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		if out, err := exec.CommandContext(t.Context(), "ip", "route", what, "unreachable", a+"/32", "table", "local").CombinedOutput(); err != nil {
			t.Fatalf("ip route %s unreachable %s: %v\n%s", what, a, err, out)
		}
	}
}

// TestLeaderlessTimeKillsNoTask: Raft is cut between all nodes, everything else
// works. Nobody leads; the nodes extend their leases by asking the voters, and
// afterwards all goes on. ROTA_LEADERLESS sets how long: 60s is the promise.
// (Source: RELIABILITY.md, section 2, rule 7.)
func TestLeaderlessTimeKillsNoTask(t *testing.T) {
	if testing.Short() {
		t.Skip("a long story: run without -short")
	}
	t.Parallel() // it waits most of the time, in a network of its own
	if !inNamespace(t) {
		return
	}
	long := 20 * time.Second // twice the lease
	if text := os.Getenv("ROTA_LEADERLESS"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	nodes := make([]*process, 3)
	rafts := make([]string, 3)
	for i := range nodes {
		rafts[i] = fmt.Sprintf("127.0.1.%d", i+1)
		nodes[i] = newProcess(t, fmt.Sprintf("n%d", i+1), "--bootstrap-expect", "3")
		nodes[i].args = append(nodes[i].args, "--raft", fmt.Sprintf("%s:%d", rafts[i], nodes[i].port+1))
	}
	for _, p := range nodes {
		for _, other := range without(nodes, p) {
			p.args = append(p.args, "--join", other.address())
		}
		p.start(t)
	}
	ready(t, nodes...)
	file := filepath.Join(t.TempDir(), "go")
	var ids []string
	for i := range nodes { // one task on each node
		ids = append(ids, submit(t, nodes[0], pinned(file, nodes[i].name)))
		running(t, ids[i], "", nodes...)
	}
	before := commandLines(file)

	route(t, "add", rafts...)
	eventually(t, 10*time.Second, "nobody leads", func() (string, bool) {
		for _, p := range nodes {
			if s, err := statusOf(p); err != nil || s.Leader != "" {
				return fmt.Sprintf("%+v %v", s, err), false
			}
		}
		return "", true
	})
	began := time.Now()
	for time.Since(began) < long {
		hold(t, time.Second)
		if now := len(commandLines(file)); now < len(ids) {
			t.Fatalf("after %v without a leader only %d of %d tasks live: %v", time.Since(began), now, len(ids), before)
		}
	}
	if _, errOut, code := rotaIn(nodes[0], "", 20*time.Second, "run", "--", "true"); code != 7 {
		t.Errorf("a write without a leader: exit %d: %s", code, errOut)
	}
	route(t, "del", rafts...)
	ready(t, nodes...)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		run := await(t, 30*time.Second, id, nodes...)
		if run.Status != "succeeded" || run.Tasks[0].Attempts != 1 || run.Tasks[0].Node != nodes[i].name {
			t.Errorf("%v without a leader cost an attempt: %+v", long, run.Tasks[0])
		}
	}
	works(t, nodes[0])
}

// pinned is a task like holding that runs on one node only.
func pinned(file, node string) string {
	return fmt.Sprintf(`
job "pinned" {
  task "hold" {
    driver  = "exec"
    command = ["sh", "-c", "while [ ! -e %s ]; do sleep 0.05; done; echo done"]
    constraint {
      attribute = "node.name"
      operator  = "="
      value     = %s
    }
  }
}`, file, quote(node))
}
