package cluster_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
	"github.com/rota-sched/rota/clustertest"
)

// saved is a backup of a cluster with two runs, one of them placed on node "w".
func saved(t *testing.T, from *clustertest.Cluster, on int) string {
	t.Helper()
	var b bytes.Buffer
	if err := from.Node(on).WriteBackup(t.Context(), &b, false); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rota.snap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func worker(name string) rota.RegisterNode {
	return rota.RegisterNode{Boot: "boot", Info: rota.NodeInfo{
		ID: rota.NodeID(name), Name: name, Roles: []rota.Role{rota.RoleWorker}, Drivers: []rota.Driver{rota.DriverNoop},
		Capacity: rota.Capacity{CPUMilli: 8000, MemoryBytes: 1 << 30, Slots: 8},
	}}
}

// TestABackupFoundsAClusterOfAnotherSize: three servers' state goes on with five,
// under higher fences, and takes no node in before the old ones' work has ended.
func TestABackupFoundsAClusterOfAnotherSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := clustertest.New(t, 3, clustertest.Options{})
		leader := old.WaitLeader()
		mustSubmit(t, old, leader, 1)
		session := old.Propose(leader, rota.Command{Op: worker("w")}).Session
		task := rota.TaskID{Run: runID(1), Key: "task"}
		if r := old.Propose(leader, rota.Command{Op: rota.Place{Placements: []rota.NewPlacement{{Task: task, Session: session}}}}); r.Items[0] != rota.KindNone {
			t.Fatal("not placed")
		}
		mustSubmit(t, old, leader, 2)
		follower := (leader + 1) % 3
		path := saved(t, old, follower)
		before := old.Node(leader).Snapshot()
		old.StopAll()

		info, err := cluster.ReadBackup(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Sizes.Runs != 2 || info.Index != before.Index() || info.Digest != before.Digest().String() || info.Term == 0 || info.Node != clustertest.Name(follower) {
			t.Errorf("the backup says %+v", info)
		}

		const holder = 3 // not the lowest ID: the one with the file proposes all the same
		c := clustertest.Empty(t, clustertest.Options{Config: func(i int, cfg *cluster.Config) {
			if _, err := os.Stat(filepath.Join(cfg.DataDir, "cluster.json")); i != holder || err == nil {
				return
			}
			if _, err := cluster.PrepareRestore(cfg.DataDir, path, 0); err != nil {
				t.Error(err)
			}
		}})
		for i := range 5 {
			c.Add(i, 5)
		}
		leader = c.WaitLeader()
		c.WaitStarted(0, 1, 2, 3, 4)
		founded := time.Now()
		c.Wait("all to have the state", func() string {
			for i := range 5 {
				if s := c.Node(i).Snapshot(); s == nil || s.Incarnation() != 1 {
					return clustertest.Name(i) + " has not"
				}
			}
			return ""
		})
		c.WaitDigestsEqual()
		wantRuns(t, c, []int{0, 1, 2, 3, 4}, 1, 2)
		if res := mustSubmit(t, c, leader, 1); !res.Existed {
			t.Error("the idempotency key of the first run was forgotten")
		}
		mustSubmit(t, c, leader, 3)
		if r := c.Propose(leader, rota.Command{Op: worker("w")}); r.Kind != rota.KindUnavailable {
			t.Fatalf("a node was taken in %s after the restore: %+v", time.Since(founded), r)
		}
		var taken rota.Result
		c.Wait("a node to be taken in", func() string {
			taken = c.Propose(leader, rota.Command{Op: worker("w")})
			return taken.Detail
		})
		if passed := time.Since(founded); passed < 9*time.Second {
			t.Errorf("a node was taken in after %s: what the old cluster had started may still run", passed)
		}
		c.Restart(holder)
		c.WaitStarted(holder)
		c.WaitDigestsEqual()
		c.Wait("the task to be queued", func() string {
			c.Propose(leader, rota.Command{Op: rota.Due{}})
			if tk, _ := c.Node(leader).Snapshot().Task(task); tk.Status != rota.StatusQueued {
				return tk.Status.String()
			}
			return ""
		})
		leader = c.WaitLeader()
		c.Propose(leader, rota.Command{Op: rota.Place{Placements: []rota.NewPlacement{{Task: task, Session: taken.Session}}}})
		tk, _ := c.Node(leader).Snapshot().Task(task)
		if tk.Placement == nil || tk.Placement.Fence.Incarnation() != 1 {
			t.Errorf("after the restore the task has the placement %+v", tk.Placement)
		}
	})
}

// TestADamagedBackupIsRefused: wherever a byte was changed or the end is missing.
func TestADamagedBackupIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.New(t, 1, clustertest.Options{})
		mustSubmit(t, c, c.WaitLeader(), 1)
		path := saved(t, c, 0)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		try := func(what string, b []byte) {
			t.Helper()
			bad := filepath.Join(dir, "bad.snap")
			if err := os.WriteFile(bad, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := cluster.ReadBackup(bad); !errors.Is(err, cluster.ErrNotBackup) {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := cluster.PrepareRestore(filepath.Join(dir, "data"), bad, 0); err == nil {
				t.Errorf("%s: it was taken", what)
			}
		}
		for at := 0; at < len(good); at += 7 {
			b := bytes.Clone(good)
			b[at] ^= 0x10
			try("a flipped bit", b)
		}
		for _, n := range []int{0, 4, 20, len(good) / 2, len(good) - 1} {
			try("cut", good[:n])
		}
		try("longer", append(bytes.Clone(good), 0))
		if _, err := cluster.ReadBackup(filepath.Join(dir, "nothing")); rota.KindOf(err) != rota.KindNotFound {
			t.Errorf("a file that is not there: %v", err)
		}
	})
}

// TestABackupGoesIntoAnEmptyDirectoryOnly: a node's own data is never overwritten.
func TestABackupGoesIntoAnEmptyDirectoryOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dir string
		c := clustertest.New(t, 1, clustertest.Options{Config: func(_ int, cfg *cluster.Config) { dir = cfg.DataDir }})
		mustSubmit(t, c, c.WaitLeader(), 1)
		path := saved(t, c, 0)
		_, err := cluster.PrepareRestore(dir, path, 0)
		if rota.KindOf(err) != rota.KindConflict || !strings.Contains(err.Error(), "running node") {
			t.Errorf("while the node runs: %v", err)
		}
		c.StopAll()
		_, err = cluster.PrepareRestore(dir, path, 0)
		if rota.KindOf(err) != rota.KindConflict || !strings.Contains(err.Error(), "belongs to a cluster") {
			t.Errorf("after it was stopped: %v", err)
		}
	})
}
