package fsm

// Sizes are how many records of each kind a state holds.
type Sizes struct {
	Runs        int `json:"runs"`
	Tasks       int `json:"tasks"`
	Nodes       int `json:"nodes"`
	JobVersions int `json:"job_versions"`
	Keys        int `json:"idempotency_keys"`
	Submitting  int `json:"submitting"` // submissions that have not arrived whole
}

// Sizes counts the records.
func (t *tables) Sizes() Sizes {
	return Sizes{
		Runs: t.runs.Len(), Tasks: t.tasks.Len(), Nodes: t.nodes.Len(), JobVersions: t.versions.Len(), Keys: t.requests.Len(), Submitting: t.pending.Len(),
	}
}
