package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

func parse(t *testing.T, name string, in jobspecs.Inputs) (*jobspecs.File, *rota.Job) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: name, Text: text}, in)
	if ds.HasErrors() {
		t.Fatal(ds.Error())
	}
	job, ds := f.Job("")
	if ds.HasErrors() {
		t.Fatal(ds.Error())
	}
	return f, job
}

// TestExamplesAreWrittenAsFormatted: an example is what people copy.
func TestExamplesAreWrittenAsFormatted(t *testing.T) {
	names, err := filepath.Glob("*.hcl")
	if err != nil || len(names) < 4 {
		t.Fatalf("%v %v", names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		formatted, ds := jobspecs.Format(text)
		if ds.HasErrors() {
			t.Fatal(ds.Error())
		}
		if !bytes.Equal(formatted, text) {
			t.Errorf("%s is not formatted; it should be:\n%s", name, formatted)
		}
	}
}

// outcome is how a task of a walked-through run ended.
type outcome struct {
	jobspecs.TaskValue
	stdout string
}

// walk runs a job the way a cluster does, one task after the other and without
// retries: dependencies first, late expressions with real values.
func walk(t *testing.T, name string, vars map[string]string) map[rota.TaskKey]outcome {
	t.Helper()
	in := jobspecs.Inputs{Variables: make(map[string]json.RawMessage)}
	for k, v := range vars {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		in.Variables[k] = raw
	}
	f, job := parse(t, name, in)
	ended := make(map[rota.TaskKey]outcome)
	for len(ended) < len(job.Tasks) {
		before := len(ended)
		for _, task := range job.Tasks {
			if _, done := ended[task.Key]; done || !ready(task, ended) {
				continue
			}
			ended[task.Key] = runTask(t, f, job, task, ended)
		}
		if len(ended) == before {
			t.Fatalf("nothing is ready, %d of %d tasks have ended", before, len(job.Tasks))
		}
	}
	return ended
}

func ready(task rota.NewTask, ended map[rota.TaskKey]outcome) bool {
	return !slices.ContainsFunc(task.DependsOn, func(e rota.Edge) bool {
		_, ok := ended[e.On]
		return !ok
	})
}

func runTask(t *testing.T, f *jobspecs.File, job *rota.Job, task rota.NewTask, ended map[rota.TaskKey]outcome) outcome {
	t.Helper()
	out := outcome{TaskValue: jobspecs.TaskValue{Key: task.Key, Status: rota.StatusSkipped, Attempts: 1, Node: "n1"}}
	for _, e := range task.DependsOn {
		status := ended[e.On].Status
		forgiven := status == rota.StatusDeadLettered && specOf(job, e.On).AllowFailure
		failed := status == rota.StatusDeadLettered
		if e.Kind == rota.EdgeDelivered && status != rota.StatusDelivered && !forgiven || e.Kind == rota.EdgeFailure && !failed {
			return out
		}
	}
	spec := job.Specs[task.Spec]
	if len(spec.Late) > 0 {
		var skip bool
		var ds rota.Diagnostics
		spec, skip, ds = f.Resolve(job.Name, task.Key, "01TESTRUN", func(k rota.TaskKey) (jobspecs.TaskValue, bool) {
			v, ok := ended[k]
			return v.TaskValue, ok
		})
		if ds.HasErrors() {
			t.Fatal(ds.Error())
		}
		if skip {
			return out
		}
	}
	execute(t, spec, &out)
	return out
}

func specOf(job *rota.Job, key rota.TaskKey) *rota.TaskSpec {
	for _, task := range job.Tasks {
		if task.Key == key {
			return job.Specs[task.Spec]
		}
	}
	return nil
}

func execute(t *testing.T, spec *rota.TaskSpec, out *outcome) {
	t.Helper()
	dir := t.TempDir()
	input := filepath.Join(t.TempDir(), "input.json")
	if err := os.WriteFile(input, spec.Input, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), spec.Command[0], spec.Command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ROTA_INPUT="+input, "ROTA_NODE=n1", "ROTA_ATTEMPT=1")
	for _, p := range spec.Env {
		cmd.Env = append(cmd.Env, p.Key+"="+p.Value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out.ExitCode = cmd.ProcessState.ExitCode()
	out.stdout = stdout.String()
	if err != nil {
		out.Status = rota.StatusDeadLettered
		t.Logf("%s failed: %v\n%s", out.Key, err, stderr.String())
		return
	}
	out.Status = rota.StatusDelivered
	text := strings.TrimSuffix(stdout.String(), "\n")
	switch spec.Output {
	case rota.OutputJSON:
		if !json.Valid([]byte(text)) {
			t.Fatalf("%s put out no JSON: %s", out.Key, text)
		}
		out.Output, out.HasOutput = json.RawMessage(text), true
	case rota.OutputText:
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		out.Output, out.HasOutput = raw, true
	}
}

func expect(t *testing.T, ended map[rota.TaskKey]outcome, key rota.TaskKey, status rota.Status, words ...string) {
	t.Helper()
	got, ok := ended[key]
	if !ok || got.Status != status {
		t.Errorf("%s: %v, want %s", key, got.Status, status)
	}
	for _, w := range words {
		if !strings.Contains(got.stdout, w) {
			t.Errorf("%s does not say %q:\n%s", key, w, got.stdout)
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDemoCountsPrimes: there are 13,848 primes up to 150,000.
func TestDemoCountsPrimes(t *testing.T) {
	if testing.Short() {
		t.Skip("its slow task takes five seconds")
	}
	ended := walk(t, "demo.hcl", nil)
	expect(t, ended, "report", rota.StatusDelivered, "13848 primes", "149993", "5 of 5 known primes confirmed", "attempt 1")
	t.Log("\n" + ended["report"].stdout)
}

// TestSourceReportCountsATree: odd file names, copies and notes included.
func TestSourceReportCountsATree(t *testing.T) {
	root, save := t.TempDir(), filepath.Join(t.TempDir(), "report.md")
	write(t, root, map[string]string{
		"a.go": "package a\n\n// FIXME: finish\n", "sub/b \"quoted\".go": "package b\n" + strings.Repeat("// x\n", 100), "sub/copy.md": "# same\n", "README.md": "# same\n",
		"node_modules/x.go": "package x\n", "empty.py": "",
	})
	ended := walk(t, "source-report.hcl", map[string]string{"root": root, "save_to": save})
	expect(t, ended, "report", rota.StatusDelivered, "| go | 2 | 104 | 1 | sub/b \"quoted\".go |", "| markdown | 2 | 2 |", "1 files are copies", "1 "+root+"/a.go")
	expect(t, ended, "save", rota.StatusDelivered)
	saved, err := os.ReadFile(save)
	if err != nil || string(saved) != ended["report"].stdout {
		t.Errorf("%v: %q", err, saved)
	}
	t.Log("\n" + ended["report"].stdout)
}

// TestLogsTriageDecides: enough bad lines make an incident, fewer do not.
func TestLogsTriageDecides(t *testing.T) {
	logs, incidents := t.TempDir(), t.TempDir()
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, "2026-01-02T03:04:%02d host app[%d]: error: cannot open \"/tmp/x%d\": C:\\gone\n", i, i, i)
	}
	write(t, logs, map[string]string{"app.log": lines.String() + "all fine\nkernel panic - not syncing\nwarning: disk is slow\n", "notes.txt": "error error error\n"})
	ended := walk(t, "logs-triage.hcl", map[string]string{"logs": logs, "alarm_at": "10", "incidents": incidents})
	expect(t, ended, "all-clear", rota.StatusSkipped)
	expect(t, ended, "incident", rota.StatusDelivered, incidents+"/incident-01TESTRUN.json")
	expect(t, ended, "summary", rota.StatusDelivered, "32 lines worth a look, 31 of them bad", "incident file: "+incidents)
	raw, err := os.ReadFile(filepath.Join(incidents, "incident-01TESTRUN.json"))
	if err != nil {
		t.Fatal(err)
	}
	var incident struct {
		Run string
		Bad int
		Top map[string][]struct {
			Count   int
			Message string
		}
	}
	if err := json.Unmarshal(raw, &incident); err != nil || incident.Bad != 31 || incident.Run != "01TESTRUN" || incident.Top["error"][0].Count != 30 {
		t.Errorf("%v: %s", err, raw)
	}
	t.Log("\n" + ended["summary"].stdout)
	ended = walk(t, "logs-triage.hcl", map[string]string{"logs": logs, "incidents": incidents})
	expect(t, ended, "incident", rota.StatusSkipped)
	expect(t, ended, "summary", rota.StatusDelivered, "fewer than 100")
}

// TestBuildPipelineBuildsPacksAndPublishes, and says so when it cannot.
func TestBuildPipelineBuildsPacksAndPublishes(t *testing.T) {
	src, work, target := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "books")
	write(t, src, map[string]string{"1.md": "# One\n\n#bad heading\n", "deep/2.md": "# Two\n\n\ta tab\n"})
	ended := walk(t, "build-pipeline.hcl", map[string]string{"src": src, "work": work, "publish_to": target})
	for _, key := range []rota.TaskKey{"build", "test[tabs]", "pack[tar.gz,fast]", "pack[tar.gz,small]", "pack[md.gz,small]", "pack[tar,none]", "verify", "publish"} {
		expect(t, ended, key, rota.StatusDelivered)
	}
	expect(t, ended, "failed", rota.StatusSkipped)
	expect(t, ended, "summary", rota.StatusDelivered, "test headings  delivered, 1 problems", "test tabs      delivered, 1 problems", "pack book-small.tar.gz", "publish: 4 files in "+target)
	t.Log("\n" + ended["summary"].stdout)

	ended = walk(t, "build-pipeline.hcl", map[string]string{"src": src, "work": work, "max_problems": "1"})
	expect(t, ended, "pack[tar,none]", rota.StatusSkipped)
	expect(t, ended, "summary", rota.StatusDelivered, "pack skipped", "verify: skipped", "publish: skipped")

	ended = walk(t, "build-pipeline.hcl", map[string]string{"src": t.TempDir(), "work": work})
	expect(t, ended, "build", rota.StatusDeadLettered)
	expect(t, ended, "failed", rota.StatusDelivered)
	expect(t, ended, "summary", rota.StatusDelivered, "book: dead_lettered, 0 lines")
}
