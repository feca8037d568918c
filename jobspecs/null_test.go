package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// optional lists every attribute that a task, or the job around it, may leave
// out, with a value that is fine.
var optional = []struct{ block, name, value string }{
	{"job", "namespace", `"n"`},
	{"job", "priority", `5`},
	{"job", "on_task_failure", `"cancel"`},
	{"", "type", `"t"`},
	{"", "driver", `"exec"`},
	{"", "env", `{ A = "b" }`},
	{"", "workdir", `"/tmp"`},
	{"", "depends_on", `[task.before]`},
	{"", "after_any", `[task.before]`},
	{"", "after_failure", `[task.before]`},
	{"", "allow_failure", `true`},
	{"", "when", `true`},
	{"", "priority", `5`},
	{"", "rerun", `"never"`},
	{"input", "x", `1`},
	{"resources", "cpu", `2`},
	{"resources", "memory", `"1GiB"`},
	{"resources", "disk", `"1GiB"`},
	{"gpu", "count", `1`},
	{"gpu", "model", `"H100"`},
	{"gpu", "memory", `"1GiB"`},
	{"gpu", "share", `0.5`},
	{"routing", "required_capabilities", `["a"]`},
	{"constraint", "operator", `"="`},
	{"affinity", "operator", `"="`},
	{"affinity", "weight", `7`},
	{"spread", "weight", `7`},
	{"", "distinct_hosts", `true`},
	{"retry", "max_attempts", `2`},
	{"retry", "backoff", `"fixed"`},
	{"retry", "initial", `"1s"`},
	{"retry", "max", `"2m"`},
	{"retry", "multiplier", `2`},
	{"retry", "jitter", `false`},
	{"retry", "on", `["oom"]`},
	{"timeouts", "schedule_to_start", `"5m"`},
	{"timeouts", "start_to_close", `"5m"`},
	{"timeouts", "schedule_to_close", `"5m"`},
	{"stop", "signal", `"SIGINT"`},
	{"stop", "grace", `"1s"`},
	{"output", "type", `"json"`},
	{"defaults", "max_attempts", `2`},
}

// withAttribute writes a job whose task holds one attribute with one value.
func withAttribute(block, name, value string) string {
	line := name + " = " + value
	inTask, inJob, defaults := "", "", ""
	switch block {
	case "":
		inTask = line
	case "job":
		inJob = line
	case "defaults":
		defaults = "defaults {\n retry {\n " + line + "\n }\n }"
	case "gpu":
		inTask = "resources {\n gpu {\n " + line + "\n }\n }"
	case "spread":
		inTask = "spread {\n attribute = \"label.x\"\n " + line + "\n }"
	case "constraint", "affinity":
		inTask = block + " {\n attribute = \"label.x\"\n value = \"1\"\n " + line + "\n }"
	default:
		inTask = block + " {\n " + line + "\n }"
	}
	return fmt.Sprintf(`variable "v" {
  default = "x"
}
variable "missing" {}
job "j" {
  %s
  %s
  task "before" {
    command = ["true"]
    output {
      type = "json"
    }
  }
  task "a" {
    command = ["true"]
    %s
  }
}`, inJob, defaults, inTask)
}

// TestNullIsAsIfNotWritten: null, typed or not, leaves an optional attribute out;
// a typed null has crashed other readers. (Source: JOBSPEC.md, section 5.)
func TestNullIsAsIfNotWritten(t *testing.T) {
	without := map[string]string{}
	for _, a := range optional {
		given := jobspecs.Inputs{Variables: vars("missing", `1`)}
		f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(withAttribute(a.block, a.name, a.value))}, given)
		if ds.HasErrors() {
			t.Errorf("%s.%s = %s is refused:\n%s", a.block, a.name, a.value, ds.Error())
			continue
		}
		_ = f
		for _, null := range []string{"null", "true ? null : " + a.value, `var.v == "x" ? null : ` + a.value, `try(null, "x")`} {
			if strings.HasPrefix(a.name, "after_") || a.name == "depends_on" {
				null = "null" // lists of references are no expressions
			}
			f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(withAttribute(a.block, a.name, null))}, given)
			if ds.HasErrors() {
				t.Errorf("%s.%s = %s is refused:\n%s", a.block, a.name, null, ds.Error())
				continue
			}
			job, _ := f.Job("j")
			got := fmt.Sprintf("%+v %+v %s %d", *specOf(t, job, "a"), taskOf(t, job, "a").DependsOn, job.Namespace, job.Priority)
			if a.name == "x" {
				got = strings.Replace(got, fmt.Sprintf("%v", []byte(`{"x":null}`)), "", 1)
			}
			if without[a.block] == "" {
				without[a.block] = got
			} else if got != without[a.block] {
				t.Errorf("%s.%s = %s changes the task:\n%s\n%s", a.block, a.name, null, got, without[a.block])
			}
		}
	}
}

// TestUnknownValuesNeverBreakTheReader: what is not known yet, for whatever
// reason, is late, or left open where a variable has no value; it never panics
// and it is never taken for a value.
func TestUnknownValuesNeverBreakTheReader(t *testing.T) {
	for _, a := range optional {
		for _, unknown := range []string{"task.before.output", "task.before.output.x", "run.id", "true ? task.before.output : " + a.value, "tostring(task.before.exit_code)", "[task.before.output]", "{ a = task.before.output }"} {
			f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(withAttribute(a.block, a.name, unknown))}, jobspecs.Inputs{Variables: vars("missing", "1")})
			if ds.HasErrors() {
				continue // refused with words is fine
			}
			for _, output := range []string{`null`, `"x"`, `5`, `[1]`, `{"x":null}`, `true`} {
				spec, skip, ds := f.Resolve("j", "a", "r", ended(delivered("before", output)))
				if (spec == nil) != (skip || ds.HasErrors()) {
					t.Errorf("%s.%s = %s with %s: spec %v, skip %v, %v", a.block, a.name, unknown, output, spec, skip, ds)
				}
			}
		}
		for _, missing := range []string{"var.missing", "tostring(var.missing)", "[var.missing]", "{ a = var.missing }", "var.missing.x[0]", "[for x in var.missing : x]"} {
			f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(withAttribute(a.block, a.name, missing))}, jobspecs.Inputs{AllowMissing: true})
			for _, d := range ds {
				if d.Severity == rota.SeverityWarning && !strings.Contains(d.Summary, "no value") {
					t.Errorf("%s", d)
				}
			}
			if (f == nil) != ds.HasErrors() {
				t.Errorf("%s.%s = %s: file %v, %v", a.block, a.name, missing, f, ds)
			}
		}
	}
}
