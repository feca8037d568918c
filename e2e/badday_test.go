package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The exit codes that scripts rely on. (Source: docs/CLI.md.)
const (
	exitFailed   = 1
	exitUsage    = 2
	exitConflict = 8
)

// TestBadDays gives one cluster all that people get wrong and all that tasks do
// wrong. Each gets an answer that names the thing and a way out, and the cluster
// works on.
func TestBadDays(t *testing.T) {
	nodes := cluster(t, 3)
	for name, days := range map[string]func(*testing.T, []*process){
		"job files": badFiles, "command lines": badLines, "tasks": badTasks, "wild tasks": wildTasks, "nodes": badNodes,
	} {
		t.Run(name, func(t *testing.T) {
			days(t, nodes)
			for _, p := range nodes {
				works(t, p)
			}
		})
	}
}

// badFiles sends job files that nobody should write, by the command line and by
// HTTP.
func badFiles(t *testing.T, nodes []*process) {
	t.Helper()
	many := &strings.Builder{}
	for i := range 20_000 {
		fmt.Fprintf(many, "  task \"t%d\" {\n    driver = \"noop\"\n  }\n", i)
	}
	circle := &strings.Builder{}
	for i := range 500 {
		fmt.Fprintf(circle, "  task \"t%d\" {\n    driver     = \"noop\"\n    depends_on = [task.t%d]\n  }\n", i, (i+1)%500)
	}
	one := "job \"a\" {\n  task \"t\" {\n    driver = \"no%sop\"\n  }\n}\n"
	for _, c := range []struct {
		name, text string
		says       []string
		status     int
	}{
		{"2 MiB", "# " + strings.Repeat("x", 2<<20) + "\njob \"a\" {}\n", []string{"1MiB", "hint:"}, http.StatusRequestEntityTooLarge},
		{"20,000 tasks", "job \"a\" {\n" + many.String() + "}\n", []string{"too many tasks", ":30002:3", "10000"}, http.StatusUnprocessableEntity},
		{"a cycle of 500", "job \"a\" {\n" + circle.String() + "}\n", []string{"cycle", ":4:19", "task.t499 needs task.t0", "Take one"}, http.StatusUnprocessableEntity},
		{"a NUL byte", fmt.Sprintf(one, "\x00"), []string{"NUL", ":3:17", "remove"}, http.StatusUnprocessableEntity},
		{"no UTF-8", fmt.Sprintf(one, "\xff"), []string{"not UTF-8", ":3:17", "Save the file as UTF-8"}, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.hcl")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"run", file}, {"validate", file}, {"plan", file}} {
				out, errOut, code := rota(nodes[0], args...)
				if code != exitUsage || out != "" {
					t.Errorf("rota %s: exit %d, stdout %q", args[0], code, out)
				}
				holdsWords(t, strings.Join(strings.Fields(errOut), " "), append(c.says, "bad.hcl")...)
			}
			status, problem := postRun(t, nodes[1], c.text)
			if status != c.status || !strings.Contains(problem, `"type"`) {
				t.Errorf("POST /v1/runs: %d %s", status, tail([]byte(problem), 500))
			}
		})
	}
}

// postRun sends a job file by HTTP, its bytes as they are.
func postRun(t *testing.T, p *process, source string) (status int, body string) {
	t.Helper()
	quoted := strings.NewReplacer("\\", `\\`, `"`, `\"`, "\n", `\n`, "\x00", `\u0000`).Replace(source)
	return request(t, http.MethodPost, p.url()+"/v1/runs", fmt.Sprintf(`{"filename":"bad.hcl","source":"%s"}`, quoted))
}

// badLines are command lines that mean nothing.
func badLines(t *testing.T, nodes []*process) {
	t.Helper()
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"start", "--nonsense"}, exitUsage, []string{"--nonsense", "hint:", "rota start --help"}},
		{[]string{"run", "--nonsense", "f.hcl"}, exitUsage, []string{"--nonsense", "rota run --help"}},
		{[]string{"--nonsense"}, exitUsage, []string{"--nonsense", "--help"}},
		{[]string{"frobnicate"}, exitUsage, []string{"frobnicate", "--help"}},
		{[]string{"start"}, exitUsage, []string{"--data", "hint:"}},
		{[]string{"start", "--data", filepath.Join(t.TempDir(), "new")}, exitUsage, []string{"--join", "--bootstrap-expect", "rota dev"}},
		{[]string{"run", filepath.Join(t.TempDir(), "none.hcl")}, 3, []string{"none.hcl"}},
		{[]string{"runs", "show", "01ARZ3NDEKTSV4RRFFQ69G5F00"}, 3, []string{"01ARZ3NDEKTSV4RRFFQ69G5F00"}},
	} {
		out, errOut, code := rota(nodes[0], c.args...)
		if code != c.code || out != "" {
			t.Errorf("rota %s: exit %d, want %d; stdout %q", strings.Join(c.args, " "), code, c.code, out)
		}
		holdsWords(t, errOut, c.says...)
	}
}

