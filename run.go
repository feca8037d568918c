package rota

import "encoding/json"

// JobVersion is the stored source of a job. The same source and files are the
// same version; runs point to it.
type JobVersion struct {
	Namespace string
	Job       string
	Version   int    // from 1
	Hash      string // SHA-256 of the source and files, hex
	Filename  string // as the submitter named it, for diagnostics
	Source    []byte
	Files     []File // sorted by path
	CreatedAt Instant
}

// File is a file sent along with a job's source.
type File struct {
	Path string `json:"path"` // relative to the job file's directory, slash-separated
	Data []byte `json:"data"`
}

// Run is one execution of one job version.
type Run struct {
	ID            RunID
	Namespace     string
	Job           string
	Version       int
	Principal     string // who submitted it
	Labels        []Pair // sorted by key
	Variables     []Variable
	Priority      int
	OnTaskFailure OnTaskFailure
	Status        RunStatus
	Reason        string // why it is paused or was cancelled; empty otherwise
	CreatedAt     Instant
	FinishedAt    Instant
	Usage         Usage
	Total         int     // tasks, all chunks together
	Counts        [16]int // tasks by Status
	// Failed and Cancelled tasks that decide the run's end: those without
	// allow_failure.
	Failed    int
	Cancelled int
}

// Variable is a value a run was started with, as JSON, in the order of its name.
type Variable struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// EventVariable is the name under which a run keeps, among its variables, the data
// it was started with. No variable can be called so, and it sorts before all.
const EventVariable = "*event"

// Open is the number of tasks that have not ended.
func (r *Run) Open() int {
	open := r.Total
	for _, s := range Statuses {
		if s.Terminal() {
			open -= r.Counts[s]
		}
	}
	return open
}
