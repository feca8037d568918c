package api

import (
	"encoding/json"
	"time"

	"github.com/rota-sched/rota"
)

// RunView is a run as the outside sees it.
type RunView struct {
	ID         rota.RunID        `json:"id"`
	Job        string            `json:"job"`
	Version    int               `json:"version"`
	Namespace  string            `json:"namespace"`
	Labels     map[string]string `json:"labels"`
	Status     rota.RunStatus    `json:"status"`
	Reason     *rota.Reason      `json:"reason"` // why it is paused or was cancelled; null otherwise
	Priority   int               `json:"priority"`
	CreatedAt  rota.Instant      `json:"created_at"`
	FinishedAt rota.Instant      `json:"finished_at"`
	CostMicros rota.MicroUSD     `json:"cost_micro_usd"`
	TokensIn   int64             `json:"tokens_in"`
	TokensOut  int64             `json:"tokens_out"`
	TasksTotal int               `json:"tasks_total"`
	TaskCounts map[string]int    `json:"task_counts"` // by status; those with none are left out
	// Tasks is null unless asked for; the first 1,000, then TasksNextCursor.
	Tasks           []TaskView `json:"tasks,omitzero"`
	TasksNextCursor *string    `json:"tasks_next_cursor,omitempty"`
	// Variables the run was started with; only when one run is asked for.
	Variables map[string]json.RawMessage `json:"variables,omitempty"`
	Event     json.RawMessage            `json:"event,omitempty"` // likewise; what it was started with
}

// TaskView is a task as the outside sees it.
type TaskView struct {
	Run          rota.RunID      `json:"run,omitempty"` // left out inside a run
	Key          rota.TaskKey    `json:"key"`
	Status       rota.Status     `json:"status"`
	Node         string          `json:"node"` // name, of the latest attempt; empty: never placed
	Attempts     uint64          `json:"attempts"`
	AttemptsUsed int             `json:"attempts_used"`
	Cause        rota.Cause      `json:"cause"`
	Message      string          `json:"message"`
	ExitCode     int             `json:"exit_code"`
	Reason       *rota.Reason    `json:"reason"`
	Output       json.RawMessage `json:"output"`                 // null: none, or over 4 KiB in a list
	OutputBytes  int             `json:"output_bytes,omitempty"` // given where a list leaves the output out
	DependsOn    []rota.TaskKey  `json:"depends_on"`
	CreatedAt    rota.Instant    `json:"created_at"`
	QueuedAt     rota.Instant    `json:"queued_at"`
	StartedAt    rota.Instant    `json:"started_at"`
	FinishedAt   rota.Instant    `json:"finished_at"`
	CostMicros   rota.MicroUSD   `json:"cost_micro_usd"`
}

// TaskDetail is one task with all its attempts.
type TaskDetail struct {
	TaskView
	Type        string         `json:"type"`
	Driver      rota.Driver    `json:"driver"`
	Priority    int            `json:"priority"`
	Command     []string       `json:"command"`
	Resources   rota.Resources `json:"resources"`
	DueAt       rota.Instant   `json:"due_at"` // next retry or timeout
	TokensIn    int64          `json:"tokens_in"`
	TokensOut   int64          `json:"tokens_out"`
	Placement   *PlacementView `json:"placement"`
	AttemptList []AttemptView  `json:"attempt_list"`
	// LateResults are results of superseded attempts, kept beside.
	LateResults []AttemptView `json:"late_results,omitempty"`
}

// PlacementView is where the present attempt of a task is.
type PlacementView struct {
	Node     string          `json:"node"`
	NodeID   rota.NodeID     `json:"node_id"`
	Fence    rota.Fence      `json:"fence"`
	GPUs     []rota.GPUGrant `json:"gpus"`
	PlacedAt rota.Instant    `json:"placed_at"`
}

