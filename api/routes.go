package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Parameters that several routes have.
func readParameters(more ...parameter) []parameter {
	return append([]parameter{
		{"consistent", huma.TypeBoolean, "Ask the leader where the log ends and wait for it."},
		{"index", huma.TypeInteger, "Answer when something changed after this index, or the time is over."},
		{"wait", huma.TypeString, "How long to wait with ?index, such as 20s."},
	}, more...)
}

func listParameters(more ...parameter) []parameter {
	return readParameters(append([]parameter{
		{"limit", huma.TypeInteger, "Items of a page, 1 to 1000."},
		{"cursor", huma.TypeString, "The next_cursor of the page before."},
	}, more...)...)
}

func logParameters() []parameter {
	return []parameter{
		{"stream", huma.TypeString, "stdout or stderr."},
		{"attempt", huma.TypeInteger, "Number of the attempt; the newest otherwise."},
		{"offset", huma.TypeInteger, "Bytes to leave out; negative: begin so many before the end."},
		{"follow", huma.TypeBoolean, "Go on until the attempt has ended."},
	}
}

func eventParameters(more ...parameter) []parameter {
	return append([]parameter{
		{"after", huma.TypeString, "ID of the last event seen, as Last-Event-ID; 0: from the oldest kept."},
		{"type", huma.TypeString, "Only these types; task.* for all of a kind. May be repeated."},
	}, more...)
}

