package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// maxListedOutput is the largest output that a list of tasks carries.
const maxListedOutput = 4 << 10

func pairMap(pairs []rota.Pair) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Key] = p.Value
	}
	return m
}

// list gives an empty list for nil: null in JSON means "not known".
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// viewRun is a run without its tasks and variables.
func viewRun(r *rota.Run) RunView {
	v := RunView{
		ID: r.ID, Job: r.Job, Version: r.Version, Namespace: r.Namespace, Labels: pairMap(r.Labels), Status: r.Status,
		Priority: r.Priority, CreatedAt: r.CreatedAt, FinishedAt: r.FinishedAt,
		CostMicros: r.Usage.Cost, TokensIn: r.Usage.TokensIn, TokensOut: r.Usage.TokensOut,
		TasksTotal: r.Total, TaskCounts: make(map[string]int),
	}
	if r.Reason != "" {
		v.Reason = &rota.Reason{Code: r.Status.String(), Text: r.Reason}
	}
	for _, s := range rota.Statuses {
		if n := r.Counts[s]; n > 0 {
			v.TaskCounts[s.String()] = n
		}
	}
	return v
}

// nodeName finds the name of a node; its ID where the name is not known.
func nodeName(snap *fsm.Snapshot, id rota.NodeID) string {
	if id == "" {
		return ""
	}
	if n, ok := snap.Node(id); ok {
		return n.Name
	}
	return string(id)
}

// viewTask is a task without the reason of a queued one, which only the leader
// knows. outputs of any size are given where wanted.
func viewTask(snap *fsm.Snapshot, t *rota.Task, outputs bool) TaskView {
	v := TaskView{
		Key: t.ID.Key, Status: t.Status, Node: latestNode(snap, t), Attempts: t.Attempt, AttemptsUsed: t.AttemptsUsed,
		Cause: t.Cause, Message: t.Message, ExitCode: t.ExitCode, Reason: stateReason(t),
		DependsOn: make([]rota.TaskKey, len(t.DependsOn)),
		CreatedAt: t.CreatedAt, QueuedAt: t.QueuedAt, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, CostMicros: t.Usage.Cost,
	}
	for i, e := range t.DependsOn {
		v.DependsOn[i] = e.On
	}
	switch {
	case len(t.Output) == 0:
		v.Output = json.RawMessage("null")
	case outputs || len(t.Output) <= maxListedOutput:
		v.Output = t.Output
	default:
		v.Output, v.OutputBytes = json.RawMessage("null"), len(t.Output)
	}
	return v
}

func latestNode(snap *fsm.Snapshot, t *rota.Task) string {
	if t.Placement != nil {
		return nodeName(snap, t.Placement.Node)
	}
	if n := len(t.Attempts); n > 0 {
		if name := t.Attempts[n-1].NodeName; name != "" {
			return name
		}
		return nodeName(snap, t.Attempts[n-1].Node)
	}
	return ""
}

// stateReason is why a task waits, or did not happen, as far as the state itself
// says it; nil where there is nothing to say, and for queued tasks.
func stateReason(t *rota.Task) *rota.Reason {
	if !t.Why.IsZero() {
		why := t.Why
		return &why
	}
	switch t.Status { //nolint:exhaustive // the others do not wait
	case rota.StatusCreated:
		return dependencyReason(t)
	case rota.StatusRetrying:
		return &rota.Reason{Code: rota.ReasonBackoff, Text: "retries at " + t.DueAt.Time().Format(time.RFC3339) + " after " + t.Cause.String()}
	}
	return nil
}

func dependencyReason(t *rota.Task) *rota.Reason {
	if t.OpenDeps == 0 {
		if len(t.Spec.Late) > 0 {
			return &rota.Reason{Code: rota.ReasonExpressions, Text: "the values of " + strings.Join(t.Spec.Late, ", ") + " are being worked out"}
		}
		return nil
	}
	names := make([]string, 0, 3)
	for _, e := range t.DependsOn {
		if len(names) == cap(names) {
			break
		}
		names = append(names, string(e.On))
	}
	text := fmt.Sprintf("%d of %d dependencies have not ended", t.OpenDeps, len(t.DependsOn))
	if len(t.DependsOn) <= cap(names) {
		text += ": " + strings.Join(names, ", ")
	}
	return &rota.Reason{Code: rota.ReasonDependencies, Text: text}
}

