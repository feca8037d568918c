package api

import (
	linked "container/list"
	"sync"
)

// lru keeps what was used last, up to a size.
type lru[K comparable, V any] struct {
	most int // of the sizes of all together

	mu    sync.Mutex // guards what follows
	size  int
	items map[K]*linked.Element
	order linked.List // of *kept; the front was used last
}

type kept[K comparable, V any] struct {
	key   K
	value V
	size  int
}

func newLRU[K comparable, V any](most int) *lru[K, V] {
	return &lru[K, V]{most: most, items: make(map[K]*linked.Element)}
}

func (c *lru[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*kept[K, V]).value, true //nolint:forcetypeassert // nothing else is put in
}

// put keeps a value of some size, unless it would take more than an eighth of all
// there is room for.
func (c *lru[K, V]) put(key K, value V, size int) {
	if size > c.most/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok {
		return
	}
	c.items[key] = c.order.PushFront(&kept[K, V]{key: key, value: value, size: size})
	c.size += size
	for c.size > c.most {
		oldest := c.order.Back()
		k := c.order.Remove(oldest).(*kept[K, V]) //nolint:forcetypeassert // as above
		delete(c.items, k.key)
		c.size -= k.size
	}
}
