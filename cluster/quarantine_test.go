package cluster_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
)

// member finds how a node sees a server of the log.
func member(n *realNode, id rota.NodeID) (cluster.ServerState, bool) {
	for _, s := range n.Servers() {
		if s.ID == id {
			return s, true
		}
	}
	return cluster.ServerState{}, false
}

// damage spoils a stopped node's log in one of the ways in which disks do.
type damage struct {
	name string
	do   func(t *testing.T, raft string)
}

func damages() []damage {
	return []damage{
		{"the log is gone", func(t *testing.T, raft string) {
			t.Helper()
			if err := os.RemoveAll(raft); err != nil {
				t.Fatal(err)
			}
		}},
		{"the file is shorter", func(t *testing.T, raft string) {
			t.Helper()
			path := filepath.Join(raft, "log.bolt")
			info, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, info.Size()/8)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"a bit of an entry is another", func(t *testing.T, raft string) {
			t.Helper()
			path := filepath.Join(raft, "log.bolt")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			word := []byte("request-7")
			if !bytes.Contains(b, word) {
				t.Fatal("the log does not hold the request")
			}
			b = bytes.ReplaceAll(b, word, []byte("request-8"))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// TestANodeBelowItsMarkJoinsAgainAsANewServer: it does not vote under its old name,
// keeps what it had, and is a voter again without anybody's help.
// (Source: RELIABILITY.md, section 3.)
func TestANodeBelowItsMarkJoinsAgainAsANewServer(t *testing.T) {
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			w := newWire()
			nodes := startThree(t, w, nil)
			leader := realLeader(t, nodes)
			for i := range 20 {
				if _, err := nodes[leader].Propose(t.Context(), submit(i)); err != nil {
					t.Fatal(err)
				}
			}
			victim := nodes[(leader+1)%3]
			waitReal(t, "the victim to know the others", func() bool {
				b, err := os.ReadFile(filepath.Join(victim.cfg.DataDir, "cluster.json"))
				return err == nil && bytes.Contains(b, []byte(`"member": true`))
			})
			was, cfg := victim.ID(), sameAddresses(t, victim.cfg, victim.Cluster)
			victim.stop(t)
			w.set(cfg.HTTPAdvertise, nil)
			d.do(t, filepath.Join(cfg.DataDir, "raft"))

			again := startReal(t, w, cfg)
			is := again.ID()
			if is == was {
				t.Fatal("it came back under the ID under which it had voted")
			}
			if err := again.Ready(); err == nil || !strings.Contains(err.Error(), "put aside") && !strings.Contains(err.Error(), "not started") {
				t.Errorf("it says that it is ready, or why not: %v", err)
			}
			waitReal(t, "it to vote again and the old one to be gone", func() bool {
				s, in := member(nodes[leader], is)
				_, old := member(nodes[leader], was)
				return in && s.Voter && !old && s.Replaces == was
			})
			waitReal(t, "it to be ready", func() bool { return again.Ready() == nil })
			res, err := again.Propose(t.Context(), submit(100))
			if err != nil || again.Await(t.Context(), res.Index) != nil {
				t.Fatalf("propose on it: %v", err)
			}
			for _, i := range []int{0, 7, 19, 100} {
				if _, ok := again.Snapshot().Run(runID(i)); !ok {
					t.Errorf("it does not have run %d", i)
				}
			}
			aside, err := filepath.Glob(filepath.Join(cfg.DataDir, "quarantine-*", "node-id"))
			if err != nil || len(aside) != 1 {
				t.Errorf("its old identity was not kept: %v, %v", aside, err)
			}
		})
	}
}

// TestALostQuorumIsRecoveredFromOneServer: two of three are gone for good. What is left
// founds a new cluster, which says what is lost; nobody is asked behind his back.
func TestALostQuorumIsRecoveredFromOneServer(t *testing.T) {
	for _, store := range []string{cluster.StoreBolt, cluster.StoreWAL} {
		t.Run(store, func(t *testing.T) { recoverOne(t, store) })
	}
}

func recoverOne(t *testing.T, store string) {
	t.Helper()
	w := newWire()
	nodes := startThree(t, w, func(c *cluster.Config) { c.LogStore, c.LeaderTTL = store, time.Second })
	leader := realLeader(t, nodes)
	var last rota.Result
	for i := range 20 {
		var err error
		if last, err = nodes[leader].Propose(t.Context(), submit(i)); err != nil {
			t.Fatal(err)
		}
	}
	survivor := nodes[(leader+1)%3]
	if err := survivor.Await(t.Context(), last.Index); err != nil {
		t.Fatal(err)
	}
	clusterID, _ := survivor.Credentials()
	dir := survivor.cfg.DataDir
	if _, err := cluster.Recover(dir, "", true); rota.KindOf(err) != rota.KindConflict {
		t.Errorf("while it runs: %v", err)
	}
	for _, n := range nodes {
		n.stop(t)
	}
	seen, err := cluster.Recover(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if seen.Index < last.Index || seen.Mark < last.Index || seen.Sizes.Runs != 20 || len(seen.Servers) != 3 || seen.ClusterID != clusterID || seen.Damage != "" {
		t.Errorf("what is left: %+v", seen)
	}
	if _, err := os.Stat(filepath.Join(dir, "raft")); err != nil {
		t.Errorf("looking changed something: %v", err)
	}
	if _, err := cluster.Recover(dir, "", true); err != nil {
		t.Fatal(err)
	}
	cfg := survivor.cfg
	cfg.BootstrapExpect, cfg.Join = 1, nil
	founder := startReal(t, newWire(), cfg)
	realLeader(t, []*realNode{founder})
	if id, _ := founder.Credentials(); id == clusterID {
		t.Error("it is the same cluster: servers that come back would be two")
	}
	if s := founder.Snapshot(); s.Incarnation() != 1 || s.Sizes().Runs != 20 {
		t.Errorf("incarnation %d, %d runs", s.Incarnation(), s.Sizes().Runs)
	}
	again := submit(3)
	res, err := founder.Propose(t.Context(), again)
	if err != nil || !res.Existed {
		t.Errorf("a request of before: %+v, %v", res, err)
	}
}

// TestRecoveryNamesWhatIsLost: a log whose middle is damaged ends there.
func TestRecoveryNamesWhatIsLost(t *testing.T) {
	w := newWire()
	cfg := realConfig(t, 0)
	cfg.BootstrapExpect = 1
	n := startReal(t, w, cfg)
	realLeader(t, []*realNode{n})
	for i := range 20 {
		if _, err := n.Propose(t.Context(), submit(i)); err != nil {
			t.Fatal(err)
		}
	}
	n.stop(t)
	damages()[2].do(t, filepath.Join(cfg.DataDir, "raft"))
	if _, err := cluster.Open(cfg, w); !errors.Is(err, cluster.ErrDamaged) || !strings.Contains(err.Error(), "rota server recover") {
		t.Errorf("opened with: %v", err)
	}
	rec, err := cluster.Recover(cfg.DataDir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Sizes.Runs != 7 || !strings.Contains(rec.Damage, "not what was written") || rec.Mark <= rec.Index {
		t.Errorf("what is left: %+v", rec)
	}
	again := startReal(t, w, cfg)
	realLeader(t, []*realNode{again})
	if _, ok := again.Snapshot().Run(runID(6)); !ok {
		t.Error("what was readable is not there")
	}
}

// TestARemovedServerLearnsItAndEnds: it disturbs nobody, and does not come back.
func TestARemovedServerLearnsItAndEnds(t *testing.T) {
	w := newWire()
	nodes := startThree(t, w, nil)
	leader := realLeader(t, nodes)
	waitReal(t, "all to take part", func() bool {
		for _, n := range nodes {
			if n.Ready() != nil {
				return false
			}
		}
		return true
	})
	victim := nodes[(leader+1)%3]
	waitReal(t, "a committed configuration to name it", func() bool {
		r, err := victim.HandleProbe(t.Context())
		return err == nil && r.Member
	})
	third := nodes[3-leader-(leader+1)%3]
	third.stop(t)
	w.set(third.cfg.HTTPAdvertise, nil)
	if _, err := nodes[leader].RemoveServer(t.Context(), victim.cfg.Name); rota.KindOf(err) != rota.KindConflict || !strings.Contains(err.Error(), "2 voters would be left and 1 of them answer") {
		t.Errorf("while another is down, removing: %v", err)
	}
	if _, err := nodes[leader].RemoveServer(t.Context(), "nobody"); rota.KindOf(err) != rota.KindNotFound {
		t.Errorf("removing nobody: %v", err)
	}
	third = startReal(t, w, third.cfg)
	waitReal(t, "the third to be back", func() bool { return third.Ready() == nil })
	term := nodes[leader].Status().Term
	if _, err := nodes[leader].RemoveServer(t.Context(), victim.cfg.Name); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-victim.done:
		close(victim.done)
		if rota.KindOf(err) != rota.KindEnded || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("it ended with: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it never learned that it was removed")
	}
	if _, in := member(nodes[leader], victim.ID()); in {
		t.Error("it is in the log again")
	}
	if now := nodes[leader].Status().Term; now != term {
		t.Errorf("the term rose from %d to %d", term, now)
	}
	if _, err := cluster.Open(victim.cfg, w); rota.KindOf(err) != rota.KindEnded {
		t.Errorf("it starts again: %v", err)
	}
}
