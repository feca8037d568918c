package keeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
)

// TestMain lets the test binary be the keeper, and the agent that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case keeper.Command:
			os.Exit(keeperMain(os.Args[2:]))
		case "test-agent":
			os.Exit(agentMain(os.Args[2], os.Args[3]))
		}
	}
	os.Exit(m.Run())
}

const releaseFileEnv = "TEST_RELEASE_FILE"

func keeperMain(args []string) int {
	cfg, err := keeper.ParseArgs(args)
	if err == nil {
		cfg.Releaser = fileReleaser(os.Getenv(releaseFileEnv))
		cfg.Outcome = func(a keeper.Attempt) *rota.Outcome { return &rota.Outcome{ExitCode: a.Exit.Code} }
		err = keeper.Main(context.Background(), cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// released is one release as the test's cluster got it.
type released struct {
	Session rota.Session
	Left    bool
	Items   []rota.ReportItem
	At      keeper.BootTime
}

// fileReleaser appends releases to a file; without one no cluster can be reached.
type fileReleaser string

func (f fileReleaser) Release(_ context.Context, s rota.Session, left bool, items []rota.ReportItem) error {
	if f == "" {
		return errors.New("no server answers")
	}
	b, err := json.Marshal(released{s, left, items, keeper.Now()})
	if err != nil {
		return err
	}
	w, err := os.OpenFile(string(f), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return errors.Join(err, w.Close())
}

// agentMain is an agent that starts one attempt of a shell script and then waits
// to be killed. When the script runs it prints "up" and when the lease began.
func agentMain(data, script string) int {
	ctx := context.Background()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	c, err := keeper.Start(ctx, testConfig(data))
	if err != nil {
		fmt.Println("agent:", err)
		return 1
	}
	begun := keeper.Now()
	if err := c.Begin(ctx, testSession, begun.Add(testTimes().TTL)); err != nil {
		fmt.Println("agent:", err)
		return 1
	}
	if err := c.Spawn(ctx, shell(data, "a", 1, script)); err != nil {
		fmt.Println("agent:", err)
		return 1
	}
	fmt.Println("up", int64(begun))
	<-stop
	if err := c.PlannedStop(ctx); err != nil {
		fmt.Println("agent:", err)
	}
	return 0
}

var testSession = rota.Session{Node: "node", Boot: "boot", Counter: 1}

// testTimes are shorter than a node's, so that the tests are.
func testTimes() rota.LeaseTimes {
	t := rota.DefaultLeaseTimes()
	t.TTL, t.Renew, t.Kill, t.Term, t.Adopt = 4*time.Second, 200*time.Millisecond, 1200*time.Millisecond, 600*time.Millisecond, 700*time.Millisecond
	return t
}

func testConfig(data string) keeper.StartConfig {
	return keeper.StartConfig{
		Data: data, Level: keeper.Level(os.Getenv("TEST_LEVEL")), Times: testTimes(),
		// The race detector holds a process for a second at its end unless told not to.
		Env: []string{"GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), releaseFileEnv + "=" + filepath.Join(data, "releases")},
	}
}

func ref(key string, fence rota.Fence) keeper.Ref {
	return keeper.Ref{Task: rota.TaskID{Run: "01J0000000000000000000000A", Key: rota.TaskKey(key)}, Fence: fence}
}

// shell asks for an attempt that runs a script.
func shell(data, key string, fence rota.Fence, script string) keeper.SpawnRequest {
	return keeper.SpawnRequest{
		Ref: ref(key, fence), Session: testSession, Argv: []string{"sh", "-c", script},
		Env: []string{"PATH=" + os.Getenv("PATH")}, Dir: data,
		StdoutPath: filepath.Join(data, key+".out"), StderrPath: filepath.Join(data, key+".err"),
	}
}

// world is a data directory with a living keeper and its agent.
type world struct {
	t     *testing.T
	data  string
	c     *keeper.Client
	level keeper.Level
}

// newWorld starts a keeper at a level and begins a session. The test ends only
// when the keeper, and with it everything it started, is gone.
func newWorld(t *testing.T, level keeper.Level) *world {
	t.Helper()
	w := &world{t: t, data: t.TempDir(), level: level}
	w.start()
	t.Cleanup(w.end)
	if got := w.c.Greeting().Containment; got.Level != level && level != "" {
		t.Skipf("level %s is not to be had here: %v", level, got.Why)
	}
	w.begin()
	return w
}

func (w *world) start() {
	w.t.Helper()
	cfg := testConfig(w.data)
	cfg.Level = w.level
	c, err := keeper.Start(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.c = c
}

// end ends the keeper in order; where the test killed it, the next one first
// sweeps up.
func (w *world) end() {
	w.t.Helper()
	if w.t.Failed() {
		if b, err := os.ReadFile(filepath.Join(w.data, "keeper", "keeper.log")); err == nil {
			w.t.Logf("the keeper's log:\n%s", b)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if w.c != nil {
		w.c.Close()
	}
	cfg := testConfig(w.data)
	cfg.Level = w.level
	c, err := keeper.Start(ctx, cfg)
	if err != nil {
		w.t.Error(err)
		return
	}
	if err := c.EndSession(ctx, c.Greeting().Session); err != nil {
		w.t.Error(err)
	}
	if err := c.Quit(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) begin() {
	w.t.Helper()
	if err := w.c.Begin(w.t.Context(), testSession, keeper.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) spawn(key, script string) keeper.Ref {
	w.t.Helper()
	r := shell(w.data, key, 1, script)
	if err := w.c.Spawn(w.t.Context(), r); err != nil {
		w.t.Fatalf("spawn %s: %v", key, err)
	}
	return r.Ref
}

func (w *world) wait(r keeper.Ref) keeper.Attempt {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	a, err := w.c.Wait(ctx, r, true)
	if err != nil {
		w.t.Fatalf("wait for %s: %v (last seen: %+v)", r, err, a)
	}
	return a
}

// eventually waits for a condition.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("after %v: not %s", within, what)
		}
	}
}

// pidsWith lists the processes of this machine, zombies left out, whose command
// line holds the word.
func pidsWith(t *testing.T, word string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name()[0] < '0' || e.Name()[0] > '9' || e.Name() == fmt.Sprint(os.Getpid()) {
			continue
		}
		cmd, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.Contains(string(cmd), word) {
			out = append(out, e.Name())
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *world) releases() []released {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.data, "releases"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var out []released
	for line := range strings.Lines(string(b)) {
		var r released
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}
