package keeper_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
)

// levels runs a story on every level of containment that can be had here.
func levels(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	for _, level := range []keeper.Level{keeper.LevelPIDNS, keeper.LevelCgroup, keeper.LevelSubreaper, keeper.LevelNone} {
		t.Run(string(level), func(t *testing.T) { story(t, newWorld(t, level)) })
	}
}

func TestAProcessRunsAndItsExitIsKept(t *testing.T) {
	levels(t, func(t *testing.T, w *world) {
		t.Helper()
		a := w.wait(w.spawn("a", "echo hello; echo oh >&2; exit 3"))
		if a.Exit.Code != 3 || a.Exit.Signal != 0 || a.Why != "" || a.State != keeper.StateExited {
			t.Errorf("got %+v, want exit code 3", a)
		}
		if got := read(t, w.data+"/a.out"); got != "hello\n" {
			t.Errorf("stdout %q", got)
		}
		if got := read(t, w.data+"/a.err"); got != "oh\n" {
			t.Errorf("stderr %q", got)
		}
		h, err := w.c.Hello(t.Context())
		if err != nil || len(h.Attempts) != 1 {
			t.Fatalf("the exit is not kept: %+v, %v", h.Attempts, err)
		}
		if err := w.c.Ack(t.Context(), []keeper.Ref{a.Ref}); err != nil {
			t.Fatal(err)
		}
		if h, err = w.c.Hello(t.Context()); err != nil || len(h.Attempts) != 0 {
			t.Fatalf("after the acknowledgement: %+v, %v", h.Attempts, err)
		}
	})
}

func TestNoFenceIsStartedTwice(t *testing.T) {
	w := newWorld(t, "")
	r := w.spawn("a", "true")
	w.wait(r)
	if err := w.c.Ack(t.Context(), []keeper.Ref{r}); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Spawn(t.Context(), shell(w.data, "a", 1, "true")); !errors.Is(err, rota.ErrConflict) {
		t.Errorf("the same fence again: %v", err)
	}
	if err := w.c.Spawn(t.Context(), shell(w.data, "a", 2, "true")); err != nil {
		t.Errorf("the next fence: %v", err)
	}
}

func TestWhatCannotRunIsRefusedInWords(t *testing.T) {
	w := newWorld(t, "")
	tests := []struct {
		name string
		ask  func(*keeper.SpawnRequest)
		want string
	}{
		{"no such command", func(r *keeper.SpawnRequest) { r.Argv = []string{"no-such-command"} }, `"no-such-command" was not found`},
		{"no such path", func(r *keeper.SpawnRequest) { r.Argv = []string{"/no/such"} }, "/no/such does not exist"},
		{"a directory", func(r *keeper.SpawnRequest) { r.Argv = []string{"/tmp"} }, "is a directory"},
		{"not executable", func(r *keeper.SpawnRequest) { r.Argv = []string{"/etc/passwd"} }, "not executable"},
		{"workdir gone", func(r *keeper.SpawnRequest) { r.Dir = "/no/such/dir" }, "/no/such/dir does not exist"},
		{"workdir a file", func(r *keeper.SpawnRequest) { r.Dir = "/etc/passwd" }, "not a directory"},
		{"empty", func(r *keeper.SpawnRequest) { r.Argv = nil }, "empty"},
		{"too long", func(r *keeper.SpawnRequest) { r.Argv = []string{"true", strings.Repeat("x", 200<<10)} }, "longer than the kernel takes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := shell(w.data, "a", 1, "true")
			r.Fence = rota.Fence(time.Now().UnixNano())
			tt.ask(&r)
			err := w.c.Spawn(t.Context(), r)
			if !errors.Is(err, keeper.ErrRefused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	h, err := w.c.Hello(t.Context())
	if err != nil || len(h.Attempts) != 0 {
		t.Errorf("refused attempts stay in the table: %+v, %v", h.Attempts, err)
	}
}

// TestNothingOutlivesItsStop: whatever a task does, a stop ends all of it before
// its exit is reported.
func TestNothingOutlivesItsStop(t *testing.T) {
	stories := map[string]string{
		"plain":            `exec sleep 4711.1`,
		"setsid":           `setsid sleep 4711.2 & sleep 4711.2`,
		"double fork":      `( ( setsid sleep 4711.3 & ) & ) ; sleep 4711.3`,
		"ignores SIGTERM":  `trap '' TERM; ( trap '' TERM; sleep 4711.4 ) & while :; do sleep 4711.4; done`,
		"stopped itself":   `kill -STOP $$; sleep 4711.5`,
		"stopped children": `sleep 4711.6 & kill -STOP $!; wait`,
	}
	levels(t, func(t *testing.T, w *world) {
		t.Helper()
		for name, script := range stories {
			t.Run(name, func(t *testing.T) {
				key := strings.ReplaceAll(name, " ", "_")
				r := w.spawn(key, "echo up; "+script)
				eventually(t, 5*time.Second, "up", func() bool { s, _, _ := keeper.Tail(w.data+"/"+key+".out", 10); return len(s) > 0 })
				if err := w.c.Stop(t.Context(), r, 15, 200*time.Millisecond, "test"); err != nil {
					t.Fatal(err)
				}
				a := w.wait(r)
				if a.Why != keeper.WhyAsked || a.Exit.Signal == 0 && a.Exit.Code < 128 {
					t.Errorf("it ended as %+v", a)
				}
				if left := pidsWith(t, "4711"); len(left) > 0 {
					t.Errorf("still alive after the exit was reported: %v", left)
				}
			})
		}
	})
}

// TestADaemonLeftBehindEndsWithItsTask: the task itself ended well.
func TestADaemonLeftBehindEndsWithItsTask(t *testing.T) {
	levels(t, func(t *testing.T, w *world) {
		t.Helper()
		a := w.wait(w.spawn("a", "setsid sleep 4712 </dev/null >/dev/null 2>&1 & exit 0"))
		if a.Exit.Code != 0 || a.Killed {
			t.Errorf("got %+v", a)
		}
		if left := pidsWith(t, "4712"); len(left) > 0 {
			t.Errorf("the daemon is still alive: %v", left)
		}
	})
}

// TestAttemptsStartAlthoughTheirCgroupsWereTidiedAway: empty groups are anybody's
// to remove.
func TestAttemptsStartAlthoughTheirCgroupsWereTidiedAway(t *testing.T) {
	w := newWorld(t, keeper.LevelCgroup)
	var life struct{ Cgroup string }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(w.data, "keeper", "life.json"))), &life); err != nil {
		t.Fatal(err)
	}
	if life.Cgroup == "" {
		t.Skip("no cgroups here")
	}
	for _, key := range []string{"first", "second", "third"} {
		if a := w.wait(w.spawn(key, "exit 0")); a.Exit.Code != 0 {
			t.Fatalf("%+v", a)
		}
		below, err := filepath.Glob(filepath.Join(life.Cgroup, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range append(below, life.Cgroup) {
			_ = os.Remove(dir) // the kernel's files stay
		}
		if _, err := os.Stat(life.Cgroup); err == nil {
			t.Fatal("the keeper's group is still there")
		}
	}
}
