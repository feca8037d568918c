package fsm

import (
	"fmt"
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// The proposer has checked everything with better words and positions; here it is
// checked again because what is applied cannot be taken back, and a faulty or
// hostile proposer must not bring the replicas down.

const (
	maxNameBytes  = 256
	maxEdges      = 2_000_000 // of a run
	maxSpecBytes  = 2 * rota.MaxSpecValues
	maxDuration   = 10 * 365 * 24 * time.Hour
	maxAmount     = 1 << 53 // of a resource
	maxReasonByte = 1 << 10
)

func (s *State) checkSubmission(key requestKey, op *rota.SubmitRun) rota.Result {
	switch {
	case !isRunID(op.Run):
		return refused(rota.KindInvalid, fmt.Sprintf("%q is not a run's ID", clip(string(op.Run), 64)))
	case !rota.IsIdentifier(op.Job) || len(op.Job) > maxNameBytes:
		return refused(rota.KindInvalid, fmt.Sprintf("%q is not a job's name", clip(op.Job, 64)))
	case op.Hash == "" || len(op.Hash) > maxNameBytes:
		return refused(rota.KindInvalid, "the submission does not name its source's hash")
	case len(key.id) > maxNameBytes || len(key.namespace) > maxNameBytes || len(key.principal) > maxNameBytes || len(op.Digest) > maxNameBytes:
		return refused(rota.KindTooLarge, "an idempotency key, namespace or principal "+over("name bytes", maxNameBytes+1, maxNameBytes))
	case op.Priority < 0 || op.Priority > 100:
		return refused(rota.KindInvalid, fmt.Sprintf("priority %d is not within 0..100", op.Priority))
	case op.OnTaskFailure != "" && op.OnTaskFailure != rota.FailureContinue && op.OnTaskFailure != rota.FailureCancel:
		return refused(rota.KindInvalid, fmt.Sprintf("%q is not a value of on_task_failure", clip(string(op.OnTaskFailure), 64)))
	case op.Total < len(op.Tasks):
		return refused(rota.KindInvalid, fmt.Sprintf("%d tasks in a submission of %d", len(op.Tasks), op.Total))
	case op.Total > rota.MaxTasksPerRun:
		return refused(rota.KindTooLarge, over("tasks a run", int64(op.Total), rota.MaxTasksPerRun))
	case s.runByID(op.Run) != nil || s.isPending(op.Run):
		return refused(rota.KindConflict, "run "+string(op.Run)+" exists")
	}
	if res := s.checkSource(key.namespace, op); res.Kind != rota.KindNone {
		return res
	}
	if res := s.checkSpace(op); res.Kind != rota.KindNone {
		return res
	}
	kind, detail := s.checkChunk(&pending{Run: rota.Run{Total: op.Total}}, op.Specs, op.Tasks)
	return refused(kind, detail)
}

func (s *State) isPending(id rota.RunID) bool {
	_, ok := s.pending.Get(pendingItem{run: id})
	return ok
}

func (s *State) checkSource(namespace string, op *rota.SubmitRun) rota.Result {
	size := int64(0)
	for i := range op.Files {
		size += int64(len(op.Files[i].Data) + len(op.Files[i].Path))
	}
	_, stored := s.hashes.Get(hashItem{namespace: namespace, job: op.Job, hash: op.Hash})
	switch {
	case len(op.Source) > rota.MaxSourceBytes:
		return refused(rota.KindTooLarge, over("bytes of source", int64(len(op.Source)), rota.MaxSourceBytes))
	case size > rota.MaxSourceBytes:
		return refused(rota.KindTooLarge, over("bytes of files", size, rota.MaxSourceBytes))
	case len(op.Source) == 0 && !stored:
		return refused(rota.KindNotFound, "the job version is not stored here: send its source")
	}
	return rota.Result{}
}

// checkSpace refuses what the cluster cannot carry on top of what it has.
func (s *State) checkSpace(op *rota.SubmitRun) rota.Result {
	switch {
	case s.live+s.queue+op.Total > s.limits.MaxLiveTasks:
		return refused(rota.KindOverloaded, over("live tasks of the cluster", int64(s.live+s.queue+op.Total), int64(s.limits.MaxLiveTasks)))
	case op.Total > len(op.Tasks) && s.queue+op.Total > s.limits.MaxPendingTasks:
		return refused(rota.KindOverloaded, over("tasks of submissions under way", int64(s.queue+op.Total), int64(s.limits.MaxPendingTasks)))
	case s.output > s.limits.MaxOutput:
		return refused(rota.KindOverloaded, over("bytes of inline outputs of the cluster", s.output, s.limits.MaxOutput)+"; ended runs leave with their outputs after "+s.limits.KeepRuns.String())
	case s.meta.format < rota.FormatKeys && s.requests.Len() >= s.limits.MaxRequests:
		return refused(rota.KindOverloaded, over("idempotency keys kept", int64(s.requests.Len()), int64(s.limits.MaxRequests)))
	}
	return rota.Result{}
}

// checkChunk checks specs and tasks by themselves; the graph is checked when all
// of it is here.
func (s *State) checkChunk(p *pending, specs []*rota.TaskSpec, tasks []rota.NewTask) (rota.Kind, string) {
	if len(p.tasks)+len(tasks) > p.Total {
		return rota.KindInvalid, fmt.Sprintf("%d tasks in a submission of %d", len(p.tasks)+len(tasks), p.Total)
	}
	if len(specs) > len(tasks) {
		return rota.KindInvalid, fmt.Sprintf("%d specs for %d tasks", len(specs), len(tasks))
	}
	for i, spec := range specs {
		if kind, detail := s.checkSpec(spec); kind != rota.KindNone {
			return kind, fmt.Sprintf("spec %d: %s", i, detail)
		}
	}
	edges := p.edges
	for i := range tasks {
		t := &tasks[i]
		edges += len(t.DependsOn)
		switch {
		case !isKey(t.Key):
			return rota.KindInvalid, fmt.Sprintf("%q is not a task's key", clip(string(t.Key), rota.MaxKeyBytes))
		case t.Spec < 0 || t.Spec >= len(specs):
			return rota.KindInvalid, fmt.Sprintf("task %q has spec %d of %d", t.Key, t.Spec, len(specs))
		case slices.ContainsFunc(t.DependsOn, func(e rota.Edge) bool { return e.Kind > rota.EdgeFailure }):
			return rota.KindInvalid, fmt.Sprintf("task %q has an edge of an unknown kind", t.Key)
		}
	}
	if edges > maxEdges {
		return rota.KindTooLarge, over("edges of a run", int64(edges), maxEdges)
	}
	return rota.KindNone, ""
}

func (s *State) checkSpec(spec *rota.TaskSpec) (rota.Kind, string) {
	if spec == nil {
		return rota.KindInvalid, "it is missing"
	}
	s.w.buf = appendSpec(s.w.buf[:0], spec)
	if len(s.w.buf) > maxSpecBytes {
		return rota.KindTooLarge, over("bytes of a task's values", int64(len(s.w.buf)), maxSpecBytes)
	}
	late := len(spec.Late) > 0
	switch {
	case spec.Driver != rota.DriverExec && spec.Driver != rota.DriverNoop:
		return rota.KindInvalid, fmt.Sprintf("the driver %q is not built yet", clip(string(spec.Driver), 64))
	case spec.Driver == rota.DriverExec && len(spec.Command) == 0 && !late:
		return rota.KindInvalid, "driver exec without a command"
	case spec.Priority < 0 || spec.Priority > 100:
		return rota.KindInvalid, fmt.Sprintf("priority %d is not within 0..100", spec.Priority)
	case spec.Output != "" && spec.Output != rota.OutputText && spec.Output != rota.OutputJSON:
		return rota.KindInvalid, fmt.Sprintf("%q is not an output type", clip(string(spec.Output), 64))
	case !slices.Contains([]rota.Rerun{"", rota.RerunAlways, rota.RerunAsk, rota.RerunNever}, spec.Rerun):
		return rota.KindInvalid, fmt.Sprintf("%q is not a value of rerun", clip(string(spec.Rerun), 64))
	case !spanOK(spec.Timeouts.ScheduleToStart, spec.Timeouts.StartToClose, spec.Timeouts.ScheduleToClose, spec.Stop.Grace):
		return rota.KindInvalid, "a timeout is negative or over " + maxDuration.String()
	}
	if detail := checkRetry(&spec.Retry); detail != "" {
		return rota.KindInvalid, detail
	}
	if detail := checkDemand(&spec.Resources); detail != "" {
		return rota.KindInvalid, detail
	}
	return s.checkPlacement(spec)
}

// checkPlacement checks what of a spec needs rota.FormatPlacement.
func (s *State) checkPlacement(spec *rota.TaskSpec) (rota.Kind, string) {
	if !spec.Modern() {
		return rota.KindNone, ""
	}
	if s.meta.format < rota.FormatPlacement {
		old := tooOld(rota.FormatPlacement)
		return old.Kind, "affinity, spread, distinct_hosts or a newer constraint: " + old.Detail
	}
	if err := spec.CheckPlacement(); err != nil {
		return rota.KindInvalid, err.Error()
	}
	return rota.KindNone, ""
}

func checkRetry(r *rota.Retry) string {
	switch {
	case r.MaxAttempts < 0 || r.MaxAttempts > 10_000:
		return fmt.Sprintf("max_attempts %d is not within 1..10000", r.MaxAttempts)
	case !slices.Contains([]rota.Backoff{"", rota.BackoffNone, rota.BackoffFixed, rota.BackoffExponential}, r.Backoff):
		return fmt.Sprintf("%q is not a backoff", clip(string(r.Backoff), 64))
	case !spanOK(r.Initial, r.Max):
		return "a retry delay is negative or over " + maxDuration.String()
	case r.MultiplierMilli < 0 || r.MultiplierMilli > 1_000_000:
		return fmt.Sprintf("the multiplier %d is not within 0..1000000 thousandths", r.MultiplierMilli)
	}
	return ""
}

func checkDemand(r *rota.Resources) string {
	g := &r.GPU
	switch {
	case !amountOK(r.CPUMilli, r.MemoryBytes, r.DiskBytes, g.MemoryBytes):
		return "a resource is negative or far too large"
	case g.Count < 0 || g.Count > 1024:
		return fmt.Sprintf("%d GPUs on one node", g.Count)
	case g.ShareMilli < 0 || g.ShareMilli >= rota.WholeGPU || g.ShareMilli > 0 && g.Count != 1:
		return "a share of a GPU needs 0 < share < 1 and exactly one GPU"
	}
	return ""
}

func spanOK(ds ...time.Duration) bool {
	return !slices.ContainsFunc(ds, func(d time.Duration) bool { return d < 0 || d > maxDuration })
}

func amountOK(vs ...int64) bool {
	return !slices.ContainsFunc(vs, func(v int64) bool { return v < 0 || v > maxAmount })
}

// isRunID takes any short word of letters, digits and dashes: the ULID is the
// minting server's business.
func isRunID(id rota.RunID) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// isKey takes what rota.MakeKey can have made, by its bounds and label alone.
func isKey(k rota.TaskKey) bool {
	return len(k) <= rota.MaxKeyBytes && rota.IsIdentifier(k.Label())
}

// clip shortens foreign text for a message, at a character's boundary.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xC0 == 0x80 {
		most--
	}
	return s[:most]
}
