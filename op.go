package rota

// Entry is one entry of the replicated log: a batch of commands that the leading
// node stamped with the moment and a random seed.
type Entry struct {
	Format   uint16  // of the rules it was written under
	Term     uint64  // of the leader that proposed it
	Index    uint64  // in the log; filled by whoever reads it from there
	At       Instant // the state's now becomes max(now, At)
	Seed     uint64  // what the state machine draws jitter from
	Commands []Command
}

// Command is one operation with who asked for it.
type Command struct {
	RequestID string // the caller's idempotency key, scoped to namespace and principal; may be empty
	Namespace string
	Principal string
	Shard     uint16
	Op        Op
}

// Op is an operation on the state: a closed set, the types of this file and of
// opjob.go.
// (To add one: docs/ARCHITECTURE.md, "A new operation".)
//
//sumtype:decl
type Op interface{ isOp() }

// RaiseFormat lets rules of a newer format version take effect, once every
// replica announced that it can read it.
type RaiseFormat struct{ Format uint16 }

// RegisterNode begins a new session of a node; the result carries it. A session
// the node still had ends with it: what was placed there counts as lost. Refused
// with KindConflict while another ready, draining or suspect node has the name.
type RegisterNode struct {
	Info NodeInfo
	Boot string
	// Counter is the counter that the new session is to have; zero: whichever comes
	// next. If it is not the next one, KindStale, and Result.Session says the newest
	// counter: a registration that was sent again must not arrive late and end the
	// session that the second one began.
	Counter uint64
}

// RenewLeases notes that these sessions were alive; an empty one only shows that
// the log moves. Sessions that are not current are ignored; the leader answers a
// node by whether its session is current after the entry.
type RenewLeases struct{ Sessions []Session }

// ExpireSession takes back everything that was placed on the session, if it is
// still current and no renewal after the log index Seen was applied. With
// Released the node's keeper has vouched that every process has ended; what it
// knows of single attempts applies first, in the same step, so that nothing is
// placed on the dying session in between.
type ExpireSession struct {
	Session  Session
	Seen     uint64
	Term     uint64
	Released bool
	Left     bool         // a planned stop: the node left by itself
	Items    []ReportItem // only with Released
}

// MarkNode changes what the cluster thinks of a node. Nil fields stay.
type MarkNode struct {
	Node    NodeID
	Drain   *bool
	Suspect *bool // only by the leader, from gossip; never shortens a lease
}

// FormatUnfit is the format version from which on MarkUnfit is known.
const FormatUnfit = 3

// MarkUnfit is a node's own word that it can start nothing for now and why, or
// with an empty Why that it can again. What runs there goes on. It is apart from
// a person's drain, which it neither sets nor ends, and goes with the session.
type MarkUnfit struct {
	Session Session
	Why     string
}

// FormatKeys is the format version from which on the oldest idempotency key leaves where
// there is no room for another; before it the submission was refused.
const FormatKeys = 4

// SubmitRun creates a run, with the source of its job and the first of its tasks.
// The run becomes visible when Total tasks have arrived. The same RequestID with
// the same Digest gives the run that exists, with another one KindConflict.
type SubmitRun struct {
	Run           RunID
	Job           string
	Hash          string // of source and files; the version is found or made by it
	Filename      string
	Source        []byte // empty if the submitter knows that the version is stored
	Files         []File
	Labels        []Pair
	Variables     []Variable
	Priority      int
	OnTaskFailure OnTaskFailure
	Digest        string // of the request, for the idempotency key
	Total         int
	Specs         []*TaskSpec
	Tasks         []NewTask
}

// AddTasks brings further tasks of a submission that was too large for one entry.
type AddTasks struct {
	Run   RunID
	Specs []*TaskSpec
	Tasks []NewTask // their Spec indexes count within this operation's Specs
}

// Resolve brings the evaluated late expressions of a task whose dependencies have
// ended: its finished spec, or that it is to be skipped, or why they failed.
type Resolve struct {
	Task    TaskID
	Spec    *TaskSpec // without Late; nil with Skip or Failure
	Skip    bool      // when = false
	Failure string    // words with file:line:column; dead letter, cause expression
}

// Place puts queued tasks on nodes. Each placement is checked again with Fits;
// Result.Items says for each whether it holds.
type Place struct{ Placements []NewPlacement }

// NewPlacement is the scheduler's wish.
type NewPlacement struct {
	Task    TaskID
	Session Session
	GPUs    []GPUGrant
}

// Report is what a node's agent or keeper says of attempts, in order.
// Result.Items answers each.
type Report struct {
	Session Session
	Items   []ReportItem
}

// ReportItem is about one attempt. The parts apply in the order of the fields.
type ReportItem struct {
	Task     TaskID
	Fence    Fence
	Started  bool     // its process was started
	Outcome  *Outcome // it ended; nil: not yet
	Released bool     // nothing of it is alive: its room is free. Without Outcome and Started: given back unstarted
}

// Due lets the state machine do what its own timers are due for at Entry.At:
// retries, timeouts, retention. At most MaxDuePerEntry of them.
type Due struct{}

// MaxDuePerEntry bounds the work of one Due.
const MaxDuePerEntry = 256

// CancelRun cancels whatever of a run has not ended.
type CancelRun struct {
	Run    RunID
	Reason string
}

// CancelTask cancels one task; what depends on it is skipped.
type CancelTask struct {
	Task   TaskID
	Reason string
}

// Answer settles a task that waits with outcome_unknown: run it again, or give it
// up as a dead letter.
type Answer struct {
	Task  TaskID
	Rerun bool
}

func (RaiseFormat) isOp()   {}
func (RegisterNode) isOp()  {}
func (RenewLeases) isOp()   {}
func (ExpireSession) isOp() {}
func (MarkNode) isOp()      {}
func (MarkUnfit) isOp()     {}
func (SubmitRun) isOp()     {}
func (AddTasks) isOp()      {}
func (Resolve) isOp()       {}
func (Place) isOp()         {}
func (Report) isOp()        {}
func (Due) isOp()           {}
func (CancelRun) isOp()     {}
func (CancelTask) isOp()    {}
func (Answer) isOp()        {}

// Result is what the state machine answers to one command: the same on every
// replica. A refusal is a result, not a failure of the system.
type Result struct {
	Index   uint64  // of the entry in the log
	Kind    Kind    // KindNone: done
	Detail  string  // of a refusal, for people
	Run     RunID   // SubmitRun: the run, also when it existed already
	Existed bool    // SubmitRun: the key named a run that existed; StoreJob: it was the newest already
	Version int     // SubmitRun, StoreJob: the job version
	Session Session // RegisterNode
	Items   []Kind  // Place and Report: one answer per item
	At      Instant // the state's now at the entry, where the proposer is told: zero is not known
}

// Err is the refusal as an error that wraps its kind; nil if done.
func (r *Result) Err() error {
	if r.Kind == KindNone {
		return nil
	}
	return &Refusal{Kind: r.Kind, Detail: r.Detail}
}
