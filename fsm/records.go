package fsm

import (
	"cmp"
	"time"

	"github.com/rota-sched/rota"
)

// A record is what readers see together with what only the state machine needs.
// Records are immutable once the entry that made them is applied: Apply edits
// copies, and stamp says whose copy it is.

// task is the record of one task.
type task struct {
	rota.Task
	run    uint64 // number of its run
	specAt int    // index in the run's specs; ownSpec: resolved, its own
	stamp  uint64
	fixed  Digest // of what never changes: key, order, edges, spec
	sum    Digest

	held    bool       // derived: its newest attempt holds room somewhere
	gaveUp  rota.Cause // why the cluster gave the newest attempt up before its own report
	retryAt rota.Instant
	mishaps *mishaps // nil: none
	endings []ending // reports of outcomes seen, newest last
}

const ownSpec = -1

// mishaps count what befell a task without using up attempts. Immutable.
type mishaps struct {
	nodeLost  int
	preempted int
	throttled int
	waited    time.Duration // for network, rate limits and overload, all together
	givenBack int           // in a row
	poison    []rota.NodeID // nodes on which it may have done harm, none twice
}

// ending remembers which outcome was reported for an attempt, so that the report
// can be repeated.
type ending struct {
	attempt uint64
	outcome uint64 // hash
}

// run is the record of one run.
type run struct {
	rota.Run
	number    uint64
	graph     *graph
	stamp     uint64 // entry
	step      uint64 // command
	fixed     Digest
	sum       Digest
	output    int64 // bytes of inline outputs
	cancelled bool  // as a whole, by a person

	unresolved int // derived: tasks that wait for their late expressions
}

// graph is what never changes of a run's tasks; all records of the run share it.
type graph struct {
	specs []*rota.TaskSpec
	keys  []keyAt // sorted by key
	// The tasks that depend on the i-th are after[first[i]:first[i+1]], by order.
	first []int32
	after []int32
}

type keyAt struct {
	key   rota.TaskKey
	order int32
}

// node is the record of one node, without the renewals of its session, which have
// a small record of their own because they are the most frequent write.
type node struct {
	rota.Node
	stamp uint64
	fixed Digest // of NodeInfo
	sum   Digest
	// roomChanged: noted in work.rooms already. Only of use within an entry.
	roomChanged bool
	due         rota.Instant // derived: of its timer
}

// lease is the renewal of a node's session. Immutable.
type lease struct {
	session rota.Session
	index   uint64
	sum     Digest
}

type hold struct {
	rota.Hold
	sum Digest
}

type version struct {
	rota.JobVersion
	last bool // derived: the newest of its job, kept even without runs since it carries the numbering
	runs int  // derived: runs and pending submissions that point to it
	sum  Digest
}

// pending is a submission whose last chunk has not been applied yet: invisible.
// Its lists only grow, so copies may share their arrays.
type pending struct {
	rota.Run // without counts; CreatedAt is when it began
	request  requestKey
	specs    []*rota.TaskSpec
	tasks    []rota.NewTask
	edges    int    // derived
	specSum  Digest // chained over the list
	taskSum  Digest // chained over the list
	sum      Digest
}

// request is an idempotency key and what it led to. Immutable.
type request struct {
	key    requestKey
	serial uint64
	digest string
	run    rota.RunID
	number int // of the job version
	at     rota.Instant
	sum    Digest
}

// timerKind says what a timer is about.
type timerKind uint8

const (
	timerTask timerKind = iota + 1
	timerPending
	timerRequest // by ages, not by a timer of its own
	timerRun
	timerNode
)

// timer is due at an instant. The fields after kind name the record; a timer whose
// record has gone or moved on does nothing.
type timer struct {
	at   rota.Instant
	kind timerKind
	pos  taskPos // timerTask, timerRun
	id   string  // timerPending: the run, timerNode: the node
}

func (t timer) compare(o timer) int {
	if t.at != o.at {
		return cmp.Compare(t.at, o.at)
	}
	if t.kind != o.kind {
		return cmp.Compare(t.kind, o.kind)
	}
	return cmp.Or(t.pos.compare(o.pos), cmp.Compare(t.id, o.id))
}
