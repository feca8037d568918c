package jobspecs_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// TestTaskWithoutWordsGetsTheDefaults: what a file leaves out is what
// JOBSPEC.md, section 2, says it is.
func TestTaskWithoutWordsGetsTheDefaults(t *testing.T) {
	_, job := parse(t, `
job "j" {
  task "a" {
    command = ["true"]
  }
  task "b" {
    driver = "noop"
    retry {}
  }
}`)
	if job.Name != "j" || job.Priority != 50 || job.OnTaskFailure != rota.FailureContinue || job.Namespace != "" {
		t.Errorf("job: %+v", job)
	}
	want := &rota.TaskSpec{
		Driver: rota.DriverExec, Priority: 50, Command: []string{"true"},
		Resources: rota.Resources{CPUMilli: 100, MemoryBytes: 64 << 20},
		Retry: rota.Retry{
			MaxAttempts: 1, Backoff: rota.BackoffExponential, Initial: time.Second, Max: time.Minute, MultiplierMilli: 2000, Jitter: true,
		},
		Stop:  rota.Stop{Signal: "SIGTERM", Grace: 2 * time.Second},
		Rerun: rota.RerunAlways,
	}
	if got := specOf(t, job, "a"); !reflect.DeepEqual(got, want) {
		t.Errorf("a: %+v\nwant %+v", got, want)
	}
	if b := specOf(t, job, "b"); b.Retry.MaxAttempts != 3 || b.Resources != (rota.Resources{}) {
		t.Errorf("b: %+v", b)
	}
}