// badTasks are tasks that end badly by themselves: each a dead letter with its
// cause, or an output cut and told so.
func badTasks(t *testing.T, nodes []*process) {
	t.Helper()
	flood := `head -c 10000000 /dev/zero | tr '\0' x`
	for _, c := range []struct {
		name, body, status, cause string
		exit                      int
		says                      []string
	}{
		{
			"10 MB of text", command(flood) + `output { type = "text" }`, "delivered", "", 0,
			[]string{"truncated", "of 10000000 bytes of stdout"},
		},
		{
			"10 MB of JSON", command(`printf '"'; `+flood+`; printf '"'`) + `output { type = "json" }`, "dead_lettered", "invalid_output", exitFailed,
			[]string{"10000002", "65536"},
		},
		{
			"10 MB in ROTA_OUTPUT", command(`(printf '"'; `+flood+`; printf '"') >"$ROTA_OUTPUT"`) + `output { type = "json" }`, "dead_lettered", "invalid_output", exitFailed,
			[]string{"ROTA_OUTPUT", "65536"},
		},
		{
			"no such command", "command = [\"no-such-command\"]\n", "dead_lettered", "refused", exitFailed,
			[]string{"no-such-command", "PATH", "install it"},
		},
		{
			"working directory gone", command("true") + "workdir = \"/no/such/directory\"\n", "dead_lettered", "refused", exitFailed,
			[]string{"/no/such/directory", "create it"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, code := runOne(t, nodes[1], c.body)
			task := run.task("bad")
			if code != c.exit || task.Status != c.status || task.Cause != c.cause || task.Attempts != 1 {
				t.Errorf("exit %d, task %+v", code, task)
			}
			holdsWords(t, task.Message, c.says...)
			if c.status == "delivered" && len(task.Output) < 60_000 {
				detail := must(t, nodes[2], "task", "show", run.ID+"/bad", "-o", "json")
				if len(detail) < 60_000 {
					t.Errorf("of 10 MB only %d bytes are the output", len(task.Output))
				}
			}
		})
	}
}

func command(script string) string {
	return fmt.Sprintf("command = [\"sh\", \"-c\", %s]\n", quote(script))
}

// runOne runs a job of one task named bad to its end and returns the exit code of
// waiting for it.
func runOne(t *testing.T, p *process, body string) (runView, int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "one.hcl")
	if err := os.WriteFile(file, []byte(oneTask(body)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := rota(p, "run", file, "--wait", "--timeout", "50s", "-o", "json")
	var run runView
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", code, err, tail([]byte(out), 1000), tail([]byte(errOut), 1000))
	}
	return run, code
}

func oneTask(body string) string {
	return "job \"one\" {\n  task \"bad\" {\n    driver = \"exec\"\n" + body + "\n  }\n}\n"
}

// wildTasks do not end when they are told to, leave something behind, or write
// without end. Nothing of them lives longer than they may.
func wildTasks(t *testing.T, nodes []*process) {
	t.Helper()
	t.Run("ignores SIGTERM", func(t *testing.T) {
		id := submit(t, nodes[0], oneTask(command(`trap '' TERM; sleep 86391 & while :; do sleep 86391; done`)))
		running(t, id, "", nodes...)
		must(t, nodes[1], "runs", "cancel", id)
		gone(t, 8*time.Second, "86391") // 2 s of grace, then SIGKILL
		if run := await(t, 10*time.Second, id, nodes[2]); run.Status != "cancelled" || run.Tasks[0].Status != "cancelled" {
			t.Errorf("the run ended as %+v", run)
		}
	})
	t.Run("leaves a daemon", func(t *testing.T) {
		run, code := runOne(t, nodes[0], command(`(setsid sh -c 'trap "" TERM HUP; sleep 86392 & sleep 86392' </dev/null >/dev/null 2>&1 &); sleep 0.2; echo done`))
		if code != 0 || run.Status != "succeeded" {
			t.Errorf("exit %d: %+v", code, run)
		}
		gone(t, 8*time.Second, "86392")
	})
	t.Run("writes for ever", func(t *testing.T) {
		run, code := runOne(t, nodes[0], command(`exec yes 0123456789012345678901234567890123456789012345678901234567890123456789`)+
			"timeouts {\n start_to_close = \"2s\"\n}\nretry {\n max_attempts = 1\n}\n")
		task := run.task("bad")
		if code != exitFailed || task.Status != "dead_lettered" || task.Cause != "timeout_run" {
			t.Fatalf("exit %d: %+v", code, task)
		}
		const bound = 64 << 20 // (Source: JOBSPEC.md, Defaults.)
		if kept := logBytes(t, nodes, run.ID); kept > bound+(1<<20) {
			t.Errorf("%d bytes of its output are kept, the bound is %d", kept, bound)
		} else if kept < bound/4 {
			t.Skipf("it wrote %d bytes only within its time: nothing had to be dropped", kept)
		}
		logs := must(t, nodes[2], "task", "logs", run.ID+"/bad")
		if !strings.Contains(logs, "bytes are not kept]") {
			t.Errorf("%d bytes of log do not say that something is missing", len(logs))
		}
	})
}

// logBytes adds up what all nodes keep of the output of a run.
func logBytes(t *testing.T, nodes []*process, run string) int64 {
	t.Helper()
	var sum int64
	for _, p := range nodes {
		err := filepath.WalkDir(filepath.Join(p.dir, "attempts", run), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // this node ran nothing of it
			}
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sum
}
