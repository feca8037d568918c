package fsm

import (
	"cmp"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/tidwall/btree"
)

// tables are all records of a state, in ordered trees whose copies share what has
// not changed since. The items carry their key beside the record, so that a
// look-up allocates nothing and compares without touching the record.
type tables struct {
	meta   meta
	sum    Digest  // of all records; not of the derived trees
	counts [16]int // tasks by status
	live   int     // tasks of runs that have not ended
	output int64   // bytes of inline outputs kept
	queue  int     // tasks of pending submissions
	// How long requests are kept: a limit.
	keepRequests time.Duration

	runs     *btree.BTreeG[runItem]
	tasks    *btree.BTreeG[taskItem]
	nodes    *btree.BTreeG[nodeItem]
	leases   *btree.BTreeG[leaseItem]
	holds    *btree.BTreeG[holdItem]
	versions *btree.BTreeG[versionItem]
	pending  *btree.BTreeG[pendingItem]
	requests *btree.BTreeG[requestItem]
	jobs     *btree.BTreeG[jobItem]
	arrivals arrivals

	// Derived: rebuilt by Restore from the records above.
	runIDs     *btree.BTreeG[runIDItem]
	queued     *btree.BTreeG[taskItem]
	unresolved *btree.BTreeG[taskItem]
	names      *btree.BTreeG[nameItem]
	hashes     *btree.BTreeG[hashItem]
	ended      *btree.BTreeG[endedItem]
	timers     *btree.BTreeG[timer]
	ages       *btree.BTreeG[ageItem] // of requests, the oldest first: all are kept equally long
}

// meta is what a state knows of itself.
type meta struct {
	index       uint64
	now         rota.Instant
	format      uint16
	incarnation uint16
	serial      uint64 // numbers runs and requests in the order they came
	sessions    uint64 // highest session counter of nodes that were forgotten
	usage       rota.Usage
	quiet       rota.Instant // no node is taken in before: the cluster was restored; 0: it was not
}

type (
	runItem struct {
		number uint64
		rec    *run
	}
	runIDItem struct {
		id     rota.RunID
		number uint64
	}
	taskPos struct {
		run   uint64
		order int
	}
	taskItem struct {
		taskPos
		rec *task
	}
	nodeItem struct {
		id  rota.NodeID
		rec *node
	}
	nameItem struct {
		name string
		id   rota.NodeID
	}
	leaseItem struct {
		node rota.NodeID
		rec  *lease
	}
	holdKey struct {
		node  rota.NodeID
		task  rota.TaskID
		fence rota.Fence
	}
	holdItem struct {
		holdKey
		rec *hold
	}
	versionKey struct {
		namespace, job string
		number         int
	}
	versionItem struct {
		versionKey
		rec *version
	}
	hashItem struct {
		namespace, job, hash string
		number               int
	}
	pendingItem struct {
		run rota.RunID
		rec *pending
	}
	jobKey  struct{ namespace, name string }
	jobItem struct {
		jobKey
		rec *job
	}
	requestKey  struct{ namespace, principal, id string }
	requestItem struct{ rec *request }
	ageItem     struct {
		serial uint64
		rec    *request
	}
	endedItem struct {
		namespace string
		at        rota.Instant
		number    uint64
	}
)

func newTree[T any](compare func(a, b T) int) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(func(a, b T) bool { return compare(a, b) < 0 }, btree.Options{NoLocks: true})
}

func newTables() tables {
	return tables{
		meta:     meta{format: 1},
		runs:     newTree(func(a, b runItem) int { return cmp.Compare(a.number, b.number) }),
		tasks:    newTree(func(a, b taskItem) int { return a.compare(b.taskPos) }),
		nodes:    newTree(func(a, b nodeItem) int { return cmp.Compare(a.id, b.id) }),
		leases:   newTree(func(a, b leaseItem) int { return cmp.Compare(a.node, b.node) }),
		holds:    newTree(func(a, b holdItem) int { return a.compare(b.holdKey) }),
		versions: newTree(func(a, b versionItem) int { return a.compare(b.versionKey) }),
		pending:  newTree(func(a, b pendingItem) int { return cmp.Compare(a.run, b.run) }),
		requests: newTree(func(a, b requestItem) int { return a.rec.key.compare(b.rec.key) }),
		jobs:     newTree(func(a, b jobItem) int { return a.compare(b.jobKey) }),

		runIDs:     newTree(func(a, b runIDItem) int { return cmp.Compare(a.id, b.id) }),
		queued:     newTree(func(a, b taskItem) int { return a.compare(b.taskPos) }),
		unresolved: newTree(func(a, b taskItem) int { return a.compare(b.taskPos) }),
		names: newTree(func(a, b nameItem) int {
			return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.id, b.id))
		}),
		hashes: newTree(func(a, b hashItem) int {
			return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.job, b.job), strings.Compare(a.hash, b.hash))
		}),
		ended: newTree(func(a, b endedItem) int {
			return cmp.Or(strings.Compare(a.namespace, b.namespace), cmp.Compare(a.at, b.at), cmp.Compare(a.number, b.number))
		}),
		timers: newTree(timer.compare),
		ages:   newTree(func(a, b ageItem) int { return cmp.Compare(a.serial, b.serial) }),
	}
}

// copy shares everything until one side changes it.
func (t *tables) copy() tables {
	c := *t
	c.runs, c.tasks, c.nodes, c.leases = t.runs.Copy(), t.tasks.Copy(), t.nodes.Copy(), t.leases.Copy()
	c.holds, c.versions, c.pending, c.requests = t.holds.Copy(), t.versions.Copy(), t.pending.Copy(), t.requests.Copy()
	c.runIDs, c.queued, c.unresolved, c.names = t.runIDs.Copy(), t.queued.Copy(), t.unresolved.Copy(), t.names.Copy()
	c.hashes, c.jobs = t.hashes.Copy(), t.jobs.Copy()
	c.ended, c.timers, c.ages = nil, nil, nil // only Apply reads them
	return c
}

func (p taskPos) compare(o taskPos) int {
	switch {
	case p.run != o.run:
		return cmp.Compare(p.run, o.run)
	default:
		return cmp.Compare(p.order, o.order)
	}
}

func (k holdKey) compare(o holdKey) int {
	return cmp.Or(cmp.Compare(k.node, o.node), k.task.Compare(o.task), cmp.Compare(k.fence, o.fence))
}

func (k versionKey) compare(o versionKey) int {
	return cmp.Or(strings.Compare(k.namespace, o.namespace), strings.Compare(k.job, o.job), cmp.Compare(k.number, o.number))
}

func (k jobKey) compare(o jobKey) int {
	return cmp.Or(strings.Compare(k.namespace, o.namespace), strings.Compare(k.name, o.name))
}

func (k requestKey) compare(o requestKey) int {
	return cmp.Or(strings.Compare(k.namespace, o.namespace), strings.Compare(k.principal, o.principal), strings.Compare(k.id, o.id))
}
