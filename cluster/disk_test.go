package cluster_test

import (
	"testing"
	"time"

	"github.com/rota-sched/rota/cluster"
)

// TestAllNodesKilledAtOnceComeBackWithEverything, on real sockets and files, with
// either log store. (Source: the project's first issue, "Bad input and bad days".)
func TestAllNodesKilledAtOnceComeBackWithEverything(t *testing.T) {
	for _, store := range []string{cluster.StoreBolt, cluster.StoreWAL} {
		t.Run(store, func(t *testing.T) {
			w := newWire()
			began := time.Now()
			nodes := startThree(t, w, func(c *cluster.Config) { c.LogStore = store })
			leader := realLeader(t, nodes)
			t.Logf("three nodes have a leader after %s", time.Since(began))
			for n := range 50 {
				res, err := nodes[n%3].Propose(t.Context(), submit(n))
				if err != nil || res.Err() != nil {
					t.Fatalf("submission %d: %v, %v", n, err, res.Err())
				}
			}
			_ = leader
			for i, n := range nodes {
				nodes[i].cfg = sameAddresses(t, n.cfg, n.Cluster)
				w.set(n.cfg.HTTPAdvertise, nil)
			}
			for _, n := range nodes {
				n.stop(t)
			}
			for i, n := range nodes {
				nodes[i] = startReal(t, w, n.cfg)
			}
			realLeader(t, nodes)
			res, err := nodes[0].Propose(t.Context(), submit(50))
			if err != nil || res.Err() != nil {
				t.Fatalf("after the restart: %v, %v", err, res.Err())
			}
			for i, n := range nodes {
				if err := n.Await(t.Context(), res.Index); err != nil {
					t.Fatal(err)
				}
				for r := range 51 {
					if _, ok := n.Snapshot().Run(runID(r)); !ok {
						t.Errorf("node %d lost run %d", i, r)
					}
				}
			}
		})
	}
}
