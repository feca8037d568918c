package agent

import (
	"context"
	"sync"
)

// queue hands items from one goroutine to several. It never blocks who pushes;
// its length is bounded by what is pushed, here by the attempts of the node.
type queue[T any] struct {
	ready chan struct{} // has a token while there may be items

	mu    sync.Mutex // guards items
	items []T
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

func (q *queue[T]) push(items ...T) {
	q.mu.Lock()
	q.items = append(q.items, items...)
	q.mu.Unlock()
	q.signal()
}

func (q *queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take waits for items and removes up to limit of them; none only when ctx ended.
func (q *queue[T]) take(ctx context.Context, limit int) []T {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
		q.mu.Lock()
		n := min(limit, len(q.items))
		taken := q.items[:n:n]
		q.items = q.items[n:]
		more := len(q.items) > 0
		if !more {
			q.items = nil
		}
		q.mu.Unlock()
		if more {
			q.signal()
		}
		if n > 0 {
			return taken
		}
	}
}
