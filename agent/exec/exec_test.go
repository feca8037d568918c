package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/agent/exec"
	"github.com/rota-sched/rota/agenttest"
	"github.com/rota-sched/rota/keeper"
)

// TestMain lets the test binary be the keeper.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == keeper.Command {
		cfg, err := keeper.ParseArgs(os.Args[2:])
		if err == nil {
			cfg.Outcome = exec.KeptOutcome
			err = keeper.Main(context.Background(), cfg)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const run = rota.RunID("01J0000000000000000000000A")

// node is a data directory with a keeper and the driver of its agent.
type node struct {
	t      *testing.T
	layout agent.Layout
	c      *keeper.Client
	driver *exec.Driver
	last   atomic.Uint64
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, layout: agent.Layout{Data: t.TempDir()}}
	n.connect()
	s := rota.Session{Node: "n", Boot: "b", Counter: 1}
	if err := n.c.Begin(t.Context(), s, keeper.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.c.EndSession(ctx, s); err != nil {
			t.Error(err)
		}
		if err := n.c.Quit(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// connect is what an agent does when it starts.
func (n *node) connect() *exec.Driver {
	n.t.Helper()
	c, err := keeper.Start(n.t.Context(), keeper.StartConfig{Data: n.layout.Data, Times: rota.FastLeaseTimes()})
	if err != nil {
		n.t.Fatal(err)
	}
	cfg := exec.DefaultConfig()
	cfg.Client = func() (*keeper.Client, error) { return c, nil }
	cfg.Layout = n.layout
	n.c, n.driver = c, exec.New(cfg)
	return n.driver
}

func (n *node) task(command ...string) agent.Task {
	key := rota.TaskKey(fmt.Sprintf("t%d", n.last.Add(1)))
	id := rota.TaskID{Run: run, Key: key}
	return agent.Task{
		Assignment: rota.Assignment{
			Task: id, Namespace: "default", Job: "j", Fence: rota.NewFence(0, 1), IdempotencyKey: "idem-" + string(key),
			Spec: &rota.TaskSpec{Driver: rota.DriverExec, Command: command},
		},
		Node: "n", NodeName: "n1", Addr: "http://127.0.0.1:8420", Dir: n.layout.Attempt(id, 1),
	}
}

func (n *node) run(task agent.Task) rota.Outcome {
	n.t.Helper()
	h, err := n.driver.Start(n.t.Context(), task, agenttest.Quiet{})
	if err != nil {
		return agent.StartOutcome(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	out, err := h.Wait(ctx)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// ready waits, after a start, for a task that says when it is ready.
type ready struct{ agent.Driver }

func (r ready) Start(ctx context.Context, task agent.Task, sink agent.Sink) (agent.Handle, error) {
	h, err := r.Driver.Start(ctx, task, sink)
	for err == nil && strings.Contains(strings.Join(task.Spec.Command, " "), "ready") && ctx.Err() == nil {
		if b, _, _ := keeper.Tail(filepath.Join(task.Dir, agent.FileStdout), 10); len(b) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return h, err
}

func TestExecIsADriver(t *testing.T) {
	n := newNode(t)
	agenttest.Exercise(t, agenttest.Subject{
		Driver:  ready{n.driver},
		Quick:   func(*testing.T) agent.Task { return n.task("true") },
		Endless: func(*testing.T) agent.Task { return n.task("sleep", "1000") },
		Stubborn: func(*testing.T) agent.Task {
			return n.task("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
		},
		Refused: func(*testing.T) agent.Task { return n.task("no-such-command") },
		Again:   func(*testing.T) agent.Driver { return n.connect() },
	})
}

// TestATaskKnowsWhoItIs. (Source: CONTRACT.md, "A task's environment".)
func TestATaskKnowsWhoItIs(t *testing.T) {
	t.Setenv("AGENT_SECRET", "never")
	n := newNode(t)
	task := n.task("env")
	task.Fence = rota.NewFence(2, 3)
	task.Dir = n.layout.Attempt(task.Task, 3)
	task.Spec.Env = []rota.Pair{{Key: "ROTA_NODE", Value: "a lie"}, {Key: "WORD", Value: "two words"}}
	task.Spec.Input = json.RawMessage(`{"a":1}`)
	task.Spec.Output = rota.OutputText
	task.GPUs = []rota.GPUGrant{{ID: "fake-0", Milli: 1000}, {ID: "fake-3", Milli: 1000}}
	out := n.run(task)
	var text string
	if err := json.Unmarshal(out.Output, &text); err != nil || out.Cause != rota.CauseNone {
		t.Fatalf("%+v, %v", out, err)
	}
	got := strings.Split(text, "\n")
	for _, want := range []string{
		"ROTA_RUN_ID=" + string(run), "ROTA_TASK=t1", "ROTA_ATTEMPT=3", "ROTA_FENCE=" + task.Fence.String(), "ROTA_IDEMPOTENCY_KEY=idem-t1",
		"ROTA_NODE=n1", "ROTA_ADDR=http://127.0.0.1:8420", "ROTA_INPUT=" + task.Dir + "/input.json", "ROTA_OUTPUT=" + task.Dir + "/output",
		"ROTA_USAGE=" + task.Dir + "/usage.json", "ROTA_ARTIFACTS=" + task.Dir + "/artifacts", "CUDA_VISIBLE_DEVICES=fake-0,fake-3", "WORD=two words",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	if strings.Contains(text, "AGENT_SECRET") || strings.Contains(text, "a lie") {
		t.Errorf("the environment has what it must not have:\n%s", text)
	}
}

func TestWithoutAGrantNoGPUIsVisible(t *testing.T) {
	n := newNode(t)
	task := n.task("sh", "-c", `echo "${CUDA_VISIBLE_DEVICES-unset}."`)
	task.Spec.Output = rota.OutputText
	if out := n.run(task); string(out.Output) != `"."` {
		t.Errorf("CUDA_VISIBLE_DEVICES is %s", out.Output)
	}
}

// TestOutputs. (Source: JOBSPEC.md, section 3, Outputs.)
func TestOutputs(t *testing.T) {
	n := newNode(t)
	tests := []struct {
		name    string
		kind    rota.OutputType
		script  string
		want    string // of the output; a prefix with *
		cause   rota.Cause
		message string
		final   bool
	}{
		{name: "none declared", script: "echo hello"},
		{name: "text", kind: rota.OutputText, script: "printf 'a\\n\\n'", want: `"a\n"`},
		{name: "no text", kind: rota.OutputText, script: "true", want: `""`},
		{name: "text file wins", kind: rota.OutputText, script: "echo no; echo yes >$ROTA_OUTPUT", want: `"yes"`},
		{name: "an empty file does not", kind: rota.OutputText, script: "echo yes; : >$ROTA_OUTPUT", want: `"yes"`},
		{name: "html stays readable", kind: rota.OutputText, script: "echo '<a&b>'", want: `"<a&b>"`},
		{name: "json", kind: rota.OutputJSON, script: `echo '{"a": [1]}'`, want: `{"a": [1]}`},
		{name: "json file", kind: rota.OutputJSON, script: `echo noise; echo 7 >$ROTA_OUTPUT`, want: `7`},
		{name: "no json", kind: rota.OutputJSON, script: "true", cause: rota.CauseInvalidOutput, message: "nothing was written"},
		{name: "broken json", kind: rota.OutputJSON, script: "echo '{'", cause: rota.CauseInvalidOutput, message: "(stdout) is not JSON"},
		{name: "large file", kind: rota.OutputText, script: "head -c 65537 /dev/zero | tr '\\0' x >$ROTA_OUTPUT", cause: rota.CauseInvalidOutput, message: "has 65537 bytes, the limit of an inline output is 65536", final: true},
		{name: "ten megabytes", kind: rota.OutputText, script: "head -c 10000000 /dev/zero >$ROTA_OUTPUT", cause: rota.CauseInvalidOutput, message: "10000000", final: true},
		{name: "large json on stdout", kind: rota.OutputJSON, script: "head -c 70000 /dev/zero | tr '\\0' 1", cause: rota.CauseInvalidOutput, message: "70000", final: true},
		{name: "large text on stdout", kind: rota.OutputText, script: "head -c 70000 /dev/zero | tr '\\0' x; echo end", want: `*"xxx`, message: "truncated"},
		{name: "a fifo", kind: rota.OutputText, script: "mkfifo $ROTA_OUTPUT", cause: rota.CauseInvalidOutput, message: "not a regular file"},
		{name: "a link out", kind: rota.OutputText, script: "ln -s /etc/passwd $ROTA_OUTPUT", cause: rota.CauseInvalidOutput, message: "escapes"},
		{name: "failed", kind: rota.OutputText, script: "echo x; echo why >&2; echo >&2; exit 7", cause: rota.CauseExitNonzero, message: "exit code 7: why"},
		{name: "signal", script: "kill -SEGV $$", cause: rota.CauseExitNonzero, message: "killed by signal 11 (SIGSEGV)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			task := n.task("sh", "-c", tt.script)
			task.Spec.Output = tt.kind
			out := n.run(task)
			if out.Cause != tt.cause || !strings.Contains(out.Message, tt.message) || tt.message == "" && out.Message != "" || out.Final != tt.final {
				t.Errorf("cause %q, message %q, final %v", out.Cause, out.Message, out.Final)
			}
			if prefix, ok := strings.CutPrefix(tt.want, "*"); ok && strings.HasPrefix(string(out.Output), prefix) && len(out.Output) <= rota.MaxInlineOutput {
				return
			}
			if string(out.Output) != tt.want {
				t.Errorf("output %.100s, want %s", out.Output, tt.want)
			}
		})
	}
}

func TestUsageIsTakenAtTheEnd(t *testing.T) {
	n := newNode(t)
	out := n.run(n.task("sh", "-c", `echo '{"cost_micro_usd":1200,"tokens_in":9,"tokens_out":3}' >$ROTA_USAGE`))
	if want := (rota.Usage{Cost: 1200, TokensIn: 9, TokensOut: 3}); out.Usage != want {
		t.Errorf("got %+v", out)
	}
	out = n.run(n.task("sh", "-c", `echo '{"cost_micro_usd":-1}' >$ROTA_USAGE`))
	if out.Usage != (rota.Usage{}) || out.Cause != rota.CauseNone || !strings.Contains(out.Message, "ROTA_USAGE") {
		t.Errorf("a negative cost: %+v", out)
	}
}

// TestWorkingDirectories. (Source: JOBSPEC.md, section 3, Working directory.)
func TestWorkingDirectories(t *testing.T) {
	n := newNode(t)
	well, failed := n.task("sh", "-c", "ls | wc -l; touch here"), n.task("sh", "-c", "touch here; exit 1")
	well.Spec.Output = rota.OutputText
	if out := n.run(well); string(out.Output) != `"0"` {
		t.Errorf("a fresh directory holds %s files", out.Output)
	}
	n.run(failed)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.driver.Run(ctx) }()
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(well.Dir + "/work"); os.IsNotExist(err) {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the working directory of a task that ended well stays")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	n.driver.Sweep(time.Now().Add(59 * time.Minute))
	if _, err := os.Stat(failed.Dir + "/work.kept/here"); err != nil {
		t.Errorf("after 59 minutes a failed attempt's directory is gone: %v", err)
	}
	n.driver.Sweep(time.Now().Add(61 * time.Minute))
	if _, err := os.Stat(failed.Dir + "/work.kept"); !os.IsNotExist(err) {
		t.Errorf("after 61 minutes a failed attempt's directory is there: %v", err)
	}
	gone := n.task("true")
	gone.Spec.Workdir = "/no/such/dir"
	if out := n.run(gone); out.Cause != rota.CauseRefused || !strings.Contains(out.Message, "/no/such/dir does not exist") {
		t.Errorf("a working directory that is gone: %+v", out)
	}
	there := n.task("pwd")
	there.Spec.Workdir, there.Spec.Output = "/usr", rota.OutputText
	if out := n.run(there); string(out.Output) != `"/usr"` {
		t.Errorf("an absolute one: %+v", out)
	}
}

func TestACommandThatIsMissingIsRefusedInWords(t *testing.T) {
	n := newNode(t)
	task := n.task("no-such-command", "x")
	out := n.run(task)
	if out.Cause != rota.CauseRefused || !strings.Contains(out.Message, `"no-such-command" was not found`) {
		t.Errorf("got %+v", out)
	}
	if _, err := os.Stat(task.Dir); !os.IsNotExist(err) {
		t.Errorf("a refused attempt leaves its directory: %v", err)
	}
}

// TestWithoutALeaseNothingStarts: the keeper's refusal gives the attempt back.
func TestWithoutALeaseNothingStarts(t *testing.T) {
	n := newNode(t)
	if err := n.c.EndSession(t.Context(), rota.Session{Node: "n", Boot: "b", Counter: 1}); err != nil {
		t.Fatal(err)
	}
	_, err := n.driver.Start(t.Context(), n.task("true"), agenttest.Quiet{})
	if err == nil || !strings.Contains(err.Error(), agent.ErrNoLease.Error()) {
		t.Errorf("got %v", err)
	}
}

// TestWhatTheNodeCannotPrepareIsGivenBack: a disk that takes nothing is no fault of
// the task's.
func TestWhatTheNodeCannotPrepareIsGivenBack(t *testing.T) {
	n := newNode(t)
	task := n.task("true")
	if err := os.WriteFile(n.layout.Root(), nil, 0o600); err != nil { // where its directories should go
		t.Fatal(err)
	}
	if _, err := n.driver.Start(t.Context(), task, agenttest.Quiet{}); !errors.Is(err, agent.ErrUnfit) {
		t.Fatalf("got %v", err)
	}
	if err := n.layout.Probe(); err == nil {
		t.Error("the probe finds nothing wrong")
	}
	if err := os.Remove(n.layout.Root()); err != nil {
		t.Fatal(err)
	}
	if err := n.layout.Probe(); err != nil {
		t.Error(err)
	}
	if out := n.run(task); out.Cause != rota.CauseNone {
		t.Errorf("the same attempt afterwards: %+v", out)
	}
	long := n.task("true")
	long.Dir += strings.Repeat("x", 300)
	if _, err := n.driver.Start(t.Context(), long, agenttest.Quiet{}); err == nil || errors.Is(err, agent.ErrUnfit) {
		t.Errorf("a name that is too long: %v", err)
	}
}
