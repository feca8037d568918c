package api

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rota-sched/rota"
)

func taskOf(run rota.RunID, key rota.TaskKey) rota.Change {
	return rota.Change{Type: rota.TaskChange(rota.StatusQueued), Task: &rota.Task{ID: rota.TaskID{Run: run, Key: key}}}
}

func any1(run rota.RunID) interest {
	return interest{run: run, match: func(*rota.Change) bool { return true }}
}

// TestAReaderWakesForItsRunAlone: what happens to other runs wakes nobody, what
// happened since the reader's index answers at once.
func TestAReaderWakesForItsRunAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waits{}
		w.applied(&rota.Applied{Index: 10, Changes: []rota.Change{taskOf("A", "x")}})
		if at, err := w.await(t.Context(), nil, 9, any1("A"), time.Second); at != 10 || err != nil {
			t.Fatalf("what has happened: index %d, %v", at, err)
		}
		got := make(chan uint64, 1)
		go func() {
			at, _ := w.await(t.Context(), nil, 10, any1("A"), time.Minute)
			got <- at
		}()
		synctest.Wait()
		w.applied(&rota.Applied{Index: 11, Changes: []rota.Change{taskOf("B", "x")}})
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("woken by another run")
		}
		w.applied(&rota.Applied{Index: 12, Changes: []rota.Change{taskOf("B", "y"), taskOf("A", "y")}})
		if at := <-got; at != 12 {
			t.Fatalf("woken with index %d", at)
		}
		if len(w.byRun) != 0 {
			t.Errorf("readers are left: %v", w.byRun)
		}
	})
}

// TestAReaderThatLeavesIsForgotten: time over, reader gone, node stopping.
func TestAReaderThatLeavesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &waits{}
		w.applied(&rota.Applied{Index: 1})
		if at, err := w.await(t.Context(), nil, 1, any1("A"), time.Second); at != 0 || err != nil {
			t.Errorf("time over: %d, %v", at, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.await(ctx, nil, 1, any1("A"), time.Second); err == nil {
			t.Error("the reader's end is not told")
		}
		stop := make(chan struct{})
		close(stop)
		if at, err := w.await(t.Context(), stop, 1, any1(""), time.Minute); at != 0 || err != nil {
			t.Errorf("stopping: %d, %v", at, err)
		}
		if len(w.byRun) != 0 {
			t.Errorf("readers are left: %v", w.byRun)
		}
	})
}

// TestWhatIsNotKeptAnswersAtOnce: an index from before the kept changes, or before a
// state that came by snapshot, might have missed anything.
func TestWhatIsNotKeptAnswersAtOnce(t *testing.T) {
	w := &waits{}
	for i := range uint64(2 * maxRecent) {
		w.applied(&rota.Applied{Index: 100 + i, Changes: []rota.Change{taskOf("B", "x")}})
	}
	if n := len(w.recent); n > maxRecent*5/4 {
		t.Errorf("%d changes are kept", n)
	}
	if at, err := w.await(t.Context(), nil, 100, any1("A"), time.Minute); at != 99+2*maxRecent || err != nil {
		t.Errorf("an old index: %d, %v", at, err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &waits{}
		w.applied(&rota.Applied{Index: 1})
		got := make(chan uint64, 1)
		go func() {
			at, _ := w.await(t.Context(), nil, 1, any1("A"), time.Minute)
			got <- at
		}()
		synctest.Wait()
		w.restored(500)
		if at := <-got; at != 500 {
			t.Errorf("a snapshot: %d", at)
		}
	})
}

// TestUntilEndedPassesOverEverythingElse: a client that waits for the end of a run of
// thousands of tasks is woken once.
func TestUntilEndedPassesOverEverythingElse(t *testing.T) {
	for _, c := range []struct {
		status rota.RunStatus
		want   bool
	}{{rota.RunRunning, false}, {rota.RunWaiting, false}, {rota.RunPaused, true}, {rota.RunSucceeded, true}, {rota.RunFailed, true}} {
		change := rota.Change{Type: rota.ChangeRunStatus, Run: &rota.Run{ID: "A", Status: c.status}}
		if got := endOf(ofRun("A")).match(&change); got != c.want {
			t.Errorf("%s: %v", c.status, got)
		}
	}
	task := taskOf("A", "x")
	if endOf(ofRun("A")).match(&task) {
		t.Error("a task's change wakes")
	}
}
