package placement

import (
	"github.com/rota-sched/rota/scheduler"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestOwn(t *testing.T) {
	w := os.Getenv("WL")
	if w == "" {
		w = "default"
	}
	tr, err := ReadTrace(os.Getenv("TRACE"), w)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(os.Getenv("SEEDS"))
	for _, mode := range []string{"given", "learned", "guessed"} {
		var a, b, c float64
		for seed := int64(42); seed < int64(42+n); seed++ {
			start := time.Now()
			s := setup{}
			switch mode {
			case "given":
				s.policy = scheduler.NewLeastWaste(scheduler.DefaultWeights(), shapesOf(tr), machinesOf(tr))
			case "learned":
				s.learns = true
			}
			g := fill(tr, planOf(tr, seed), s)
			t.Log(seed, g[100], g[120], g[130], time.Since(start))
			a += g[100]
			b += g[120]
			c += g[130]
		}
		t.Log(mode, a/float64(n), b/float64(n), c/float64(n))
	}
}
