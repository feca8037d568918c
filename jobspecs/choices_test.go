package jobspecs_test

import (
	"reflect"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

func TestEveryChoiceOfNodesReachesTheSpec(t *testing.T) {
	_, job := parse(t, oneTask(`
    distinct_hosts = true
    constraint {
      attribute = "node.kernel"
      operator  = "version"
      value     = ">= 5.15, < 7"
    }
    constraint {
      attribute = "gpu.model"
      operator  = "regexp"
      value     = "H[12]00"
    }
    constraint {
      attribute = "node.capabilities"
      operator  = "set_contains"
      value     = ["docker", "web"]
    }
    constraint {
      attribute = "node.disk"
      operator  = ">="
      value     = "1GiB"
    }
    affinity {
      attribute = "label.zone"
      operator  = "in"
      value     = ["b", "a"]
      weight    = -20
    }
    affinity {
      attribute = "run.tasks"
      operator  = ">"
      value     = 0
    }
    spread {
      attribute = "label.rack"
      weight    = 70
    }
    spread {
      attribute = "node.name"
    }
`))
	c := func(attribute string, op rota.Operator, values ...string) rota.Constraint {
		return rota.Constraint{Attribute: attribute, Operator: op, Values: values}
	}
	spec := specOf(t, job, "a")
	for _, tc := range []struct{ got, want any }{
		{spec.DistinctHosts, true},
		{spec.Constraints, []rota.Constraint{
			c("gpu.model", rota.OpRegexp, "H[12]00"), c("node.capabilities", rota.OpSetContains, "docker", "web"),
			c("node.disk", rota.OpAtLeast, "1073741824"), c("node.kernel", rota.OpVersion, ">= 5.15, < 7"),
		}},
		{spec.Affinities, []rota.Affinity{{Constraint: c("label.zone", rota.OpIn, "b", "a"), Weight: -20}, {Constraint: c("run.tasks", rota.OpGreater, "0"), Weight: 50}}},
		{spec.Spreads, []rota.Spread{{Attribute: "label.rack", Weight: 70}, {Attribute: "node.name", Weight: 50}}},
	} {
		if !reflect.DeepEqual(tc.got, tc.want) {
			t.Errorf("got %+v, want %+v", tc.got, tc.want)
		}
	}
	if err := spec.CheckPlacement(); err != nil {
		t.Errorf("the state machine would refuse it: %v", err)
	}
}

// TestChoicesMayDependOnOtherTasks: they are evaluated when those have ended, and what
// is wrong then is said with its place.
func TestChoicesMayDependOnOtherTasks(t *testing.T) {
	f, job := parse(t, `job "j" {
  task "a" {
    driver = "noop"
    output {}
  }
  task "b" {
    driver = "noop"
    affinity {
      attribute = "label.zone"
      operator  = "regexp"
      value     = task.a.output
    }
    spread {
      attribute = "label.rack"
      weight    = 1 + length(task.a.output)
    }
  }
}`)
	if spec := specOf(t, job, "b"); len(spec.Late) != 2 {
		t.Errorf("late %v", spec.Late)
	}
	for _, tc := range []struct {
		output string
		weight int
	}{{`"ab"`, 3}, {`"("`, 0}} {
		spec, _, ds := f.Resolve("j", "b", "r", func(k rota.TaskKey) (jobspecs.TaskValue, bool) { return delivered(k, tc.output), true })
		if tc.weight == 0 {
			if d, ok := firstError(ds); !ok || d.Range.Start.Line != 11 {
				t.Errorf("diagnostics %v", ds)
			}
			continue
		}
		if ds.HasErrors() || spec.Spreads[0].Weight != tc.weight || spec.Affinities[0].Constraint.Values[0] != "ab" {
			t.Errorf("spec %+v, %v", spec, ds)
		}
	}
}
