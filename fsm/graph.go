package fsm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rota-sched/rota"
)

// newGraph checks the shape of a run and makes the lists that its tasks share.
// The detail is empty if nothing is wrong.
func newGraph(specs []*rota.TaskSpec, tasks []rota.NewTask) (*graph, string) {
	g := &graph{specs: specs, keys: make([]keyAt, len(tasks)), first: make([]int32, len(tasks)+1)}
	for i := range tasks {
		g.keys[i] = keyAt{key: tasks[i].Key, order: int32(i)}
	}
	slices.SortFunc(g.keys, func(a, b keyAt) int { return compareKeys(a.key, b.key) })
	for i := 1; i < len(g.keys); i++ {
		if g.keys[i].key == g.keys[i-1].key {
			return nil, fmt.Sprintf("two tasks have the key %q", g.keys[i].key)
		}
	}
	if detail := g.link(tasks); detail != "" {
		return nil, detail
	}
	if circle := g.circle(tasks); len(circle) > 0 {
		return nil, "the tasks depend on each other in a circle: " + strings.Join(circle, " -> ")
	}
	return g, ""
}

// link fills the lists of dependents. Two passes: count, then fill.
func (g *graph) link(tasks []rota.NewTask) string {
	var flat []int32
	for i := range tasks {
		for j, e := range tasks[i].DependsOn {
			on, ok := g.find(e.On)
			switch {
			case !ok:
				return fmt.Sprintf("task %q depends on %q, which the run does not have", tasks[i].Key, e.On)
			case on == i:
				return fmt.Sprintf("task %q depends on itself", tasks[i].Key)
			case j > 0 && tasks[i].DependsOn[j-1].On >= e.On:
				return fmt.Sprintf("the dependencies of task %q are not sorted by key, or name %q twice", tasks[i].Key, e.On)
			}
			g.first[on+1]++
			flat = append(flat, int32(on))
		}
	}
	for i := range tasks {
		g.first[i+1] += g.first[i]
	}
	g.after = make([]int32, len(flat))
	next := slices.Clone(g.first)
	at := 0
	for i := range tasks {
		for range tasks[i].DependsOn {
			on := flat[at]
			at++
			g.after[next[on]] = int32(i)
			next[on]++
		}
	}
	return ""
}

// circle names the tasks of a cycle, the first one again at the end; nil if there
// is none.
func (g *graph) circle(tasks []rota.NewTask) []string {
	open := make([]int32, len(tasks))
	var free []int32
	for i := range tasks {
		if open[i] = int32(len(tasks[i].DependsOn)); open[i] == 0 {
			free = append(free, int32(i))
		}
	}
	for i := 0; i < len(free); i++ {
		for _, d := range g.dependents(int(free[i])) {
			if open[d]--; open[d] == 0 {
				free = append(free, d)
			}
		}
	}
	if len(free) == len(tasks) {
		return nil
	}
	at := slices.IndexFunc(open, func(n int32) bool { return n > 0 })
	return g.walkCircle(tasks, open, at)
}

// walkCircle follows open dependencies from a task that has one until it comes
// round.
func (g *graph) walkCircle(tasks []rota.NewTask, open []int32, at int) []string {
	const most = 12 // names in the message
	seen := make(map[int]int)
	var path []string
	for {
		if from, ok := seen[at]; ok {
			path = append(path[from:], string(tasks[at].Key))
			if len(path) > most {
				path = append(path[:most], "...")
			}
			return path
		}
		seen[at] = len(path)
		path = append(path, string(tasks[at].Key))
		for _, e := range tasks[at].DependsOn {
			if on, _ := g.find(e.On); open[on] > 0 {
				at = on
				break
			}
		}
	}
}

// below marks a task and all that depends on it, directly or not.
func (g *graph) below(order int) []bool {
	marked := make([]bool, len(g.keys))
	marked[order] = true
	list := []int32{int32(order)}
	for len(list) > 0 {
		at := list[len(list)-1]
		list = list[:len(list)-1]
		for _, d := range g.dependents(int(at)) {
			if !marked[d] {
				marked[d] = true
				list = append(list, d)
			}
		}
	}
	return marked
}
