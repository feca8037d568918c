package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota"
)

// desk is a history with its writer running.
type desk struct {
	*History
	t    *testing.T
	stop func()
}

func open(t *testing.T, cfg Config) *desk {
	t.Helper()
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{History: h, t: t}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	d.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(d.stop)
	return d
}

// applied is an entry in which n tasks were queued.
func applied(index uint64, n int) rota.Applied {
	a := rota.Applied{Index: index, At: rota.Instant(index) * rota.Instant(time.Second)}
	for i := range n {
		task := &rota.Task{ID: rota.TaskID{Run: "R1", Key: rota.TaskKey(fmt.Sprintf("t%d", i))}, Status: rota.StatusQueued}
		a.Changes = append(a.Changes,
			rota.Change{Type: rota.TaskChange(rota.StatusQueued), At: a.At, Task: task, From: rota.StatusCreated},
			rota.Change{Type: rota.ChangeRoom, At: a.At, Node: &rota.Node{}})
	}
	return a
}

// readAll follows from an ID until the event with the last ID has come.
func (d *desk) readAll(after ID, last string) []rota.Event {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	var all []rota.Event
	tail := d.Follow(after)
	for len(all) == 0 || all[len(all)-1].ID != last {
		events, err := tail.Next(ctx)
		if err != nil {
			d.t.Fatalf("after %d events: %v", len(all), err)
		}
		all = append(all, events...)
	}
	return all
}

func expectIDs(t *testing.T, events []rota.Event, want ...string) {
	t.Helper()
	var got []string
	for _, e := range events {
		got = append(got, e.ID)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("events %v, want %v", got, want)
	}
}

