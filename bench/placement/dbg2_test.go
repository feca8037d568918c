package placement

import (
	"github.com/rota-sched/rota/scheduler"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func dbgTrace(t *testing.T, w string) *Trace {
	for _, m := range madeWorkloads() {
		if m.name == w {
			return m.trace(1213, 1)
		}
	}
	base, mod, isMod := strings.Cut(w, "+")
	if isMod {
		tr, err := ReadTrace(os.Getenv("TRACE"), base)
		if err != nil {
			t.Fatal(err)
		}
		switch mod {
		case "multi30":
			return made{name: "+multi30", shares: .3, several: .3, plain: .13}.reshaped(tr, 1)
		case "multi10":
			return made{name: "+multi10", shares: .4, several: .1, plain: .13}.reshaped(tr, 1)
		case "typed33":
			return made{name: "+typed33", shares: .43, several: .01, plain: .13, typed: .33}.reshaped(tr, 1)
		}
	}
	tr, err := ReadTrace(os.Getenv("TRACE"), w)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
func TestChurnDbg(t *testing.T) {
	lives, _ := strconv.ParseFloat(os.Getenv("LIVES"), 64)
	for _, wl := range strings.Fields(os.Getenv("WL")) {
		tr := dbgTrace(t, wl)
		multi, gpus := 0.0, 0.0
		for _, j := range tr.Tasks {
			gpus += float64(j.GPUMilli())
			if j.Spec.Resources.GPU.Count > 1 {
				multi += float64(j.GPUMilli())
			}
		}
		t.Log(wl, len(tr.Tasks), "multi share of demand", multi/gpus)
		for _, load := range []float64{.95, 1.05} {
			for _, p := range strings.Fields(os.Getenv("P")) {
				s := setup{}
				w := scheduler.DefaultWeights()
				switch p {
				case "bf":
					s.policy = bestFit{}
				case "fgd":
					s.policy = newFGD(tr)
				case "zq":
					s.policy = scheduler.NewLeastWaste(w, shapesOf(tr), machinesOf(tr))
				case "learn":
					s.learns = true
				default: // b,c,g,h,a,q in 1/100
					f := strings.Split(p, ",")
					v := func(i int) int64 { n, _ := strconv.ParseFloat(f[i], 64); return int64(n * 65536) }
					w = scheduler.Weights{Value: v(0), Fluid: v(1), Frag: v(2), Scarcity: v(3), Crowd: v(4), Grain: v(5) / 65536, Gang: v(6)}
					s.policy = scheduler.NewLeastWaste(w, shapesOf(tr), machinesOf(tr))
				}
				start := time.Now()
				if os.Getenv("FILL") != "" {
					g := fill(tr, planOf(tr, 44), s)
					t.Logf("%-12s %-24s %.2f %.2f %.2f  %v", wl, p, g[100], g[120], g[130], time.Since(start))
					continue
				}
				o := churn{load: load, lives: lives, seed: 1}.run(tr, s)
				t.Logf("%-12s %.2f %-24s used %.2f granted %.2f multi %.2f  %d %v", wl, load, p, o.used, o.granted, o.grantedMulti, o.cycles, time.Since(start))
			}
			if os.Getenv("FILL") != "" {
				break
			}
		}
	}
}
