package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAStoppedProcessIsNoHungDisk: a process that was stopped for longer than a disk
// may take is not at its end, and a disk that does hang afterwards is still noticed.
func TestAStoppedProcessIsNoHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fatals{}
		said := 0
		w := &watchdog{slow: 2 * time.Second, dead: 10 * time.Second, onSlow: func(string, time.Duration) { said++ }, fatal: f.add, calls: map[uint64]storeCall{}}
		end := w.begin("store entries of the log")
		defer end()
		look := func(last, now time.Time) bool {
			t.Helper()
			return w.look(last, now)
		}
		begun := time.Now()
		asleep := begun.Add(w.every())
		awake := asleep.Add(time.Hour)
		if !look(begun, asleep) || !look(asleep, awake) || w.hung() || said != 0 || len(f.all()) != 0 {
			t.Fatalf("on waking: hung %v, said %d times, fatal %v", w.hung(), said, f.all())
		}
		now := awake
		for now.Sub(awake) < 9*time.Second { // half a second of the call came before
			last := now
			if now = now.Add(w.every()); !look(last, now) {
				t.Fatalf("dead %v after waking: %v", now.Sub(awake), f.all())
			}
		}
		if !w.hung() || said != 1 {
			t.Errorf("9 s after waking the disk is not slow: said %d times", said)
		}
		for range 8 {
			last := now
			now = now.Add(w.every())
			look(last, now)
		}
		if len(f.all()) == 0 {
			t.Error("a disk that hangs after the pause is not noticed")
		}
	})
}