// TestEventsComeOutInOrderAlsoAfterARestart.
func TestEventsComeOutInOrderAlsoAfterARestart(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	d := open(t, cfg)
	d.Append(0, applied(5, 2))
	d.Append(0, applied(6, 0))
	d.Append(0, applied(7, 1))
	before := d.readAll(ID{}, "0-7-0")
	expectIDs(t, before, "0-5-0", "0-5-1", "0-7-0")
	d.stop()

	d = open(t, cfg)
	d.Append(0, applied(5, 2)) // the log is applied again from the newest snapshot on
	d.Append(0, applied(7, 1))
	d.Append(0, applied(8, 1))
	after := d.readAll(ID{}, "0-8-0")
	expectIDs(t, after, "0-5-0", "0-5-1", "0-7-0", "0-8-0")
	if !reflect.DeepEqual(after[:3], before) {
		t.Errorf("the events changed over a restart:\n%+v\n%+v", before, after[:3])
	}
	// A page may end within an entry, and a reader goes on there.
	for _, c := range []struct {
		after ID
		limit int
		want  []string
	}{
		{ID{}, 1, []string{"0-5-0"}},
		{ID{Index: 5}, 1, []string{"0-5-1"}},
		{ID{Index: 5, Position: 1}, 9, []string{"0-7-0", "0-8-0"}},
		{After(0, 5), 1, []string{"0-7-0"}},
		{After(0, 8), 1, nil},
	} {
		got, err := d.Read(c.after, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		expectIDs(t, got, c.want...)
	}
}

// TestTornTailLosesOnlyTheTornEntry: whatever byte a crash cut the file at, the
// entries before it are there, and writing goes on behind them.
func TestTornTailLosesOnlyTheTornEntry(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	d := open(t, cfg)
	d.Append(0, applied(1, 1))
	d.readAll(ID{}, "0-1-0")
	path := d.segments[0].path
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d.Append(0, applied(2, 2))
	d.readAll(ID{}, "0-2-1")
	d.stop()
	both, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole); cut < len(both); cut++ {
		if err := os.WriteFile(path, both[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		d := open(t, cfg)
		d.Append(0, applied(2, 2)) // applied again, since it is in the log
		expectIDs(t, d.readAll(ID{}, "0-2-1"), "0-1-0", "0-2-0", "0-2-1")
		d.stop()
	}
	flipped := append([]byte(nil), both...)
	flipped[len(whole)+recordHead+1] ^= 1
	if err := os.WriteFile(path, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, cfg)
	if got := d.Last(); got != After(0, 1) {
		t.Errorf("after a flipped bit the newest is %s", got)
	}
}

// TestOldSegmentsLeaveAndTheirReadersHearOfIt.
func TestOldSegmentsLeaveAndTheirReadersHearOfIt(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	cfg.MaxBytes, cfg.Segments, cfg.Recent = 4*4096, 4, 10
	d := open(t, cfg)
	const last = 2000
	for i := range last {
		d.Append(0, applied(uint64(i+1), 1))
		if i%50 == 0 {
			d.readAll(After(0, uint64(i)), fmt.Sprintf("0-%d-0", i+1)) // so that segments fill one by one
		}
	}
	end := fmt.Sprintf("0-%d-0", last)
	d.readAll(After(0, last-1), end)
	if _, err := d.Read(ID{}, 10); !errors.Is(err, ErrGone) {
		t.Fatalf("reading from the beginning: %v", err)
	}
	floor := d.Floor()
	kept := d.readAll(floor, end)
	if first := fmt.Sprintf("0-%d-0", floor.Index+1); kept[0].ID != first || len(kept) != last-int(floor.Index) {
		t.Errorf("kept %d events from %s on, want all from %s", len(kept), kept[0].ID, first)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	if err != nil || len(files) != cfg.Segments {
		t.Errorf("%d files, want %d: %v", len(files), cfg.Segments, err)
	}
	size := int64(0)
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if size > 2*cfg.MaxBytes {
		t.Errorf("%d bytes are kept, want about %d at most", size, cfg.MaxBytes)
	}
	d.stop()
	d = open(t, cfg)
	if d.Floor() != floor {
		t.Errorf("after a restart the floor is %s, was %s", d.Floor(), floor)
	}
	if again := d.readAll(floor, end); !reflect.DeepEqual(again, kept) {
		t.Error("other events after a restart")
	}
}

// TestSlowReaderReadsFromFilesAndHoldsUpNobody: a tail that is not read costs
// nothing, and has every event when it is.
func TestSlowReaderReadsFromFilesAndHoldsUpNobody(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	cfg.Recent = 5
	d := open(t, cfg)
	slow := d.Follow(ID{})
	for i := range 3000 {
		d.Append(0, applied(uint64(i+1), 1))
	}
	d.readAll(After(0, 2999), "0-3000-0")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for want := uint64(1); want <= 3000; {
		events, err := slow.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Index != want {
				t.Fatalf("event %s, want index %d", e.ID, want)
			}
			want++
		}
	}
	if len(d.recent) > 6 {
		t.Errorf("%d batches in memory", len(d.recent))
	}
}

// TestManyFollowersAndOneWriter is for the race detector.
func TestManyFollowersAndOneWriter(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	cfg.MaxBytes, cfg.Segments, cfg.Recent = 1<<20, 4, 20
	d := open(t, cfg)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := d.readAll(ID{}, "0-500-2"); len(got) != 1500 {
				t.Errorf("%d events", len(got))
			}
		})
	}
	for i := range 500 {
		d.Append(0, applied(uint64(i+1), 3))
	}
	wg.Wait()
}

// TestEntriesWithoutEventsTakeNoRoom: renewals come four times a second for ever,
// and still a restart knows how far history goes.
func TestEntriesWithoutEventsTakeNoRoom(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	d := open(t, cfg)
	d.Append(0, applied(1, 1))
	for i := range 1000 {
		d.Append(0, applied(uint64(i+2), 0))
	}
	d.Append(0, applied(1002, 1))
	d.readAll(After(0, 1), "0-1002-0")
	for i := range 1000 {
		d.Append(0, applied(uint64(i+1003), 0))
	}
	d.stop()
	st, err := os.Stat(d.pathOfNewest())
	if err != nil || st.Size() > 300 {
		t.Errorf("2,000 idle entries take %d bytes: %v", st.Size(), err)
	}
	d = open(t, cfg)
	d.Restored(0, 2002)
	d.Append(0, applied(2003, 1))
	expectIDs(t, d.readAll(ID{}, "0-2003-0"), "0-1-0", "0-1002-0", "0-2003-0")
}

