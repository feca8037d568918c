package jobspecs

import "github.com/rota-sched/rota"

// shape says which words a block of the language has: what works, and what is
// known but not built yet. The tables of this file are the language.
type shape struct {
	name   string // the block's word
	labels int
	attrs  []string
	blocks []*shape
	// later are attributes and blocks of the language that are refused with "not
	// built yet" instead of as unknown.
	later []string
	many  bool // the block may stand several times
	open  bool // every attribute name is allowed
}

func (s *shape) block(name string) *shape {
	for _, b := range s.blocks {
		if b.name == name {
			return b
		}
	}
	return nil
}

// words are all names that are allowed in the block.
func (s *shape) words() []string {
	words := append([]string(nil), s.attrs...)
	for _, b := range s.blocks {
		words = append(words, b.name)
	}
	return words
}

//nolint:gochecknoglobals // tables that point to each other
var (
	retryShape = &shape{
		name: "retry", attrs: []string{"max_attempts", "backoff", "initial", "max", "multiplier", "jitter", "on"},
		later: []string{"fallback_models", "max_cost"},
	}
	timeoutsShape  = &shape{name: "timeouts", attrs: []string{"schedule_to_start", "start_to_close", "schedule_to_close"}}
	gpuShape       = &shape{name: "gpu", attrs: []string{"count", "model", "memory", "share"}, later: []string{"mig"}}
	resourcesShape = &shape{name: "resources", attrs: []string{"cpu", "memory", "disk"}, blocks: []*shape{gpuShape}}
	flowWords      = []string{"uses", "throttle", "rate_limit", "concurrency", "debounce", "batch", "singleton"}

	taskShape = &shape{
		name: "task", labels: 1, many: true,
		attrs: []string{
			"type", "driver", "command", "env", "workdir", "depends_on", "after_any", "after_failure", "allow_failure",
			"when", "for_each", "priority", "rerun", "distinct_hosts",
		},
		blocks: []*shape{
			{name: "input", open: true, later: []string{"prompt", "prompt_file", "context"}},
			{name: "matrix", open: true},
			resourcesShape,
			{name: "routing", attrs: []string{"required_capabilities"}, later: []string{"preferred_agent"}},
			{name: "constraint", attrs: []string{"attribute", "operator", "value"}, many: true},
			{name: "affinity", attrs: []string{"attribute", "operator", "value", "weight"}, many: true},
			{name: "spread", attrs: []string{"attribute", "weight"}, many: true},
			retryShape,
			timeoutsShape,
			{name: "stop", attrs: []string{"signal", "grace"}},
			{name: "output", attrs: []string{"type"}, later: []string{"schema", "validate"}},
		},
		later: append([]string{
			"constraints", "heartbeat", "image", "files", "agent", "on_disconnect", "lost_after", "poison", "preemptible",
			"checkpoint", "on_failure", "compensate", "artifact", "secrets", "sandbox", "gang", "expand",
		}, flowWords...),
	}

	jobShape = &shape{
		name: "job", labels: 1, many: true,
		attrs: []string{"namespace", "priority", "on_task_failure"},
		blocks: []*shape{
			taskShape,
			{name: "defaults", blocks: []*shape{retryShape, timeoutsShape, resourcesShape}, later: []string{"constraints"}},
		},
		later: append([]string{"wait", "trigger", "budget", "timeout"}, flowWords...),
	}

	fileShape = &shape{
		name: "file",
		blocks: []*shape{
			{
				name: "variable", labels: 1, many: true, attrs: []string{"type", "default", "description"},
				blocks: []*shape{{name: "validation", attrs: []string{"condition", "error_message"}, many: true}},
				later:  []string{"sensitive"},
			},
			{name: "locals", open: true, many: true},
			jobShape,
		},
		later: []string{"provider", "model", "agent", "budget", "namespace", "sandbox_profile"},
	}
)

// Words that attributes choose from, and those of the language that come later.
var (
	builtDrivers = []string{string(rota.DriverExec), string(rota.DriverNoop)}
	laterDrivers = []string{"llm", "agent", "http", "container", "pull", "job"}
	builtOutputs = []string{string(rota.OutputText), string(rota.OutputJSON)}
	laterOutputs = []string{"markdown", "code", "artifact"}
	backoffs     = []string{string(rota.BackoffNone), string(rota.BackoffFixed), string(rota.BackoffExponential)}
	reruns       = []string{string(rota.RerunAlways), string(rota.RerunAsk), string(rota.RerunNever)}
	onFailures   = []string{string(rota.FailureContinue), string(rota.FailureCancel)}
	stopSignals  = []string{"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL"}

	// taskAttributes are what a reference to a task has.
	taskAttributes = []string{"output", "status", "exit_code", "attempts", "node", "cost"}
	// roots are the names an expression may begin with.
	roots = []string{"task", "var", "local", "each", "matrix", "run", "wait", "event"}
)

func operatorWords() []string {
	words := make([]string, len(rota.Operators))
	for i, op := range rota.Operators {
		words[i] = string(op)
	}
	return words
}

func causeWords() []string {
	words := make([]string, len(rota.Causes))
	for i, c := range rota.Causes {
		words[i] = c.String()
	}
	return words
}
