package rota

// ChangeType says what a change is about; its words are the types of events.
type ChangeType string

// The types of changes. Those of tasks are "task." and the status reached.
const (
	ChangeRunCreated   ChangeType = "run.created"
	ChangeRunFinished  ChangeType = "run.finished"
	ChangeRunPurged    ChangeType = "run.purged"
	ChangeRunStatus    ChangeType = "run.status"      // between running, waiting and paused
	ChangeNode         ChangeType = "node.changed"    // registered, drained, suspect, down, left
	ChangeRoom         ChangeType = "node.room"       // what is held on a node changed; no event
	ChangeHold         ChangeType = "hold.taken"      // no event
	ChangeHoldReleased ChangeType = "hold.released"   // no event
	ChangeRenewed      ChangeType = "session.renewed" // no event
	ChangeKnown        ChangeType = "demands.known"   // what tasks typically ask for; no event
	ChangeTaskLate     ChangeType = "task.late_result"
	ChangeTaskResolved ChangeType = "task.resolved" // late expressions are in; no event
	// ChangeTaskUnresolved: dependencies are over, late expressions wait for the
	// leader; no event.
	ChangeTaskUnresolved ChangeType = "task.unresolved"
)

// Change is one thing that an applied entry did, with the records as they are
// afterwards. The changes of an entry, in order, are what the scheduler, the
// streams to nodes and the event history are fed with.
type Change struct {
	Type ChangeType
	At   Instant
	Run  *Run
	Task *Task // with Run nil: the run did not change
	From Status
	// Attempt is the attempt it is about; zero: none.
	Attempt uint64
	Node    *Node
	Hold    *Hold
	// Renewed are the sessions whose renewal, or registration, was applied.
	Renewed []Session
	// Known is what tasks typically ask for from now on (Arrivals.Known); nil: as before.
	Known []Shape
}

// TaskChange is the type of the change that brought a task to a status.
func TaskChange(s Status) ChangeType { return ChangeType("task." + s.String()) }

// Event is a change as the outside sees it.
type Event struct {
	ID      string         `json:"id"` // INC-INDEX-POS: incarnation, log index, position within the entry
	Index   uint64         `json:"index"`
	At      Instant        `json:"at"`
	Type    ChangeType     `json:"type"`
	Run     RunID          `json:"run,omitempty"`
	Task    TaskKey        `json:"task,omitempty"`
	Attempt uint64         `json:"attempt,omitempty"`
	Data    map[string]any `json:"data,omitempty"`
}
