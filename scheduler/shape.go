package scheduler

import (
	"cmp"
	"slices"

	"github.com/rota-sched/rota"
)

// typicalPercent is how much of all demands the typical shapes cover. (Source:
// Weng et al., USENIX ATC 2023.)
const typicalPercent = 95

// typical are the most frequent shapes, up to and with the one at which
// typicalPercent of what was counted is covered; of equal counts the larger demand
// comes first.
func typical(shapes []rota.Shape) []rota.Shape {
	sorted := slices.Clone(shapes)
	total := int64(0)
	for i := range sorted {
		total += sorted[i].Count
	}
	slices.SortFunc(sorted, func(a, b rota.Shape) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Compare(&a))
	})
	covered := int64(0)
	for i := range sorted {
		covered += sorted[i].Count
		if covered*100 >= total*typicalPercent {
			return sorted[:i+1]
		}
	}
	return sorted
}
