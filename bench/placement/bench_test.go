package placement

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFilling and BenchmarkChurning are the scheduler with its own policy, and
// with best fit, on made clusters of mixed tasks; only the scheduler's own calls count.
func BenchmarkFilling(b *testing.B)  { benchmarkEngine(b, false) }
func BenchmarkChurning(b *testing.B) { benchmarkEngine(b, true) }

func benchmarkEngine(b *testing.B, churning bool) {
	b.Helper()
	for _, nodes := range []int{1213, 10_000} {
		t := madeWorkloads()[0].trace(nodes, 1)
		for _, p := range policies(t) {
			if p.name == "FGD" || p.name == "Guessing" || p.name == "Believing" {
				continue
			}
			b.Run(fmt.Sprintf("nodes=%d/%s", nodes, p.name), func(b *testing.B) {
				var took []time.Duration
				before := cpuTime(b)
				for len(took) < b.N {
					took = append(took, timed(t, p.make(), churning, b.N-len(took))...)
				}
				total := time.Duration(0)
				for _, d := range took {
					total += d
				}
				slices.Sort(took)
				b.ReportMetric(float64(len(took))/total.Seconds(), "decisions/s")
				// On a busy machine the wall says little; this has the bench's own part in it.
				b.ReportMetric(float64(len(took))/(cpuTime(b)-before).Seconds(), "decisions/cpu-s")
				b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// cpuTime is what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
