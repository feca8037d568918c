package keeper_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
)

// TestNoShortProcessIsLost: a thousand of them, eight at a time.
func TestNoShortProcessIsLost(t *testing.T) {
	for _, level := range []keeper.Level{"", keeper.LevelSubreaper} {
		n := 1000
		if level != "" {
			n = 200
		}
		w := newWorld(t, level)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := g; i < n; i += 8 {
					r := shell(w.data, fmt.Sprintf("k%d", i), 1, "")
					r.Argv = []string{"sh", "-c", fmt.Sprintf("exit %d", i%100)}
					if err := w.c.Spawn(t.Context(), r); err != nil {
						t.Errorf("spawn %d: %v", i, err)
						return
					}
					if a, err := w.c.Wait(t.Context(), r.Ref, true); err != nil || a.Exit.Code != i%100 {
						t.Errorf("the %d-th ended as %+v, %v", i, a, err)
						return
					}
				}
			})
		}
		wg.Wait()
		h, err := w.c.Hello(t.Context())
		if err != nil || len(h.Attempts) != n {
			t.Fatalf("%d exits are kept, want %d: %v", len(h.Attempts), n, err)
		}
		refs := make([]keeper.Ref, n)
		for i, a := range h.Attempts {
			refs[i] = a.Ref
		}
		if err := w.c.Ack(t.Context(), refs); err != nil {
			t.Fatal(err)
		}
		if h, err = w.c.Hello(t.Context()); err != nil || len(h.Attempts) != 0 {
			t.Errorf("%d are left, %v", len(h.Attempts), err)
		}
	}
}

