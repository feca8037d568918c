package cmd_test

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rota-sched/rota/cmd"
)

var update = flag.Bool("update", false, "rewrite the golden texts in testdata/script")

// TestMain lets the scripts start this test binary as rota.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"rota": func() {
			os.Exit(cmd.Main(context.Background(), cmd.Process{
				Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
			}, cmd.Doors{Start: fakeStart}))
		},
	})
}

// TestEveryCommandTellsItsStory runs the scripts of testdata/script, each against
// a node of its own that answers with canned shapes.
func TestEveryCommandTellsItsStory(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			node, address, stop := newFakeNode()
			env.Defer(stop)
			env.Values[nodeKey{}] = node
			env.Setenv("ROTA_ADDR", address)
			env.Setenv("RUN", okRun)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits, "await": await},
	})
}

// exits runs rota and checks its exit code: exits CODE ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	err := ts.Exec("rota", args[1:]...)
	got := "0"
	if err != nil {
		got = exitCode(err)
	}
	if got != args[0] {
		ts.Fatalf("rota %v: exit code %s, want %s", args[1:], got, args[0])
	}
}

type nodeKey struct{}

// await waits until a file is there, or a request was seen: await file NAME, await
// request METHOD PATH.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await file NAME, or await request METHOD PATH")
	}
	node, ok := ts.Value(nodeKey{}).(*fakeNode)
	if !ok {
		ts.Fatalf("no node")
	}
	what := strings.Join(args[1:], " ")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if args[0] == "request" && node.wasAsked(what) {
			return
		}
		if args[0] == "file" {
			if _, err := os.Stat(ts.MkAbs(what)); err == nil {
				return
			}
		}
	}
	ts.Fatalf("await %v: waited in vain", args)
}
