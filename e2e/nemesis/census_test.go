package nemesis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// within is how long after a fault has ended all due tasks have to have started.
const within = 30 * time.Second

// started waits until no task of a phase waits for its start.
func (w *world) started(t *testing.T, phase string) {
	t.Helper()
	eventually(t, within, "all due tasks of "+phase+" have started", func() (string, bool) {
		waiting := 0
		var last string
		err := w.runs(w.nodes, api.RunFilter{Labels: map[string]string{"phase": phase}, Status: []rota.RunStatus{rota.RunRunning, rota.RunWaiting}}, func(r *api.RunView) {
			for _, status := range []string{"created", "queued", "assigned", "retrying", "waiting"} {
				if r.TaskCounts[status] > 0 {
					waiting++
					last = fmt.Sprintf("%s %v", r.ID, r.TaskCounts)
				}
			}
		})
		return fmt.Sprintf("%d wait, %s; %v", waiting, last, err), err == nil && waiting == 0
	})
}

// ended waits until every run of a phase has ended.
func (w *world) ended(t *testing.T, phase string) {
	t.Helper()
	eventually(t, time.Minute, "all runs of "+phase+" have ended", func() (string, bool) {
		open := 0
		err := w.runs(w.nodes, api.RunFilter{Labels: map[string]string{"phase": phase}, Status: []rota.RunStatus{rota.RunRunning, rota.RunWaiting, rota.RunPaused}}, func(*api.RunView) { open++ })
		return fmt.Sprintf("%d are open; %v", open, err), err == nil && open == 0
	})
}

// runs lists runs through the first of some nodes that answers.
func (w *world) runs(nodes []*node, f api.RunFilter, each func(*api.RunView)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	f.Limit = 1000
	var last error
	for _, n := range nodes {
		for f.Cursor = ""; ; {
			page, err := n.client.Runs(ctx, f)
			if err != nil {
				last = err
				break
			}
			for i := range page.Items {
				each(&page.Items[i])
			}
			if page.NextCursor == nil {
				return nil
			}
			f.Cursor = *page.NextCursor
		}
	}
	return last
}

// agree waits until all nodes tell the same of a phase's runs, and returns them.
func (w *world) agree(t *testing.T, phase string) map[rota.RunID]*api.RunView {
	t.Helper()
	var found map[rota.RunID]*api.RunView
	eventually(t, 20*time.Second, "all nodes tell the same of "+phase, func() (string, bool) {
		var first []byte
		for _, n := range w.nodes {
			all := map[rota.RunID]*api.RunView{}
			if err := w.runs([]*node{n}, api.RunFilter{Labels: map[string]string{"phase": phase}}, func(r *api.RunView) { all[r.ID] = r }); err != nil {
				return n.name + ": " + err.Error(), false
			}
			text, err := json.Marshal(all) // sorted by ID
			if err != nil {
				return err.Error(), false
			}
			if first == nil {
				first, found = text, all
			} else if string(first) != string(text) {
				return fmt.Sprintf("%s tells of %d runs, another of %d, or of others", n.name, len(all), len(found)), false
			}
		}
		return "", true
	})
	return found
}

// count holds what the clients were told against what is there.
func (l *load) count(t *testing.T, tl *tail, there map[rota.RunID]*api.RunView, mayFail bool) (acknowledged int) {
	t.Helper()
	byKey := map[string]rota.RunID{}
	for id, r := range there {
		if other, twice := byKey[r.Labels["key"]]; twice {
			t.Errorf("key %s has two runs, %s and %s", r.Labels["key"], other, id)
		}
		byKey[r.Labels["key"]] = id
	}
	wrong := map[string][]string{}
	for _, d := range l.deeds {
		id, exists := byKey[d.key]
		switch {
		case d.id == "" && exists && !d.doubt:
			wrong["refused for certain, and there"] = append(wrong["refused for certain, and there"], fmt.Sprintf("run %s of key %s", id, d.key))
		case d.id == "":
		case !exists || id != d.id:
			wrong["LOST: acknowledged, and not there"] = append(wrong["LOST: acknowledged, and not there"], fmt.Sprintf("run %s of key %s, there is %q", d.id, d.key, id))
		default:
			acknowledged++
			if why := d.badEnd(there[id]); why != "" {
				wrong["ended badly"] = append(wrong["ended badly"], why)
			}
		}
	}
	if mayFail {
		l.w.note("%d tasks failed for good", len(wrong["ended badly"]))
		delete(wrong, "ended badly")
	}
	for what, which := range wrong {
		t.Errorf("%s: %d, such as %s", what, len(which), strings.Join(which[:min(3, len(which))], "; "))
	}
	l.deliveries(t, tl, there)
	return acknowledged
}

