package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// Shortest prefixes that may name something.
const (
	minRunPrefix  = 4
	minNodePrefix = 4
	runIDLength   = 26
)

// DefaultNamespace is where runs are that name no other.
const DefaultNamespace = "default"

// lastRun is the word for the newest run.
const lastRun = "@last"

func notFound(format string, args ...any) error {
	return newProblem(TypeNotFound, fmt.Sprintf(format, args...))
}

// find looks something up in the newest state of this node; what is not there is
// looked for once more after catching up with the leader, for what was only just
// made through another node. The leader does that too: it may have been deposed and
// not know yet. A node that cannot catch up does not say that
// something acknowledged is not there: it refuses with KindNoLeader.
func (s *Server) find(ctx context.Context, look func(*fsm.Snapshot) error) error {
	err := look(s.deps.State.Snapshot())
	if !errors.Is(err, rota.ErrNotFound) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if s.catchUp(ctx) != nil {
		return &rota.Refusal{Kind: rota.KindNoLeader, Detail: err.Error() + " in this node's copy, which may be behind, and no leader answered in time; try again"}
	}
	return look(s.deps.State.Snapshot())
}

// catchUpWait is how long something that is not there is looked for.
const catchUpWait = time.Second

// findRun finds a run by its ID, a unique prefix of it, or @last.
func findRun(snap *fsm.Snapshot, word string) (*rota.Run, error) {
	if word == lastRun {
		for r := range snap.Runs() {
			return r, nil
		}
		return nil, notFound("there is no run yet")
	}
	id := strings.ToUpper(word)
	if r, ok := snap.Run(rota.RunID(id)); ok {
		return r, nil
	}
	if len(id) >= runIDLength || len(id) < minRunPrefix {
		return nil, notFound("there is no run %q; runs are named by their 26 characters, by %d or more of the first, or as %s", clip(word, 60), minRunPrefix, lastRun)
	}
	found := snap.RunByPrefix(id)
	switch len(found) {
	case 0:
		return nil, notFound("no run begins with %q", clip(word, 60))
	case 1:
		return found[0], nil
	}
	return nil, newProblem(TypeInvalid, fmt.Sprintf("several runs begin with %q, among them %s and %s: give more characters", word, found[0].ID, found[1].ID))
}

// findTask finds a task of a run.
func findTask(snap *fsm.Snapshot, run, key string) (*rota.Run, *rota.Task, error) {
	r, err := findRun(snap, run)
	if err != nil {
		return nil, nil, err
	}
	t, ok := snap.Task(rota.TaskID{Run: r.ID, Key: rota.TaskKey(key)})
	if !ok {
		return r, nil, notFound("run %s has no task %q%s", r.ID, clip(key, rota.MaxKeyBytes), nearKeys(snap, r, key))
	}
	return r, t, nil
}

// nearKeys names tasks of the run that may have been meant.
func nearKeys(snap *fsm.Snapshot, r *rota.Run, key string) string {
	label := rota.TaskKey(key).Label()
	var same, first []string
	for t := range snap.Tasks(r.ID) {
		k := string(t.ID.Key)
		if t.ID.Key.Label() == label && len(same) < 3 {
			same = append(same, k)
		}
		if len(first) < 3 {
			first = append(first, k)
		}
		if len(same) == 3 {
			break
		}
	}
	if len(same) > 0 {
		first = same
	}
	if len(first) == 0 {
		return ""
	}
	return "; it has " + strings.Join(first, ", ") + more(r.Total-len(first))
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

// findNode finds a node by name, ID, or unique prefix of its ID.
func findNode(snap *fsm.Snapshot, word string) (*rota.Node, error) {
	if n, ok := snap.NodeByName(word); ok {
		return n, nil
	}
	if n, ok := snap.Node(rota.NodeID(word)); ok {
		return n, nil
	}
	var found []*rota.Node
	var names []string
	for n := range snap.Nodes() {
		if len(word) >= minNodePrefix && strings.HasPrefix(string(n.ID), word) {
			found = append(found, n)
		}
		if len(names) < 8 {
			names = append(names, n.Name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, newProblem(TypeInvalid, fmt.Sprintf("the IDs of several nodes begin with %q: %s and %s among them", word, found[0].Name, found[1].Name))
	case len(names) == 0:
		return nil, notFound("there is no node %q; no node has registered yet", clip(word, 60))
	}
	return nil, notFound("there is no node %q; there are %s", clip(word, 60), strings.Join(names, ", "))
}

// namespaceOf checks a namespace that came from outside.
func namespaceOf(name string) (string, error) {
	if name == "" {
		return DefaultNamespace, nil
	}
	if len(name) > 64 || !rota.IsIdentifier(name) {
		return "", newProblem(TypeInvalid, fmt.Sprintf("%q is no namespace: want a letter, then letters, digits, - or _, 64 bytes at most", clip(name, 80)))
	}
	return name, nil
}
