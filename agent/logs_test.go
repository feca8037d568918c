package agent_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// write puts a file into an attempt's directory.
func write(t *testing.T, l agent.Layout, r agent.Ref, name, text string) {
	t.Helper()
	path := filepath.Join(l.Attempt(r.Task, r.Fence.Attempt()), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogIsReadWhileItGrows(t *testing.T) {
	l := agent.Layout{Data: t.TempDir()}
	r := parseRef(t, "a[x%2Fy,z]#3")
	if err := os.MkdirAll(l.Attempt(r.Task, 3), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := agent.Logs{Layout: l}.Open(r.Task, 3, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	for _, step := range []struct{ file, text, want string }{
		{"stderr", "other", ""},
		{"stdout", "one ", "one "},
		{"stdout", "two ", "two "},
		{"stdout.8", "three ", "three "},
		{"stdout.14", "", ""},
		{"stdout.20", "four", "\n[rota: 6 bytes are not kept]\nfour"},
		{"stdout.x", "none of ours", ""},
	} {
		write(t, l, r, step.file, step.text)
		if got := readAll(t, f); got != step.want {
			t.Fatalf("after %q in %s: read %q, want %q", step.text, step.file, got, step.want)
		}
	}
	for offset, want := range map[int64]string{
		0: "one two three \n[rota: 6 bytes are not kept]\nfour", 6: "o three \n[rota: 6 bytes are not kept]\nfour",
		8: "three \n[rota: 6 bytes are not kept]\nfour", 16: "\n[rota: 4 bytes are not kept]\nfour", 22: "ur", 24: "", 99: "",
	} {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, f); got != want {
			t.Errorf("from %d on: %q, want %q", offset, got, want)
		}
	}
	if at, err := f.Seek(-2, io.SeekEnd); err != nil || at != 22 || readAll(t, f) != "ur" {
		t.Errorf("two before the end is %d, %v", at, err)
	}
	if _, err := f.Seek(-1, io.SeekStart); !errors.Is(err, rota.ErrInvalid) {
		t.Errorf("before the beginning: %v", err)
	}
}

func TestLogsOfOthersAreNotFound(t *testing.T) {
	l := agent.Layout{Data: t.TempDir()}
	r := parseRef(t, "a#1")
	write(t, l, r, "stdout", "x")
	secret := filepath.Join(l.Data, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(l.Data, filepath.Join(l.Root(), "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		run, key string
		attempt  uint64
	}{
		{"R", "a", 2}, {"R", "b", 1}, {"..", "attempts", 1}, {"R", "../R/a", 1}, {"", "", 1}, {"R", "a/1/..", 1}, {"link", "attempts", 1}, {"R", "a\x00", 1},
	} {
		_, err := agent.Logs{Layout: l}.Open(rota.TaskID{Run: rota.RunID(c.run), Key: rota.TaskKey(c.key)}, c.attempt, "stdout")
		if err == nil || !errors.Is(err, rota.ErrNotFound) && c.run != "link" {
			t.Errorf("%+v: %v, want not found", c, err)
		}
	}
	if _, err := (agent.Logs{Layout: l}).Open(r.Task, 1, "../secret"); !errors.Is(err, rota.ErrInvalid) {
		t.Errorf("a stream of another name: %v", err)
	}
	if _, err := (agent.Logs{Layout: agent.Layout{Data: t.TempDir()}}).Open(r.Task, 1, "stdout"); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("a node that never ran anything: %v", err)
	}
}

// TestSilentAttemptsHaveEmptyLogs although nothing is kept of them; a reader never
// gets to see what another attempt writes where the silent one was.
func TestSilentAttemptsHaveEmptyLogs(t *testing.T) {
	l := agent.Layout{Data: t.TempDir()}
	r, other := parseRef(t, "a#1"), parseRef(t, "b#1")
	write(t, l, r, "stdout", "")
	if err := os.Remove(filepath.Join(l.Attempt(r.Task, 1), "stdout")); err != nil {
		t.Fatal(err)
	}
	early, err := agent.Logs{Layout: l}.Open(r.Task, 1, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.NoteSilent(r.Task, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Dir(l.Attempt(r.Task, 1)), filepath.Dir(l.Attempt(other.Task, 1))); err != nil {
		t.Fatal(err)
	}
	write(t, l, other, "stdout", "of the other")
	late, err := agent.Logs{Layout: l}.Open(r.Task, 1, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []io.ReadSeekCloser{early, late} {
		if got := readAll(t, f); got != "" {
			t.Errorf("the silent attempt's log is %q", got)
		}
		if at, err := f.Seek(0, io.SeekEnd); at != 0 || err != nil {
			t.Errorf("it ends at %d, %v", at, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := (agent.Logs{Layout: l}).Open(r.Task, 2, "stdout"); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("an attempt that never was: %v", err)
	}

	logs := agent.Logs{Layout: l}
	nobody := func(rota.TaskID, uint64) bool { return false }
	if n, err := logs.Sweep(time.Now().Add(8*24*time.Hour), agent.DefaultRetention(), nobody); n != 2 || err != nil {
		t.Errorf("removed %d, %v: want the other attempt and the list", n, err)
	}
	if _, err := os.Stat(filepath.Join(l.Root(), string(r.Task.Run))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run's folder is still there: %v", err)
	}
}

func TestOldestAttemptsGoFirst(t *testing.T) {
	l := agent.Layout{Data: t.TempDir()}
	now := time.Now()
	put := func(name string, bytes int, age time.Duration) {
		r := parseRef(t, name)
		write(t, l, r, "stdout", strings.Repeat("x", bytes))
		dir := l.Attempt(r.Task, r.Fence.Attempt())
		for _, path := range []string{filepath.Join(dir, "stdout"), dir} {
			if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() string {
		found, err := filepath.Glob(filepath.Join(l.Root(), "R", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			found[i] = strings.TrimPrefix(found[i], filepath.Join(l.Root(), "R")+"/")
		}
		return strings.Join(found, " ")
	}
	put("a#1", 10, 8*24*time.Hour)
	put("a#2", 100, 3*time.Hour)
	put("b#1", 100, 2*time.Hour)
	put("c#1", 100, 4*time.Hour)
	running := func(task rota.TaskID, n uint64) bool { return task.Key == "c" }
	logs := agent.Logs{Layout: l}
	r := agent.Retention{Age: 7 * 24 * time.Hour, Bytes: 300}

	if n, err := logs.Sweep(now, r, running); n != 1 || err != nil || left() != "a/2 b/1 c/1" {
		t.Fatalf("by age: removed %d, %v; left %s", n, err, left())
	}
	r.Bytes = 299
	if n, err := logs.Sweep(now, r, running); n != 1 || err != nil || left() != "b/1 c/1" {
		t.Fatalf("by bytes: removed %d, %v; left %s", n, err, left())
	}
	if _, err := os.Stat(filepath.Join(l.Root(), "R", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the key's folder is still there: %v", err)
	}
	r.Bytes = 0
	if n, err := logs.Sweep(now, r, running); n != 1 || err != nil || left() != "c/1" {
		t.Fatalf("what runs stays: removed %d, %v; left %s", n, err, left())
	}
}

func TestRecordSurvivesItsAgent(t *testing.T) {
	l := agent.Layout{Data: t.TempDir()}
	r := parseRef(t, "a#1")
	task := agent.Task{Assignment: assignment(r, "exec", time.Minute), Node: "n1", Dir: l.Attempt(r.Task, 1), StartedAt: 77}
	task.Spec.Input = []byte(`{"x":1}`)
	if err := task.Prepare(); err != nil {
		t.Fatal(err)
	}
	got, err := l.LoadTask(r)
	if err != nil {
		t.Fatal(err)
	}
	if got.StartedAt != 77 || got.Spec.Timeouts.StartToClose != time.Minute || string(got.Spec.Input) != `{"x":1}` || got.Dir != task.Dir {
		t.Fatalf("read %+v with %+v", got, got.Spec)
	}
	other := r
	other.Fence = rota.NewFence(1, 1) // the same number, after a restore
	if _, err := l.LoadTask(other); err == nil {
		t.Fatal("the record of another fence was taken")
	}
	write(t, l, r, agent.FileRecord, "garbage")
	if _, err := l.LoadTask(r); err == nil {
		t.Fatal("a broken record was taken")
	}
}