// AttemptView is one attempt of a task.
type AttemptView struct {
	Number     uint64        `json:"number"`
	Node       string        `json:"node"`
	NodeID     rota.NodeID   `json:"node_id"`
	Fence      rota.Fence    `json:"fence"`
	Cause      rota.Cause    `json:"cause"`
	Message    string        `json:"message"`
	ExitCode   int           `json:"exit_code"`
	PlacedAt   rota.Instant  `json:"placed_at"`
	StartedAt  rota.Instant  `json:"started_at"`
	FinishedAt rota.Instant  `json:"finished_at"`
	CostMicros rota.MicroUSD `json:"cost_micro_usd"`
}

// StatusView is the cluster in one look.
type StatusView struct {
	ClusterID     string         `json:"cluster_id"`
	Version       string         `json:"version"`
	Node          string         `json:"node"`   // who answered
	Leader        *string        `json:"leader"` // its name; null: none known
	Term          uint64         `json:"term"`
	Index         uint64         `json:"index"`
	IndexAgeMs    int64          `json:"index_age_ms"`
	LastContactMs *int64         `json:"last_contact_ms"` // of the answering node with the leader; null: never
	Servers       []ServerView   `json:"servers"`
	Nodes         NodeCounts     `json:"nodes"`
	Tasks         map[string]int `json:"tasks"` // by status, every status
	CostMicros    rota.MicroUSD  `json:"cost_micro_usd"`
}

// ServerView is one replica as the answering node sees it.
type ServerView struct {
	ID            rota.NodeID `json:"id"`
	Name          string      `json:"name"`
	Address       string      `json:"address"`
	State         string      `json:"state"`           // leader, follower, non_voter, unreachable
	LastContactMs *int64      `json:"last_contact_ms"` // null: not known here
}

// NodeCounts are nodes by state.
type NodeCounts struct {
	Ready    int `json:"ready"`
	Draining int `json:"draining"`
	Suspect  int `json:"suspect"`
	Unfit    int `json:"unfit"`
	Down     int `json:"down"`
}

// NodeView is a node of the cluster.
type NodeView struct {
	ID           rota.NodeID       `json:"id"`
	Name         string            `json:"name"`
	State        rota.NodeState    `json:"state"`
	Unfit        string            `json:"unfit,omitempty"` // why it starts nothing, by its own word; also while it drains
	Roles        []rota.Role       `json:"roles"`
	Address      string            `json:"address"`
	Pool         string            `json:"pool"`
	OS           string            `json:"os"`
	Arch         string            `json:"arch"`
	Kernel       string            `json:"kernel"`
	Version      string            `json:"version"`
	Containment  string            `json:"containment"`
	Drivers      []rota.Driver     `json:"drivers"`
	Capabilities []string          `json:"capabilities"`
	Models       []string          `json:"models"`
	Labels       map[string]string `json:"labels"`
	Resources    NodeResources     `json:"resources"`
	Used         NodeUsed          `json:"used"`
	Running      int64             `json:"running"` // attempts that hold room
	Slots        int64             `json:"slots"`
	RegisteredAt rota.Instant      `json:"registered_at"`
	ChangedAt    rota.Instant      `json:"changed_at"`
	// Attempts on the node now; only when one node is asked for.
	Attempts []HoldView `json:"attempts,omitempty"`
}

// NodeResources is what a node has.
type NodeResources struct {
	CPUMilli    int64     `json:"cpu_milli"`
	MemoryBytes int64     `json:"memory_bytes"`
	DiskBytes   int64     `json:"disk_bytes"`
	GPUs        []GPUView `json:"gpus"`
}

// GPUView is a device and what nobody holds of it.
type GPUView struct {
	ID          string `json:"id"`
	Model       string `json:"model"`
	MemoryBytes int64  `json:"memory_bytes"`
	FreeMilli   int64  `json:"free_milli"`
}