func (d *desk) pathOfNewest() string {
	files, err := filepath.Glob(filepath.Join(d.cfg.Dir, "*"+segmentSuffix))
	if err != nil || len(files) == 0 {
		d.t.Fatal("no segments", err)
	}
	return files[len(files)-1]
}

// TestSnapshotFromAnotherReplicaLeavesNoHole: what was never seen is gone, not
// missing.
func TestSnapshotFromAnotherReplicaLeavesNoHole(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	d := open(t, cfg)
	d.Append(0, applied(1, 1))
	d.readAll(ID{}, "0-1-0")
	waiting := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := d.Follow(After(0, 1)).Next(t.Context())
		waiting <- err
	})
	d.Restored(0, 50)
	wg.Wait()
	if err := <-waiting; !errors.Is(err, ErrGone) {
		t.Errorf("who followed hears %v", err)
	}
	d.Append(0, applied(40, 1)) // older than the snapshot
	d.Append(0, applied(51, 1))
	expectIDs(t, d.readAll(After(0, 50), "0-51-0"), "0-51-0")
	if _, err := d.Read(After(0, 49), 10); !errors.Is(err, ErrGone) {
		t.Errorf("before the snapshot: %v", err)
	}
	d.stop()
	d = open(t, cfg)
	if d.Floor() != After(0, 50) {
		t.Errorf("floor after a restart %s", d.Floor())
	}
	d.Append(1, applied(3, 1)) // restored from a backup: indexes repeat, the incarnation is higher
	expectIDs(t, d.readAll(d.Floor(), "1-3-0"), "0-51-0", "1-3-0")
}

// TestBrokenDiskCostsHistoryOnly: the write fails, what comes later is kept again.
func TestBrokenDiskCostsHistoryOnly(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	d := open(t, cfg)
	d.Append(0, applied(1, 1))
	d.readAll(ID{}, "0-1-0")
	d.mu.Lock()
	broken := d.segments[0].file
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	d.mu.Unlock()
	d.Append(0, applied(2, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := d.Follow(After(0, 1)).Next(ctx); !errors.Is(err, ErrGone) {
		t.Fatalf("the event that was not written: %v", err)
	}
	d.Append(0, applied(3, 1))
	expectIDs(t, d.readAll(d.Floor(), "0-3-0"), "0-3-0")
}

// TestQueueIsBounded: with a disk that takes nothing, memory does not grow.
func TestQueueIsBounded(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	cfg.Queue = 100
	h, err := Open(cfg) // nobody runs it
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		h.Append(0, applied(uint64(i+1), 2))
	}
	if h.queued > cfg.Queue || len(h.queue) > cfg.Queue {
		t.Fatalf("%d changes in %d entries wait", h.queued, len(h.queue))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if floor, last := h.Floor(), h.Last(); last != After(0, 1000) || floor.Compare(After(0, 900)) < 0 {
		t.Errorf("history from %s to %s", floor, last)
	}
}

// TestForeignFilesDoNoHarm: a damaged head costs that file and what is before it.
func TestForeignFilesDoNoHarm(t *testing.T) {
	cfg := DefaultConfig(t.TempDir())
	cfg.MaxBytes, cfg.Segments = 8*4096, 8
	d := open(t, cfg)
	for i := range 400 {
		d.Append(0, applied(uint64(i+1), 2))
		d.readAll(After(0, uint64(i)), fmt.Sprintf("0-%d-1", i+1))
	}
	d.stop()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	if err := os.WriteFile(files[1], []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, cfg)
	if got := d.readAll(d.Floor(), "0-400-1"); len(got) == 0 || d.Floor() == (ID{}) {
		t.Errorf("%d events after %s", len(got), d.Floor())
	}
	if _, err := os.Stat(files[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file before the hole is still there: %v", err)
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("an empty configuration is taken")
	}
}
