package e2e

import (
	"fmt"
	"math/rand/v2"
)

// Shapes makes one workflow of each shape that the recorded ones have, smaller,
// always the same for a seed.
func Shapes(seed uint64) []*Workflow {
	return []*Workflow{
		mosaic(newGraph("mosaic", seed)), lanes(newGraph("lanes", seed)),
		populations(newGraph("populations", seed)), searches(newGraph("searches", seed)),
	}
}

// graph is a workflow while it is made.
type graph struct {
	w    *Workflow
	rand *rand.Rand
}

func newGraph(name string, seed uint64) *graph {
	return &graph{&Workflow{Name: name}, rand.New(rand.NewPCG(seed, uint64(len(name))))} //nolint:gosec // chance that can be repeated
}

// add makes a task that ran for about the given seconds, and returns its ID.
func (g *graph) add(kind string, seconds float64, parents ...string) string {
	id := fmt.Sprintf("%s_ID%07d", kind, len(g.w.Tasks)+1)
	g.w.Tasks = append(g.w.Tasks, WorkflowTask{ID: id, Seconds: seconds * (0.5 + g.rand.Float64()), Parents: parents})
	return id
}

// mosaic has a wide fan, a join, and the fan again: images are projected, fitted
// in pairs, corrected by one model and added up. (The shape of montage.)
func mosaic(g *graph) *Workflow {
	images := 18 + g.rand.IntN(5)
	var projected, fits, corrected []string
	for range images {
		projected = append(projected, g.add("project", 10))
	}
	for i := range images {
		for _, step := range []int{1, 2} {
			if i+step < images {
				fits = append(fits, g.add("diff", 2, projected[i], projected[i+step]))
			}
		}
	}
	model := g.add("model", 8, g.add("concat", 3, fits...))
	for _, p := range projected {
		corrected = append(corrected, g.add("background", 2, p, model))
	}
	g.add("shrink", 2, g.add("add", 6, g.add("table", 2, corrected...)))
	return g.w
}

// lanes has chains beside each other that join, twice. (The shape of epigenomics.)
func lanes(g *graph) *Workflow {
	var merged []string
	for range 3 {
		split := g.add("split", 5)
		var ends []string
		for range 5 + g.rand.IntN(3) {
			last := split
			for _, kind := range []string{"filter", "convert", "pack", "map"} {
				last = g.add(kind, 12, last)
			}
			ends = append(ends, last)
		}
		merged = append(merged, g.add("merge", 8, ends...))
	}
	g.add("pileup", 10, g.add("index", 6, g.add("merge-all", 8, merged...)))
	return g.w
}

// populations has many tasks that end in one, and pairs of such parents shared by
// the next. (The shape of 1000genome.)
func populations(g *graph) *Workflow {
	for range 4 {
		var parts []string
		for range 8 + g.rand.IntN(4) {
			parts = append(parts, g.add("individuals", 50))
		}
		merge, sift := g.add("individuals-merge", 80, parts...), g.add("sifting", 20)
		for range 3 {
			g.add("mutation", 30, merge, sift)
			g.add("frequency", 60, merge, sift)
		}
	}
	return g.w
}

// searches has branches of two steps that share one parent and join. (The shape
// of srasearch.)
func searches(g *graph) *Workflow {
	index := g.add("build", 15)
	var groups []string
	for range 3 {
		var hits []string
		for range 10 + g.rand.IntN(4) {
			hits = append(hits, g.add("align", 200, index, g.add("dump", 400)))
		}
		groups = append(groups, g.add("merge", 10, hits...))
	}
	g.add("merge-all", 10, groups...)
	return g.w
}
