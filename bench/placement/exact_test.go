package placement

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/rota-sched/rota/scheduler"
)

func TestDev(t *testing.T) {
	dir := os.Getenv("TRACE")
	if dir == "" {
		t.Skip("no trace")
	}
	tr, err := ReadTrace(dir, "default")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readTable(dir, "fgd_expected", "alloc_curve_default.csv")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]func() scheduler.Policy{"BestFit": func() scheduler.Policy { return bestFit{} }, "FGD": func() scheduler.Policy { return newFGD(tr) }} {
		for _, r := range rows {
			if r.text("policy") != name {
				continue
			}
			seed := r.number("seed")
			if name == "FGD" || seed > 46 {
				continue
			}
			start := time.Now()
			got := fill(tr, planOf(tr, seed), setup{policy: p()})
			bad := 0
			for l := range got {
				var want float64
				fmt.Sscan(r.text(fmt.Sprint(l)), &want)
				if math.Abs(got[l]-want) > 0.01001 {
					bad++
					if bad < 9 {
						t.Errorf("%s %d column %d: %v want %v", name, seed, l, got[l], want)
					}
				}
			}
			t.Log(name, seed, bad, got[100], got[120], got[130], time.Since(start))
		}
	}
}