// viewTaskDetail is one task with everything.
func viewTaskDetail(snap *fsm.Snapshot, t *rota.Task) *TaskDetail {
	v := &TaskDetail{
		TaskView: viewTask(snap, t, true), Type: t.Spec.Type, Driver: t.Spec.Driver, Priority: t.Spec.Priority,
		Command: list(t.Spec.Command), Resources: t.Spec.Resources, DueAt: t.DueAt, TokensIn: t.Usage.TokensIn, TokensOut: t.Usage.TokensOut,
		AttemptList: make([]AttemptView, 0, len(t.Attempts)+1),
	}
	v.Run = t.ID.Run
	for i := range t.Attempts {
		v.AttemptList = append(v.AttemptList, viewAttempt(snap, &t.Attempts[i]))
	}
	for i := range t.Late {
		v.LateResults = append(v.LateResults, viewAttempt(snap, &t.Late[i]))
	}
	p := t.Placement
	if p == nil {
		return v
	}
	v.Placement = &PlacementView{Node: nodeName(snap, p.Node), NodeID: p.Node, Fence: p.Fence, GPUs: list(p.GPUs), PlacedAt: p.At}
	if n := len(t.Attempts); n == 0 || t.Attempts[n-1].Number != t.Attempt {
		v.AttemptList = append(v.AttemptList, AttemptView{
			Number: t.Attempt, Node: v.Placement.Node, NodeID: p.Node, Fence: p.Fence, PlacedAt: p.At, StartedAt: t.StartedAt,
		})
	}
	return v
}

func viewAttempt(snap *fsm.Snapshot, a *rota.Attempt) AttemptView {
	name := a.NodeName
	if name == "" {
		name = nodeName(snap, a.Node)
	}
	return AttemptView{
		Number: a.Number, Node: name, NodeID: a.Node, Fence: a.Fence, Cause: a.Cause, Message: a.Message, ExitCode: a.ExitCode,
		PlacedAt: a.PlacedAt, StartedAt: a.StartedAt, FinishedAt: a.FinishedAt, CostMicros: a.Usage.Cost,
	}
}

// viewNode is a node without what runs on it.
func viewNode(n *rota.Node) NodeView {
	v := NodeView{
		ID: n.ID, Name: n.Name, State: n.State(), Unfit: n.Unfit, Roles: list(n.Roles), Address: n.Address, Pool: n.Pool, OS: n.OS, Arch: n.Arch,
		Kernel: n.Kernel, Version: n.Version, Containment: n.Containment, Drivers: list(n.Drivers), Capabilities: list(n.Capabilities),
		Models: list(n.Models), Labels: pairMap(n.Labels),
		Resources: NodeResources{
			CPUMilli: n.Capacity.CPUMilli, MemoryBytes: n.Capacity.MemoryBytes, DiskBytes: n.Capacity.DiskBytes,
			GPUs: make([]GPUView, len(n.Capacity.GPUs)),
		},
		Used:    NodeUsed{CPUMilli: n.Held.CPUMilli, MemoryBytes: n.Held.MemoryBytes, DiskBytes: n.Held.DiskBytes},
		Running: n.Held.Slots, Slots: n.Capacity.Slots, RegisteredAt: n.RegisteredAt, ChangedAt: n.ChangedAt,
	}
	for i, g := range n.Capacity.GPUs {
		free := n.Held.FreeMilli(i)
		v.Resources.GPUs[i] = GPUView{ID: g.ID, Model: g.Model, MemoryBytes: g.MemoryBytes, FreeMilli: free}
		v.Used.GPUMilli += rota.WholeGPU - free
	}
	return v
}

func viewVersion(v *rota.JobVersion, source bool) JobView {
	out := JobView{Name: v.Job, Namespace: v.Namespace, Version: v.Version, Hash: v.Hash, Filename: v.Filename, CreatedAt: v.CreatedAt}
	if source {
		out.Source, out.Files = string(v.Source), v.Files
	}
	return out
}