// TestEveryWordArrives: a task that says everything becomes a spec that says it.
func TestEveryWordArrives(t *testing.T) {
	_, job := parse(t, `
variable "dir" {
  default = "/srv"
}
locals {
  tool = "make"
}
job "j" {
  namespace       = "growth"
  priority        = 70
  on_task_failure = "cancel"
  task "a" {
    type     = "build"
    driver   = "exec"
    command  = [local.tool, "-j", 4, true, "${var.dir}/x"]
    env      = { B = "2", A = 1 }
    workdir  = var.dir
    priority = 90
    rerun    = "ask"
    allow_failure = true
    input {
      list = [1, "x", null]
      text = upper("abc")
    }
    output {
      type = "json"
    }
    resources {
      cpu    = 1.5
      memory = "1.5GiB"
      disk   = 1000
      gpu {
        count  = 1
        model  = "H100"
        memory = "80GB"
        share  = 0.25
      }
    }
    routing {
      required_capabilities = ["web", "git", "web"]
    }
    constraint {
      attribute = "label.rack"
      value     = "a"
    }
    constraint {
      attribute = "node.memory"
      operator  = ">"
      value     = "16GiB"
    }
    constraint {
      attribute = "node.arch"
      operator  = "in"
      value     = ["amd64", "arm64"]
    }
    retry {
      max_attempts = 5
      backoff      = "fixed"
      initial      = "500ms"
      max          = "1m30s"
      multiplier   = 1.5
      jitter       = false
      on           = ["exit_nonzero", "timeout_run"]
    }
    timeouts {
      schedule_to_start = "1h"
      start_to_close    = "1d"
      schedule_to_close = "1d2h"
    }
    stop {
      signal = "SIGINT"
      grace  = "0s"
    }
  }
}`)
	if job.Namespace != "growth" || job.Priority != 70 || job.OnTaskFailure != rota.FailureCancel {
		t.Errorf("job: %+v", job)
	}
	want := &rota.TaskSpec{
		Type: "build", Driver: rota.DriverExec, Priority: 90, Command: []string{"make", "-j", "4", "true", "/srv/x"},
		Env: []rota.Pair{{Key: "A", Value: "1"}, {Key: "B", Value: "2"}}, Workdir: "/srv",
		Input: []byte(`{"list":[1,"x",null],"text":"ABC"}`), Output: rota.OutputJSON,
		Resources: rota.Resources{
			CPUMilli: 1500, MemoryBytes: 3 << 29, DiskBytes: 1000,
			GPU: rota.GPUDemand{Count: 1, Model: "H100", MemoryBytes: 80e9, ShareMilli: 250},
		},
		Capabilities: []string{"git", "web"},
		Constraints: []rota.Constraint{
			{Attribute: "label.rack", Operator: rota.OpEqual, Values: []string{"a"}},
			{Attribute: "node.arch", Operator: rota.OpIn, Values: []string{"amd64", "arm64"}},
			{Attribute: "node.memory", Operator: rota.OpGreater, Values: []string{"17179869184"}},
		},
		Retry: rota.Retry{
			MaxAttempts: 5, Backoff: rota.BackoffFixed, Initial: 500 * time.Millisecond, Max: 90 * time.Second, MultiplierMilli: 1500,
			On: []rota.Cause{rota.CauseExitNonzero, rota.CauseTimeoutRun},
		},
		Timeouts:     rota.Timeouts{ScheduleToStart: time.Hour, StartToClose: 24 * time.Hour, ScheduleToClose: 26 * time.Hour},
		Stop:         rota.Stop{Signal: "SIGINT"},
		Rerun:        rota.RerunAsk,
		AllowFailure: true,
	}
	if got := specOf(t, job, "a"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// TestDefaultsOfTheJobFillWhatATaskLeavesOut, attribute by attribute.
func TestDefaultsOfTheJobFillWhatATaskLeavesOut(t *testing.T) {
	_, job := parse(t, `
job "j" {
  defaults {
    retry {
      max_attempts = 7
      initial      = "2s"
    }
    timeouts {
      start_to_close = "5m"
    }
    resources {
      memory = "1GiB"
      gpu {
        model = "H100"
      }
    }
  }
  task "a" {
    command = ["true"]
  }
  task "b" {
    command = ["true"]
    retry {
      initial = "9s"
    }
    resources {
      cpu = 2
      gpu {
        count = 0
      }
    }
  }
}`)
	a, b := specOf(t, job, "a"), specOf(t, job, "b")
	if a.Retry.MaxAttempts != 7 || a.Retry.Initial != 2*time.Second || a.Timeouts.StartToClose != 5*time.Minute || a.Resources.MemoryBytes != 1<<30 ||
		a.Resources.GPU != (rota.GPUDemand{Count: 1, Model: "H100"}) {
		t.Errorf("a: %+v", a)
	}
	if b.Retry.MaxAttempts != 7 || b.Retry.Initial != 9*time.Second || b.Resources.CPUMilli != 2000 || b.Resources.MemoryBytes != 1<<30 || b.Resources.GPU.Count != 0 {
		t.Errorf("b: %+v", b)
	}
}

// TestEqualSpecsAreStoredOnce: tasks that say the same share a spec.
func TestEqualSpecsAreStoredOnce(t *testing.T) {
	_, job := parse(t, `
job "j" {
  task "a" {
    command = ["true"]
  }
  task "b" {
    for_each = toset(["x", "y"])
    command  = ["true"]
  }
  task "c" {
    for_each = toset(["x", "y"])
    command  = ["echo", each.key]
  }
}`)
	if len(job.Tasks) != 5 || len(job.Specs) != 3 {
		t.Errorf("%d tasks, %d specs; want 5 and 3", len(job.Tasks), len(job.Specs))
	}
}

// TestPriorityOfTheRunReplacesTheJobs, but not that of a task that names its own.
func TestPriorityOfTheRunReplacesTheJobs(t *testing.T) {
	ninety := 90
	_, job := parseWith(t, `
job "j" {
  priority = 10
  task "a" {
    command = ["true"]
  }
  task "b" {
    command  = ["true"]
    priority = 20
  }
}`, jobspecs.Inputs{Priority: &ninety})
	if job.Priority != 90 || specOf(t, job, "a").Priority != 90 || specOf(t, job, "b").Priority != 20 {
		t.Errorf("job %d, a %d, b %d", job.Priority, specOf(t, job, "a").Priority, specOf(t, job, "b").Priority)
	}
}

// TestSeveralJobsNeedAName: which job is meant is never guessed.
func TestSeveralJobsNeedAName(t *testing.T) {
	text := `
job "one" {
  task "a" {
    command = ["true"]
  }
}
job "two" {
  task "a" {
    command = ["true"]
  }
}`
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	if len(f.Jobs()) != 2 {
		t.Errorf("%d jobs", len(f.Jobs()))
	}
	if _, ds := f.Job(""); !ds.HasErrors() {
		t.Error("a job was guessed")
	}
	if _, ds := f.Job("tow"); !ds.HasErrors() || !containsAll(ds.Error(), "two") {
		t.Errorf("no suggestion: %v", ds)
	}
	f, ds = jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{Job: "two"})
	if ds.HasErrors() || len(f.Jobs()) != 1 || f.Jobs()[0].Name != "two" {
		t.Errorf("%v", ds)
	}
	_, ds = jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{Job: "three"})
	if !ds.HasErrors() {
		t.Error("a job that is not there was accepted")
	}
}
