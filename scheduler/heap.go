package scheduler

// sortable is what can lie in a heap: it knows who comes first and remembers
// where it lies.
type sortable[T any] interface {
	before(o T) bool
	moved(to int)
}

// outside is the position of what lies in no heap.
const outside = -1

// heap is a binary heap whose members know their positions, so that one can be
// moved or taken out from the middle. The first member comes before all others.
type heap[T sortable[T]] []T

func (h *heap[T]) push(x T) {
	*h = append(*h, x)
	h.up(len(*h)-1, x)
}

// fix puts the i-th member where it belongs after its order changed.
func (h heap[T]) fix(i int) {
	x := h[i]
	if i > 0 && x.before(h[(i-1)/2]) {
		h.up(i, x)
		return
	}
	h.down(i, x)
}

// remove takes the i-th member out.
func (h *heap[T]) remove(i int) {
	old := *h
	last := len(old) - 1
	gone, moved := old[i], old[last]
	var zero T
	old[last] = zero
	*h = old[:last]
	gone.moved(outside)
	if i < last {
		(*h)[i] = moved
		h.fix(i)
	}
}

func (h heap[T]) up(i int, x T) {
	for i > 0 {
		parent := (i - 1) / 2
		if !x.before(h[parent]) {
			break
		}
		h[i] = h[parent]
		h[i].moved(i)
		i = parent
	}
	h[i] = x
	x.moved(i)
}

func (h heap[T]) down(i int, x T) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if right := child + 1; right < len(h) && h[right].before(h[child]) {
			child = right
		}
		if !h[child].before(x) {
			break
		}
		h[i] = h[child]
		h[i].moved(i)
		i = child
	}
	h[i] = x
	x.moved(i)
}