// NodeUsed is what attempts hold of a node.
type NodeUsed struct {
	CPUMilli    int64 `json:"cpu_milli"`
	MemoryBytes int64 `json:"memory_bytes"`
	DiskBytes   int64 `json:"disk_bytes"`
	GPUMilli    int64 `json:"gpu_milli"` // all devices together
}

// HoldView is an attempt that holds room on a node.
type HoldView struct {
	Task      string          `json:"task"` // RUN/KEY
	Fence     rota.Fence      `json:"fence"`
	Resources rota.Resources  `json:"resources"`
	GPUs      []rota.GPUGrant `json:"gpus"`
}

// EventView is an event; rota.Event has the shape of the contract.
type EventView = rota.Event

// SubmitRequest starts a run: of a job file (Source), or of a stored job (Job
// without Source).
type SubmitRequest struct {
	Namespace string                     `json:"namespace,omitempty"` // empty: default
	Source    *string                    `json:"source,omitempty"`
	Filename  string                     `json:"filename,omitempty"` // as the submitter names it, for diagnostics
	Files     []rota.File                `json:"files,omitempty"`    // data in base64
	Job       string                     `json:"job,omitempty"`      // with Source: which of its jobs
	Version   int                        `json:"version,omitempty"`  // of the stored job; 0: the newest
	Variables map[string]json.RawMessage `json:"variables,omitempty"`
	Event     json.RawMessage            `json:"event,omitempty"`    // what the job sees as event
	Priority  *int                       `json:"priority,omitempty"` // 0..100
	Labels    map[string]string          `json:"labels,omitempty"`
	At        *time.Time                 `json:"at,omitempty"`
	// Key of an item of an array; left out, it is that of the request with /INDEX.
	Key string `json:"idempotency_key,omitempty"`
}

// SubmitAnswer is what one item of an array of submissions got: an ID or a problem.
type SubmitAnswer struct {
	ID      rota.RunID `json:"id,omitempty"`
	Existed bool       `json:"existed,omitempty"`
	Problem *Problem   `json:"problem,omitempty"`
}

// SpecRequest is a job file to be looked at.
type SpecRequest struct {
	Namespace string                     `json:"namespace,omitempty"`
	Source    *string                    `json:"source"`
	Filename  string                     `json:"filename,omitempty"`
	Files     []rota.File                `json:"files,omitempty"`
	Job       string                     `json:"job,omitempty"`
	Variables map[string]json.RawMessage `json:"variables,omitempty"`
	Priority  *int                       `json:"priority,omitempty"`
}

// ValidateView says that a job file is fine, with warnings.
type ValidateView struct {
	Valid       bool             `json:"valid"`
	Diagnostics rota.Diagnostics `json:"diagnostics"`
	Jobs        []JobSummary     `json:"jobs"`
}

// JobSummary is a job of a file.
type JobSummary struct {
	Name  string `json:"name"`
	Tasks int    `json:"tasks"`
}

// JobView is a stored job with its newest version.
type JobView struct {
	Name      string       `json:"name"`
	Namespace string       `json:"namespace"`
	Version   int          `json:"version"`
	Hash      string       `json:"hash"`
	Filename  string       `json:"filename"`
	CreatedAt rota.Instant `json:"created_at"`
	Paused    bool         `json:"paused"` // it starts no runs
	// Source and files are given when one job or one version is asked for.
	Source string      `json:"source,omitempty"`
	Files  []rota.File `json:"files,omitempty"`
}

// ApplyRequest stores a job of a file.
type ApplyRequest struct {
	Namespace string      `json:"namespace,omitempty"`
	Source    *string     `json:"source"`
	Filename  string      `json:"filename,omitempty"`
	Files     []rota.File `json:"files,omitempty"`
}

// ApplyView says what became of a stored job.
type ApplyView struct {
	JobView
	Result      string           `json:"result"` // created, updated, unchanged
	Diagnostics rota.Diagnostics `json:"diagnostics"`
}

