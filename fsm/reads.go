package fsm

import (
	"iter"
	"strings"

	"github.com/rota-sched/rota"
)

// Snapshot is the state as it was at one index. It never changes and may be read
// by any number of goroutines while Apply goes on.
type Snapshot struct {
	tables
	nextDue rota.Instant
}

// Index is the log index of the newest entry applied.
func (t *tables) Index() uint64 { return t.meta.index }

// Now is the moment of the newest entry applied.
func (t *tables) Now() rota.Instant { return t.meta.now }

// Format is the active format version.
func (t *tables) Format() uint16 { return t.meta.format }

// Incarnation is the cluster's incarnation, the high part of every fence.
func (t *tables) Incarnation() uint16 { return t.meta.incarnation }

// Digest of the whole state: equal on all replicas at equal index.
func (t *tables) Digest() Digest { return t.sum.add(t.meta.digest()) }

// Usage is what all attempts ever consumed, those of purged runs included.
func (t *tables) Usage() rota.Usage { return t.meta.usage }

// Counts are the tasks of all runs by rota.Status.
func (t *tables) Counts() [16]int { return t.counts }

// NextDue is when the state machine next has something to do by itself; zero:
// never. It may be early: a Due then does nothing.
func (s *Snapshot) NextDue() rota.Instant { return s.nextDue }

// Run finds a run. The record is shared: not to be changed.
func (s *Snapshot) Run(id rota.RunID) (*rota.Run, bool) {
	if r := s.runByID(id); r != nil {
		return &r.Run, true
	}
	return nil, false
}

// RunByPrefix finds the runs whose ID starts with the prefix: at most two, which
// is enough to know that a prefix is not unique.
func (s *Snapshot) RunByPrefix(prefix string) []*rota.Run {
	var found []*rota.Run
	s.runIDs.Ascend(runIDItem{id: rota.RunID(prefix)}, func(it runIDItem) bool {
		if !strings.HasPrefix(string(it.id), prefix) || len(found) == 2 {
			return false
		}
		if r := s.runAt(it.number); r != nil {
			found = append(found, &r.Run)
		}
		return true
	})
	return found
}

// Runs gives all runs, the newest first.
func (s *Snapshot) Runs() iter.Seq[*rota.Run] {
	return func(yield func(*rota.Run) bool) {
		s.runs.Reverse(func(it runItem) bool { return yield(&it.rec.Run) })
	}
}

// RunsOfNamespace gives the runs of one namespace, the newest first.
func (s *Snapshot) RunsOfNamespace(namespace string) iter.Seq[*rota.Run] {
	return func(yield func(*rota.Run) bool) {
		s.runs.Reverse(func(it runItem) bool { return it.rec.Namespace != namespace || yield(&it.rec.Run) })
	}
}

// Task finds a task.
func (s *Snapshot) Task(id rota.TaskID) (*rota.Task, bool) {
	if t := s.taskByID(id); t != nil {
		return &t.Task, true
	}
	return nil, false
}

// Tasks gives the tasks of a run in the order of its file.
func (s *Snapshot) Tasks(run rota.RunID) iter.Seq[*rota.Task] { return s.TaskAt(run, 0) }

// TaskAt gives the tasks of a run whose Order is at least from.
func (s *Snapshot) TaskAt(run rota.RunID, from int) iter.Seq[*rota.Task] {
	return func(yield func(*rota.Task) bool) {
		r := s.runByID(run)
		if r == nil {
			return
		}
		s.tasks.Ascend(taskItem{taskPos: taskPos{run: r.number, order: from}}, func(it taskItem) bool {
			return it.run == r.number && yield(&it.rec.Task)
		})
	}
}

// Dependents gives the tasks that depend on one, in the order of the file.
func (s *Snapshot) Dependents(id rota.TaskID) iter.Seq[*rota.Task] {
	return func(yield func(*rota.Task) bool) {
		r, t := s.runByID(id.Run), s.taskByID(id)
		if r == nil || t == nil {
			return
		}
		for _, order := range r.graph.dependents(t.Order) {
			if d := s.taskAt(taskPos{run: r.number, order: int(order)}); d != nil && !yield(&d.Task) {
				return
			}
		}
	}
}

// Queued gives the tasks that want a node, in the order their runs were created.
func (s *Snapshot) Queued() iter.Seq[*rota.Task] {
	return func(yield func(*rota.Task) bool) {
		s.queued.Scan(func(it taskItem) bool { return yield(&it.rec.Task) })
	}
}

