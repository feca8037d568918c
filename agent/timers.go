package agent

import "container/heap"

// due is something that happens to an attempt at a moment.
type due struct {
	at  BootTime
	ref Ref
}

// dueHeap gives its soonest member first; equal moments by attempt.
type dueHeap []due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].ref.compare(h[j].ref) < 0
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(due)) } //nolint:forcetypeassert // only push calls it

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	*h = old[:len(old)-1]
	return d
}

func (h *dueHeap) push(d due) { heap.Push(h, d) }

// pop removes the soonest member if its moment has come.
func (h *dueHeap) pop(now BootTime) (due, bool) {
	if len(*h) == 0 || (*h)[0].at > now {
		return due{}, false
	}
	d := (*h)[0]
	heap.Pop(h)
	return d, true
}

// next is the soonest moment; zero if there is none.
func (h dueHeap) next() BootTime {
	if len(h) == 0 {
		return 0
	}
	return h[0].at
}