// publicRoutes is the table of routes for people and programs.
func (s *Server) publicRoutes() []route {
	const get, post = http.MethodGet, http.MethodPost
	const events, text = "text/event-stream", "text/plain"
	namespace := parameter{"namespace", huma.TypeString, "The default is " + DefaultNamespace + "."}
	return []route{
		{method: get, path: "/v1/status", id: "status", summary: "The cluster in one look", query: readParameters(), out: StatusView{}, handle: s.read(anyChange, s.getStatus)},
		{method: get, path: "/v1/version", id: "version", summary: "The node's binary", out: VersionView{}, handle: s.getVersion},
		{method: get, path: "/v1/doctor", id: "doctor", summary: "What the node found out about itself", out: DoctorView{}, handle: s.getDoctor},

		{method: get, path: "/v1/nodes", id: "listNodes", summary: "Nodes by name", query: listParameters(), out: List[NodeView]{}, handle: s.read(nodeChange, s.listNodes)},
		{method: get, path: "/v1/nodes/{id}", id: "getNode", summary: "A node by name, ID or prefix", query: readParameters(), out: NodeView{}, handle: s.read(nodeChange, s.getNode)},
		{method: post, path: "/v1/nodes/{id}/drain", id: "drainNode", summary: "Give the node nothing new", out: NodeView{}, handle: s.write(s.drain(true))},
		{method: post, path: "/v1/nodes/{id}/undrain", id: "undrainNode", summary: "Give the node work again", out: NodeView{}, handle: s.write(s.drain(false))},
		{method: get, path: "/v1/nodes/{id}/explain", id: "explainNode", summary: "What the node is passed over for", out: ExplainNodeView{}, handle: s.explainNode},

		{method: post, path: "/v1/jobs:validate", id: "validateJob", summary: "Check a job file", in: SpecRequest{}, out: ValidateView{}, handle: s.validate},
		{method: post, path: "/v1/jobs:plan", id: "planJob", summary: "What a run of the file would do now", in: SpecRequest{}, out: PlanView{}, handle: s.plan},
		{method: get, path: "/v1/jobs", id: "listJobs", summary: "Stored jobs", query: listParameters(namespace), out: List[JobView]{}, handle: s.read(anyRunChange, s.listJobs)},
		{method: get, path: "/v1/jobs/{name}", id: "getJob", summary: "A stored job", query: readParameters(namespace, parameter{"version", huma.TypeInteger, "The newest otherwise."}), out: JobView{}, handle: s.read(anyRunChange, s.getJob)},
		{method: http.MethodPut, path: "/v1/jobs/{name}", id: "putJob", summary: "Store a job of a file as its newest version", in: ApplyRequest{}, out: ApplyView{}, handle: s.write(s.putJob)},
		{method: http.MethodDelete, path: "/v1/jobs/{name}", id: "deleteJob", summary: "Forget a job; runs of it go on", query: []parameter{namespace}, out: JobView{}, handle: s.write(s.deleteJob())},
		{method: post, path: "/v1/jobs/{name}/pause", id: "pauseJob", summary: "Let the job start no runs", query: []parameter{namespace}, out: JobView{}, handle: s.write(s.pauseJob(true))},
		{method: post, path: "/v1/jobs/{name}/resume", id: "resumeJob", summary: "Let the job start runs again", query: []parameter{namespace}, out: JobView{}, handle: s.write(s.pauseJob(false))},
		{method: get, path: "/v1/jobs/{name}/versions", id: "listJobVersions", summary: "Versions of a job, newest first", query: listParameters(namespace), out: List[JobView]{}, handle: s.read(anyRunChange, s.listVersions)},

		{method: post, path: "/v1/runs", id: "submitRun", summary: "Start a run of a job file or a stored job; or an array of up to 1,000 of the latter", in: SubmitRequest{}, out: RunView{}, status: http.StatusCreated, handle: s.write(s.postRuns)},
		{method: get, path: "/v1/runs", id: "listRuns", summary: "Runs, newest first", query: listParameters(namespace,
			parameter{"status", huma.TypeString, "Only these. May be repeated."}, parameter{"job", huma.TypeString, "Only this job's."},
			parameter{"label", huma.TypeString, "KEY=VALUE, or KEY. May be repeated."}, parameter{"since", huma.TypeString, "Created at or after, RFC 3339 or a duration back."},
		), out: List[RunView]{}, handle: s.read(anyRunChange, s.listRuns)},
		{method: get, path: "/v1/runs/{id}", id: "getRun", summary: "A run by ID, prefix or @last", query: readParameters(
			parameter{"tasks", huma.TypeBoolean, "With the first 1,000 tasks."}, parameter{"until", huma.TypeString, "With wait: ended waits for the end or a pause, not for the next change."}, parameter{"outputs", huma.TypeBoolean, "With outputs of any size."}), out: RunView{}, handle: s.read(runChange, s.getRun)},
		{method: get, path: "/v1/runs/{id}/tasks", id: "listTasks", summary: "Tasks in the order of the file", query: listParameters(
			parameter{"status", huma.TypeString, "Only these. May be repeated."}, parameter{"outputs", huma.TypeBoolean, "With outputs of any size."}), out: List[TaskView]{}, handle: s.read(runChange, s.listTasks)},
		{method: get, path: "/v1/runs/{id}/graph", id: "getGraph", summary: "The graph of a run", query: readParameters(), out: GraphView{}, handle: s.read(runChange, s.getGraph)},
		{method: get, path: "/v1/runs/{id}/events", id: "runEvents", summary: "Events of a run", query: eventParameters(parameter{"end", huma.TypeBoolean, "End with the run."}), media: events, handle: s.events},
		{method: post, path: "/v1/runs/{id}/cancel", id: "cancelRun", summary: "Cancel what has not ended", in: CancelRequest{}, out: RunView{}, handle: s.write(s.cancelRun)},

		{method: get, path: "/v1/tasks/{run}/{key}", id: "getTask", summary: "A task with its attempts", query: readParameters(), out: TaskDetail{}, handle: s.read(taskChange, s.getTask)},
		{method: get, path: "/v1/tasks/{run}/{key}/logs", id: "getLogs", summary: "What an attempt wrote", query: logParameters(), media: text, handle: s.logs},
		{method: get, path: "/v1/tasks/{run}/{key}/explain", id: "explainTask", summary: "Why a task waits, or is where it is", out: ExplainView{}, handle: s.explainTask},
		{method: post, path: "/v1/tasks/{run}/{key}/cancel", id: "cancelTask", summary: "Cancel a task", in: CancelRequest{}, out: TaskDetail{}, handle: s.write(s.cancelTask)},
		{method: post, path: "/v1/tasks/{run}/{key}/answer", id: "answerTask", summary: "Run a task of unknown outcome again, or give it up", in: AnswerRequest{}, out: TaskDetail{}, handle: s.write(s.answerTask)},

		{method: get, path: "/v1/events", id: "events", summary: "Everything that happens", query: eventParameters(namespace), media: events, handle: s.events},

		{method: get, path: "/metrics", id: "metrics", summary: "For Prometheus", media: text, handle: s.getMetrics},
		{method: get, path: "/healthz", id: "healthz", summary: "The process answers", handle: s.getHealth},
		{method: get, path: "/readyz", id: "readyz", summary: "The node is of use", out: ReadyView{}, handle: s.getReady},
	}
}
