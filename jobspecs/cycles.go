package jobspecs

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// findCycles reports the circles among the tasks of a job, one for each knot: the
// shortest through the task that stands first in the file.
func (f *File) findCycles(j *job) {
	index := make(map[*template]int, len(j.tasks))
	for i, t := range j.tasks {
		index[t] = i
	}
	next := make([][]int, len(j.tasks))
	for i, t := range j.tasks {
		for _, n := range t.needs {
			next[i] = append(next[i], index[n.on])
		}
	}
	for _, knot := range knots(next) {
		f.reportCycle(j, next, knot)
	}
}

func (f *File) reportCycle(j *job, next [][]int, knot []int) {
	circle := shortestCircle(next, knot)
	first := j.tasks[circle[0]]
	at := edgeRange(first, j.tasks[circle[1%len(circle)]])
	if len(circle) == 1 {
		f.report.errorf(at, fmt.Sprintf("Task %q depends on itself", first.label), "task.%s is mentioned inside itself: a cycle of one. Take the mention out.", first.label)
		return
	}
	var words strings.Builder
	for i, k := range circle {
		from, to := j.tasks[k], j.tasks[circle[(i+1)%len(circle)]]
		fmt.Fprintf(&words, "task.%s needs task.%s (%s), ", from.label, to.label, edgeText(f.report.file, f.report, edgeRange(from, to)))
	}
	f.report.error(at, "The tasks form a cycle", words.String()+"and so none of them can ever start. Take one of these dependencies out.")
}

// edgeRange is where a task mentions another one.
func edgeRange(from, to *template) hcl.Range {
	best := from.block.DefRange()
	found := false
	for _, n := range from.needs {
		if n.on == to && (!found || n.at.Start.Byte < best.Start.Byte) {
			best, found = n.at, true
		}
	}
	return best
}

// knots finds the strongly connected parts that hold a circle, in the order of
// their first members, without recursion: a job may be a chain of 10,000 tasks.
// (Tarjan's algorithm.)
func knots(next [][]int) [][]int {
	n := len(next)
	s := &search{next: next, order: make([]int, n), low: make([]int, n), on: make([]bool, n), found: make([][]int, n)}
	for i := range n {
		if s.order[i] == 0 {
			s.from(i)
		}
	}
	var out [][]int
	for _, knot := range s.found {
		if knot != nil {
			out = append(out, knot)
		}
	}
	return out
}

type search struct {
	next       [][]int
	order, low []int
	on         []bool
	stack      []int
	clock      int
	found      [][]int // by the smallest member
}

type visit struct{ node, edge int }

func (s *search) from(start int) {
	path := []visit{{node: start}}
	s.enter(start)
	for len(path) > 0 {
		top := &path[len(path)-1]
		if top.edge < len(s.next[top.node]) {
			to := s.next[top.node][top.edge]
			top.edge++
			if s.order[to] == 0 {
				s.enter(to)
				path = append(path, visit{node: to})
			} else if s.on[to] {
				s.low[top.node] = min(s.low[top.node], s.order[to])
			}
			continue
		}
		node := top.node
		path = path[:len(path)-1]
		if len(path) > 0 {
			above := path[len(path)-1].node
			s.low[above] = min(s.low[above], s.low[node])
		}
		if s.low[node] == s.order[node] {
			s.close(node)
		}
	}
}

func (s *search) enter(node int) {
	s.clock++
	s.order[node], s.low[node], s.on[node] = s.clock, s.clock, true
	s.stack = append(s.stack, node)
}

func (s *search) close(root int) {
	var knot []int
	first := root
	for {
		node := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		s.on[node] = false
		knot = append(knot, node)
		first = min(first, node)
		if node == root {
			break
		}
	}
	loop := false
	for _, to := range s.next[root] {
		loop = loop || to == root
	}
	if len(knot) > 1 || loop {
		s.found[first] = knot
	}
}

// shortestCircle walks breadth-first from the first task of a knot back to it.
func shortestCircle(next [][]int, knot []int) []int {
	inside := make(map[int]bool, len(knot))
	start := knot[0]
	for _, k := range knot {
		inside[k] = true
		start = min(start, k)
	}
	before := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		node := queue[0]
		queue = queue[1:]
		for _, to := range next[node] {
			if to == start {
				circle := []int{node}
				for node != start {
					node = before[node]
					circle = append([]int{node}, circle...)
				}
				return circle
			}
			if _, seen := before[to]; !seen && inside[to] {
				before[to] = node
				queue = append(queue, to)
			}
		}
	}
	return []int{start}
}