// badEnd says how a run ended if not as it had to.
func (d *deed) badEnd(r *api.RunView) string {
	switch {
	case r.Status == rota.RunSucceeded && r.TaskCounts["delivered"] == r.TasksTotal:
		return ""
	case r.Status == rota.RunCancelled && d.cancelled:
		return ""
	}
	return fmt.Sprintf("run %s of key %s: %s, tasks %v", r.ID, d.key, r.Status, r.TaskCounts)
}

// deliveries demands one delivery for each run that succeeded, as an observer saw
// them.
func (l *load) deliveries(t *testing.T, tl *tail, there map[rota.RunID]*api.RunView) {
	t.Helper()
	if tl == nil {
		return
	}
	eventually(t, 20*time.Second, "the observer has heard of all deliveries", func() (string, bool) {
		for id, r := range there {
			n, err := tl.count(id)
			if err != nil {
				return err.Error(), false
			}
			if r.Status == rota.RunSucceeded && n < r.TasksTotal {
				return fmt.Sprintf("run %s: %d of %d", id, n, r.TasksTotal), false
			}
		}
		return "", true
	})
	for id, r := range there {
		if n, _ := tl.count(id); n > r.TasksTotal || (r.Status == rota.RunSucceeded && n != r.TasksTotal) {
			t.Errorf("run %s of %d tasks was delivered %d times", id, r.TasksTotal, n)
		}
	}
}

// digests compares the nodes' states at all indexes that they have in common, and
// returns how many that were.
func (w *world) digests(t *testing.T, nodes ...*node) int {
	t.Helper()
	at := map[uint64]map[string][]string{}
	for _, n := range nodes {
		reply, err := n.probe()
		if err != nil {
			t.Errorf("%s does not say its digests: %v", n.name, err)
			continue
		}
		for _, c := range reply.Checks {
			if at[c.Index] == nil {
				at[c.Index] = map[string][]string{}
			}
			at[c.Index][c.Digest] = append(at[c.Index][c.Digest], n.name)
		}
	}
	common := 0
	for index, byDigest := range at {
		if len(byDigest) > 1 {
			t.Errorf("the states differ at entry %d: %v", index, byDigest)
		}
		for _, names := range byDigest {
			if len(names) == len(nodes) {
				common++
			}
		}
	}
	return common
}

// legal checks the history.
func (l *load) legal(t *testing.T) string {
	t.Helper()
	switch linearizable(l.history) {
	case porcupine.Ok:
		return fmt.Sprintf("%d", len(l.history))
	case porcupine.Illegal:
		t.Errorf("the history of %d operations is not linearizable: %s", len(l.history), l.culprits())
	case porcupine.Unknown:
		t.Errorf("the history of %d operations could not be judged in time", len(l.history))
	}
	return "bad"
}

// culprits are the keys whose history is wrong, with all of it.
func (l *load) culprits() string {
	var out string
	for _, part := range runModel().Partition(l.history) {
		if porcupine.CheckOperations(runModel(), part) {
			continue
		}
		for _, op := range part {
			out += fmt.Sprintf("\n  %12d %20d client %d: %+v -> %+v", op.Call, op.Return, op.ClientId, op.Input, op.Output)
		}
		if len(out) > 8000 {
			break
		}
	}
	return out
}
