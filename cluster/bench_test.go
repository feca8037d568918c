package cluster_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/cluster"
)

// BenchmarkPropose is operations through three nodes of one process, on real
// sockets and files, from 1, 64 and 1024 callers at once.
func BenchmarkPropose(b *testing.B) {
	for _, store := range []string{cluster.StoreBolt, cluster.StoreWAL} {
		for _, inFlight := range []int{1, 2, 4} {
			w := newWire()
			nodes := startThree(b, w, func(c *cluster.Config) {
				c.LogStore, c.InFlight, c.Logger = store, inFlight, hclog.NewNullLogger()
			})
			leader := realLeader(b, nodes)
			for _, callers := range []int{1, 64, 1024} {
				b.Run(fmt.Sprintf("%s/inflight=%d/callers=%d", store, inFlight, callers), func(b *testing.B) {
					propose(b, nodes[leader], callers)
				})
			}
			if inFlight == 2 {
				b.Run(store+"/forwarded/callers=64", func(b *testing.B) { propose(b, nodes[(leader+1)%3], 64) })
			}
			for _, n := range nodes {
				n.stop(b)
			}
		}
	}
}

func propose(b *testing.B, n *realNode, callers int) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, callers)
	before := n.Status().Index
	began := time.Now()
	for range callers {
		go func() {
			for left.Add(-1) >= 0 {
				if _, err := n.Propose(b.Context(), rota.Command{Op: rota.RenewLeases{}}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "ops/s")
	if entries := n.Status().Index - before; entries > 0 {
		b.ReportMetric(float64(b.N)/float64(entries), "ops/entry")
	}
}
