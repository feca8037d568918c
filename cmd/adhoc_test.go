package cmd

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// parsed sends a command through the job language and gives the task it became.
func parsed(o adhoc, command []string) (*rota.TaskSpec, rota.Diagnostics, error) {
	if o.driver == "" {
		o.driver = "exec"
	}
	src, err := o.source(command, nil)
	if err != nil {
		return nil, nil, err
	}
	file, ds := jobspecs.Parse(src, jobspecs.Inputs{})
	if ds.HasErrors() {
		return nil, ds, nil
	}
	job, ds := file.Job(adhocJob)
	if ds.HasErrors() {
		return nil, ds, nil
	}
	return job.Specs[0], nil, nil
}

// A command is what it is: the job language, in which it travels, must not read
// templates, escapes or references into it.
func TestCommandsSurviveTheJobLanguage(t *testing.T) {
	for _, word := range []string{
		"${HOME}", "$${HOME}", "$$${x}", "%{ if x }", "%%{", "$", "$$", "a\nb", `back\slash`, `"quoted"`, "<&>", "task.x.output", "日本", "\u2028", "", " ",
		"${", "%{", "$${", "%%%{", "~{", "${~ x ~}",
	} {
		spec, ds, err := parsed(adhoc{env: []string{"K=" + word}}, []string{"echo", word})
		if err != nil || ds.HasErrors() {
			t.Errorf("%q: %v %v", word, err, ds)
			continue
		}
		if !slices.Equal(spec.Command, []string{"echo", word}) {
			t.Errorf("%q became %q", word, spec.Command)
		}
		if v, _ := rota.LookUp(spec.Env, "K"); v != word {
			t.Errorf("env %q became %q", word, v)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOf(rapid.SampledFrom([]rune("${}%~a\"\\ "))).Draw(t, "word")
		spec, ds, err := parsed(adhoc{}, []string{"echo", word})
		if err != nil || ds.HasErrors() {
			t.Fatalf("%q: %v %v", word, err, ds)
		}
		if spec.Command[1] != word {
			t.Fatalf("%q became %q", word, spec.Command[1])
		}
	})
}

func TestFlagsOfACommandBecomeItsSpec(t *testing.T) {
	spec, ds, err := parsed(adhoc{
		cpu: "0.5", memory: "1GiB", gpu: "2", gpuModel: "H100", workdir: "/srv", retries: 2, env: []string{"A=b"},
		constraints: []string{"label.rack=a", "gpu.model!=T4", "label.zone in x, y", "node.cpu_milli > 2000"},
	}, []string{"make"})
	if err != nil || ds.HasErrors() {
		t.Fatal(err, ds)
	}
	if spec.Resources.CPUMilli != 500 || spec.Resources.MemoryBytes != 1<<30 || spec.Resources.GPU.Count != 2 || spec.Resources.GPU.Model != "H100" {
		t.Errorf("resources %+v", spec.Resources)
	}
	if spec.Retry.MaxAttempts != 3 || spec.Workdir != "/srv" {
		t.Errorf("retry %+v, workdir %q", spec.Retry, spec.Workdir)
	}
	var constraints []string
	for _, c := range spec.Constraints {
		constraints = append(constraints, c.String())
	}
	slices.Sort(constraints)
	if got := strings.Join(constraints, "; "); got != "gpu.model != T4; label.rack = a; label.zone in x,y; node.cpu_milli > 2000" {
		t.Errorf("constraints %s", got)
	}
	spec, ds, err = parsed(adhoc{constraints: []string{"node.kernel version >= 5.15, < 7", "node.models set_contains a,b", `node.name regexp ^web-\d+$`, "gpu.count>=2", "node.disk <= 1GiB"}}, []string{"make"})
	constraints = nil
	for _, c := range spec.Constraints {
		constraints = append(constraints, c.String())
	}
	if got := strings.Join(constraints, "; "); err != nil || ds.HasErrors() || got != `gpu.count >= 2; node.disk <= 1073741824; node.kernel version >= 5.15, < 7; node.models set_contains a,b; node.name regexp ^web-\d+$` {
		t.Errorf("constraints %s: %v %v", got, err, ds)
	}
	for _, bad := range []string{"label.a==b", "label.a", "=b", "label.a=", "label.a !== b", "label.a regexp", "node.name regexp ("} {
		if _, ds, err := parsed(adhoc{constraints: []string{bad}}, []string{"make"}); err == nil && !ds.HasErrors() {
			t.Errorf("%q was taken", bad)
		}
	}
	spec, ds, err = parsed(adhoc{gpu: ".5", cpu: "500m"}, []string{"make"})
	if err != nil || ds.HasErrors() || spec.Resources.GPU.ShareMilli != 500 || spec.Resources.CPUMilli != 500 {
		t.Errorf("a share: %v %v %+v", err, ds, spec)
	}
}

func TestAnArgumentThatIsNoUTF8IsRefused(t *testing.T) {
	if _, _, err := parsed(adhoc{}, []string{"echo", "\xff"}); exitOf(err) != exitUsage {
		t.Errorf("got %v", err)
	}
}
