package fsm

import (
	"slices"
	"strings"

	"github.com/rota-sched/rota"
)

func (t *tables) runAt(number uint64) *run {
	it, _ := t.runs.Get(runItem{number: number})
	return it.rec
}

func (t *tables) runByID(id rota.RunID) *run {
	it, ok := t.runIDs.Get(runIDItem{id: id})
	if !ok {
		return nil
	}
	return t.runAt(it.number)
}

func (t *tables) taskAt(p taskPos) *task {
	it, _ := t.tasks.Get(taskItem{taskPos: p})
	return it.rec
}

func (t *tables) taskByID(id rota.TaskID) *task {
	r := t.runByID(id.Run)
	if r == nil {
		return nil
	}
	order, ok := r.graph.find(id.Key)
	if !ok {
		return nil
	}
	return t.taskAt(taskPos{run: r.number, order: order})
}

func (t *tables) nodeByID(id rota.NodeID) *node {
	it, _ := t.nodes.Get(nodeItem{id: id})
	return it.rec
}

func (t *tables) leaseOf(id rota.NodeID) *lease {
	it, _ := t.leases.Get(leaseItem{node: id})
	return it.rec
}

func (t *tables) holdAt(k holdKey) *hold {
	it, _ := t.holds.Get(holdItem{holdKey: k})
	return it.rec
}

func (t *task) pos() taskPos { return taskPos{run: t.run, order: t.Order} }

// find gives the order of the task with the key.
func (g *graph) find(key rota.TaskKey) (int, bool) {
	if len(g.keys) == 1 { // most runs of one task never search
		return int(g.keys[0].order), g.keys[0].key == key
	}
	i, ok := slices.BinarySearchFunc(g.keys, key, func(k keyAt, key rota.TaskKey) int {
		return strings.Compare(string(k.key), string(key))
	})
	if !ok {
		return 0, false
	}
	return int(g.keys[i].order), true
}

func (g *graph) dependents(order int) []int32 { return g.after[g.first[order]:g.first[order+1]] }