// PlanView is a dry run: what would change, what would run where.
type PlanView struct {
	Job         string           `json:"job"`
	Namespace   string           `json:"namespace"`
	Version     int              `json:"version"` // stored version compared with; 0: none
	Changed     bool             `json:"changed"` // the file differs from that version
	Diagnostics rota.Diagnostics `json:"diagnostics"`
	Changes     []PlanChange     `json:"changes"`
	Tasks       []PlanTask       `json:"tasks"`
	// CostMicros is an upper bound of what the run may cost.
	CostMicros rota.MicroUSD `json:"cost_micro_usd"`
}

// PlanChange is a task that differs from the stored version.
type PlanChange struct {
	Key    rota.TaskKey `json:"key"`
	Action string       `json:"action"` // add, remove, change
	Fields []string     `json:"fields"` // of a changed task, by the names of the job language
}

// PlanTask is a task of a dry run.
type PlanTask struct {
	Key       rota.TaskKey   `json:"key"`
	DependsOn []rota.TaskKey `json:"depends_on"`
	Driver    rota.Driver    `json:"driver"`
	Priority  int            `json:"priority"`
	Resources rota.Resources `json:"resources"`
	Node      string         `json:"node"`   // where a ready task would go now; empty: it waits
	Reason    *rota.Reason   `json:"reason"` // why it would wait
}

// ExplainView says why a task waits, or why it is where it is.
type ExplainView struct {
	Run        rota.RunID         `json:"run"`
	Key        rota.TaskKey       `json:"key"`
	Status     rota.Status        `json:"status"`
	Reason     *rota.Reason       `json:"reason"`
	Place      int                `json:"place"` // in the order, from 1; 0: not queued
	Queued     int                `json:"queued"`
	Candidates []ExplainCandidate `json:"candidates"`
}

// ExplainCandidate is a node as a task's scheduler sees it.
type ExplainCandidate struct {
	Node   string `json:"node"`
	Fits   bool   `json:"fits"`
	Misfit string `json:"misfit"` // why not; empty if it fits
	Text   string `json:"text"`   // with numbers
	Count  int    `json:"count"`  // nodes that the line stands for; 1 unless nodes were folded
}

// ExplainNodeView says what a node is doing and what it is passed over for.
type ExplainNodeView struct {
	Node   NodeView      `json:"node"`
	Lines  []string      `json:"lines"`
	Reason *rota.Reason  `json:"reason"` // why it gets nothing new; null if it does
	Queued []ExplainView `json:"queued"` // first waiting tasks, as seen by this node
}

// GraphView is a run's graph.
type GraphView struct {
	Run   rota.RunID  `json:"run"`
	Nodes []GraphNode `json:"nodes"`
	Edges []GraphEdge `json:"edges"`
}

// GraphNode is a task in a graph.
type GraphNode struct {
	Key    rota.TaskKey `json:"key"`
	Status rota.Status  `json:"status"`
}

// GraphEdge leads from a task to one that depends on it.
type GraphEdge struct {
	From rota.TaskKey `json:"from"`
	To   rota.TaskKey `json:"to"`
	Kind string       `json:"kind"` // delivered, any, failure
}

// List is a page of a list.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// CancelRequest may carry why.
type CancelRequest struct {
	Reason string `json:"reason,omitempty"`
}

// AnswerRequest settles a task that waits with outcome_unknown.
type AnswerRequest struct {
	Rerun bool `json:"rerun"` // true: run it again; false: give it up as a dead letter
}

// VersionView is what a node's binary says of itself.
type VersionView struct {
	Version   string `json:"version"`
	Go        string `json:"go"`
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	MaxFormat uint16 `json:"max_format"`
}

// ReadyView is a node's readiness.
type ReadyView struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was seen; if not OK, what to do
}

// DoctorView is what a node found out about itself and its place.
type DoctorView struct {
	Node   string  `json:"node"`
	Checks []Check `json:"checks"`
}
