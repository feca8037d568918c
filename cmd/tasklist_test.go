package cmd

import (
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// TestALargeRunShowsWhatWentWrong: of ten thousand tasks a person sees the failed and
// the unfinished ones first, and how many more there are.
func TestALargeRunShowsWhatWentWrong(t *testing.T) {
	tasks := make([]api.TaskView, 1000)
	for i := range tasks {
		tasks[i].Status = rota.StatusDelivered
	}
	tasks[700].Status, tasks[900].Status = rota.StatusDeadLettered, rota.StatusQueued
	shown, left := mostTelling(tasks, 10_000, false)
	if len(shown) != tableTasks || left != 10_000-tableTasks || shown[0].Status != rota.StatusDeadLettered || shown[1].Status != rota.StatusQueued {
		t.Errorf("%d shown, %d left, first %s and %s", len(shown), left, shown[0].Status, shown[1].Status)
	}
	if shown, left := mostTelling(tasks, 10_000, true); len(shown) != 1000 || left != 9000 {
		t.Errorf("wide: %d shown, %d left", len(shown), left)
	}
	if shown, left := mostTelling(tasks[:7], 7, false); len(shown) != 7 || left != 0 {
		t.Errorf("a small run: %d shown, %d left", len(shown), left)
	}
}