// TestEndlessOutputIsBoundedAndTheTaskLives: head and tail are kept, the rest is
// counted. (Source: RELIABILITY.md, section 4, log bound.)
func TestEndlessOutputIsBoundedAndTheTaskLives(t *testing.T) {
	w := newWorld(t, "")
	r := shell(w.data, "a", 1, "echo first; yes; ")
	r.LogBytes = 1 << 20
	if err := w.c.Spawn(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	path := w.data + "/a.out"
	eventually(t, 10*time.Second, "ten times the bound", func() bool {
		s, err := keeper.Segments(path)
		return err == nil && len(s) > 1 && s[len(s)-1].Offset > 10<<20
	})
	if err := w.c.Stop(t.Context(), r.Ref, syscall.SIGTERM, time.Second, ""); err != nil {
		t.Fatal(err)
	}
	a := w.wait(r.Ref)
	if a.Exit.Signal != syscall.SIGTERM {
		t.Errorf("it ended as %+v before it was asked to", a)
	}
	segments, err := keeper.Segments(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := int64(0)
	for _, s := range segments {
		kept += s.Size
	}
	if kept > r.LogBytes/2 || kept < r.LogBytes/4 {
		t.Errorf("%d bytes are kept, the bound of a stream is %d", kept, r.LogBytes/2)
	}
	if a.Output.DroppedBytes != a.Output.StdoutBytes-kept || a.Output.DroppedBytes == 0 {
		t.Errorf("%+v, kept %d", a.Output, kept)
	}
	if last := segments[len(segments)-1]; last.Offset+last.Size != a.Output.StdoutBytes {
		t.Errorf("the last segment ends at %d of %d", last.Offset+last.Size, a.Output.StdoutBytes)
	}
	if got := read(t, path)[:10]; got != "first\ny\ny\n" {
		t.Errorf("it begins with %q", got)
	}
	b, cut, err := keeper.Tail(path, 64<<10)
	if err != nil || !cut || len(b) != 64<<10 || strings.Trim(string(b), "y\n") != "" {
		t.Errorf("the tail: %d bytes, cut %v, %v", len(b), cut, err)
	}
}

// TestTailReadsAcrossSegmentsButNotAcrossAGap.
func TestTailReadsAcrossSegmentsButNotAcrossAGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for name, text := range map[string]string{"": "0123", ".8": "89", ".10": "ab"} {
		if err := os.WriteFile(path+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[int64]string{1: "b", 2: "ab", 3: "9ab", 4: "89ab", 9: "89ab"} {
		if b, cut, err := keeper.Tail(path, n); string(b) != want || !cut || err != nil {
			t.Errorf("the last %d: %q, cut %v, %v; want %q", n, b, cut, err, want)
		}
	}
	for _, name := range []string{".8", ".10"} {
		if err := os.Remove(path + name); err != nil {
			t.Fatal(err)
		}
	}
	if b, cut, err := keeper.Tail(path, 9); string(b) != "0123" || cut || err != nil {
		t.Errorf("all of it: %q, cut %v, %v", b, cut, err)
	}
}

// TestATaskInheritsNothing: no descriptor but its three, no terminal, a process
// group and a mask of its own. (Source: RELIABILITY.md, section 5, runc
// CVE-2024-21626.)
func TestATaskInheritsNothing(t *testing.T) {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil { // open, and inherited by whatever we start
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Close(fds[0])
		_ = syscall.Close(fds[1])
	})
	t.Setenv("AGENT_SECRET", "never")
	levels(t, func(t *testing.T, w *world) {
		t.Helper()
		a := w.wait(w.spawn("a", `for f in /proc/self/fd/*; do echo "${f##*/} $(readlink $f)"; done; umask; env; cut -d' ' -f5 /proc/self/stat; cat`))
		if a.Exit.Code != 0 {
			t.Fatalf("%+v", a)
		}
		out := read(t, w.data+"/a.out")
		lines := strings.Split(out, "\n")
		// The shell itself has none open but what a glob needs for a moment.
		if len(lines) < 4 || lines[0] != "0 /dev/null" || !strings.HasPrefix(lines[1], "1 pipe:") || !strings.HasPrefix(lines[2], "2 pipe:") {
			t.Errorf("it has open:\n%s", out)
		}
		for _, line := range lines[3:] {
			if strings.Contains(line, "pipe:") || strings.Contains(line, "socket:") || strings.Contains(line, w.data+"/keeper") {
				t.Errorf("it inherited %s", line)
			}
		}
		if !strings.Contains(out, "\n0022\n") {
			t.Errorf("its mask is not 0022:\n%s", out)
		}
		if strings.Contains(out, "AGENT_SECRET") {
			t.Error("the agent's environment reaches a task")
		}
	})
}

// TestLongDirectories: the socket works where its path is too long for an address.
func TestLongDirectories(t *testing.T) {
	for _, level := range []keeper.Level{"", keeper.LevelSubreaper} {
		w := &world{t: t, data: filepath.Join(t.TempDir(), strings.Repeat("long/", 30)), level: level}
		if err := os.MkdirAll(w.data, 0o700); err != nil {
			t.Fatal(err)
		}
		w.start()
		t.Cleanup(w.end)
		w.begin()
		w.wait(w.spawn("a", "true"))
	}
}

// TestLateStartsAreRefused: nothing starts that could not be ended in time.
// (Source: RELIABILITY.md, section 2, rule 2.)
func TestLateStartsAreRefused(t *testing.T) {
	w := newWorld(t, "")
	times := testTimes()
	next := testSession
	next.Counter++
	if err := w.c.Begin(t.Context(), next, keeper.Now().Add(times.Kill+times.Renew)); err != nil {
		t.Fatal(err)
	}
	r := shell(w.data, "a", 1, "true")
	r.Session = next
	if err := w.c.Spawn(t.Context(), r); !errors.Is(err, rota.ErrUnavailable) {
		t.Errorf("a late start: %v", err)
	}
	if err := w.c.Extend(t.Context(), next, keeper.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Spawn(t.Context(), r); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	w.wait(r.Ref)
	old := shell(w.data, "b", 1, "true")
	if err := w.c.Spawn(t.Context(), old); !errors.Is(err, rota.ErrStale) {
		t.Errorf("a start for the session before: %v", err)
	}
}

// TestTheNewestViewIsRemembered.
func TestTheNewestViewIsRemembered(t *testing.T) {
	w := newWorld(t, "")
	for _, v := range []keeper.ViewMark{{Incarnation: 1, Index: 9}, {Incarnation: 1, Index: 3}, {Incarnation: 0, Index: 12}} {
		if err := w.c.NoteView(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	if got := w.c.Greeting().Newest; got != (keeper.ViewMark{Incarnation: 1, Index: 9}) {
		t.Errorf("the next agent is told %+v", got)
	}
}

// cpuSeconds is what a process has used of the processors, its children left out.
func cpuSeconds(tb testing.TB, pid int) float64 {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

// BenchmarkTrue runs /bin/true through the keeper, eight at a time, and beside it
// the machine's own limit: fork and exec, nothing else.
func BenchmarkTrue(b *testing.B) {
	for _, output := range []string{"silent", "one line"} {
		b.Run("keeper/"+output, func(b *testing.B) {
			data := b.TempDir()
			c, err := keeper.Start(b.Context(), testConfig(data))
			if err != nil {
				b.Fatal(err)
			}
			if err := c.Begin(b.Context(), testSession, keeper.Now().Add(time.Hour)); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := g; i < b.N; i += 8 {
						r := shell(data, fmt.Sprintf("k%d", i), 1, "")
						r.Argv = []string{"/bin/true"}
						if output != "silent" {
							r.Argv = []string{"/bin/echo", "line"}
						}
						if err := c.Spawn(b.Context(), r); err != nil {
							b.Error(err)
							return
						}
						if _, err := c.Wait(b.Context(), r.Ref, true); err != nil {
							b.Error(err)
							return
						}
						if err := c.Ack(b.Context(), []keeper.Ref{r.Ref}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric(cpuSeconds(b, c.PID())*1e6/float64(b.N), "keeper-cpu-us/task")
			if err := c.EndSession(b.Context(), testSession); err != nil {
				b.Error(err)
			}
			if err := c.Quit(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
	b.Run("bare", func(b *testing.B) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := g; i < b.N; i += 8 {
					pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{})
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	})
}