// Unresolved gives the tasks that wait for their late expressions to be evaluated:
// their dependencies are over.
func (s *Snapshot) Unresolved() iter.Seq[*rota.Task] {
	return func(yield func(*rota.Task) bool) {
		s.unresolved.Scan(func(it taskItem) bool { return yield(&it.rec.Task) })
	}
}

// Node finds a node.
func (s *Snapshot) Node(id rota.NodeID) (*rota.Node, bool) {
	n := s.nodeByID(id)
	if n == nil {
		return nil, false
	}
	return s.withRenewal(n), true
}

// NodeByName finds the node of a name: the one that is alive, else the one that
// changed last.
func (s *Snapshot) NodeByName(name string) (*rota.Node, bool) {
	var best *node
	s.names.Ascend(nameItem{name: name}, func(it nameItem) bool {
		if it.name != name {
			return false
		}
		n := s.nodeByID(it.id)
		switch {
		case n == nil:
		case best == nil, best.Session.IsZero() && !n.Session.IsZero():
			best = n
		case best.Session.IsZero() == n.Session.IsZero() && n.ChangedAt > best.ChangedAt:
			best = n
		}
		return true
	})
	if best == nil {
		return nil, false
	}
	return s.withRenewal(best), true
}

// Nodes gives all nodes, sorted by name.
func (s *Snapshot) Nodes() iter.Seq[*rota.Node] {
	return func(yield func(*rota.Node) bool) {
		s.names.Scan(func(it nameItem) bool {
			n := s.nodeByID(it.id)
			return n == nil || yield(s.withRenewal(n))
		})
	}
}

// withRenewal fills in the renewal, whose record is kept apart.
func (t *tables) withRenewal(n *node) *rota.Node {
	l := t.leaseOf(n.ID)
	if l == nil || l.index == n.RenewedIndex {
		return &n.Node
	}
	c := n.Node
	c.RenewedIndex = l.index
	return &c
}

// Holds gives what attempts hold on a node, by task and fence.
func (s *Snapshot) Holds(node rota.NodeID) iter.Seq[*rota.Hold] {
	return func(yield func(*rota.Hold) bool) {
		s.holds.Ascend(holdItem{holdKey: holdKey{node: node}}, func(it holdItem) bool {
			return it.node == node && yield(&it.rec.Hold)
		})
	}
}

// AllHolds gives what attempts hold on all nodes, by node, task and fence.
func (s *Snapshot) AllHolds() iter.Seq[*rota.Hold] {
	return func(yield func(*rota.Hold) bool) {
		s.holds.Scan(func(it holdItem) bool { return yield(&it.rec.Hold) })
	}
}

// Version finds the source of a job.
func (s *Snapshot) Version(namespace, job string, number int) (*rota.JobVersion, bool) {
	it, ok := s.versions.Get(versionItem{versionKey: versionKey{namespace: namespace, job: job, number: number}})
	if !ok {
		return nil, false
	}
	return &it.rec.JobVersion, true
}

// VersionByHash finds the version with the given source and files, so that a
// submitter knows whether it has to send them.
func (s *Snapshot) VersionByHash(namespace, job, hash string) (*rota.JobVersion, bool) {
	it, ok := s.hashes.Get(hashItem{namespace: namespace, job: job, hash: hash})
	if !ok {
		return nil, false
	}
	return s.Version(namespace, job, it.number)
}

// Jobs gives the newest version of every job that was not deleted, by namespace and
// name.
func (s *Snapshot) Jobs() iter.Seq[*rota.JobVersion] {
	return func(yield func(*rota.JobVersion) bool) {
		s.versions.Scan(func(it versionItem) bool {
			return !it.rec.last || s.jobAt(it.namespace, it.job).deleted || yield(&it.rec.JobVersion)
		})
	}
}

// Versions gives the kept versions of a job, the oldest first.
func (s *Snapshot) Versions(namespace, job string) iter.Seq[*rota.JobVersion] {
	return func(yield func(*rota.JobVersion) bool) {
		s.versions.Ascend(versionItem{versionKey: versionKey{namespace: namespace, job: job}}, func(it versionItem) bool {
			return it.namespace == namespace && it.job == job && yield(&it.rec.JobVersion)
		})
	}
}
