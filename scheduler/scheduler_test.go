package scheduler_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/scheduler"
)

type state struct {
	nodes []*rota.Node
	tasks []*rota.Task
	known []rota.Shape
	holds []*rota.Hold
}

func (s state) Nodes() iter.Seq[*rota.Node]  { return slices.Values(s.nodes) }
func (s state) Queued() iter.Seq[*rota.Task] { return slices.Values(s.tasks) }

func (s state) Known() []rota.Shape { return s.known }

func (s state) AllHolds() iter.Seq[*rota.Hold] { return slices.Values(s.holds) }

const gib = 1 << 30

func node(name string, cpu, mem int64, gpus ...rota.GPU) *rota.Node {
	return &rota.Node{
		NodeInfo: rota.NodeInfo{
			ID: rota.NodeID("id-" + name), Name: name, Roles: []rota.Role{rota.RoleWorker},
			Drivers:  []rota.Driver{rota.DriverExec, rota.DriverNoop},
			Capacity: rota.Capacity{CPUMilli: cpu, MemoryBytes: mem, DiskBytes: 100 * gib, Slots: 1000000, GPUs: gpus},
		},
		Session: rota.Session{Node: rota.NodeID("id-" + name), Boot: "b", Counter: 1},
	}
}

func task(run string, order int, spec *rota.TaskSpec) *rota.Task {
	return &rota.Task{
		ID: rota.TaskID{Run: rota.RunID(run), Key: rota.TaskKey(fmt.Sprintf("t%d", order))}, Order: order,
		Spec: spec, Status: rota.StatusQueued, QueuedAt: rota.Instant(1e18),
	}
}

func BenchmarkDecisions(b *testing.B) {
	for _, nodes := range []int{100, 1000} {
		for _, classes := range []int{1, 20} {
			b.Run(fmt.Sprintf("nodes=%d/classes=%d", nodes, classes), func(b *testing.B) {
				var st state
				for i := range nodes {
					st.nodes = append(st.nodes, node(fmt.Sprintf("n%04d", i), 1<<40, 1<<50))
				}
				specs := make([]*rota.TaskSpec, classes)
				for i := range specs {
					specs[i] = &rota.TaskSpec{Driver: rota.DriverExec, Resources: rota.Resources{CPUMilli: int64(100 + i), MemoryBytes: 1 << 20}}
				}
				for i := range b.N {
					st.tasks = append(st.tasks, task("R", i, specs[i%classes]))
				}
				s := scheduler.New(scheduler.Config{})
				s.Load(st)
				b.ResetTimer()
				start := time.Now()
				done := 0
				for done < b.N {
					ps := s.Plan(1, 256)
					if len(ps) == 0 {
						b.Fatal("stuck")
					}
					for _, p := range ps {
						s.Refused(p, rota.KindUnknown)
					}
					done += len(ps)
				}
				b.ReportMetric(float64(done)/time.Since(start).Seconds(), "decisions/s")
			})
		}
	}
}
