package api_test

import (
	"sync"
	"testing"

	"github.com/rota-sched/rota/api"
)

// BenchmarkSubmit is what the door itself costs a submission: 64 clients, a state
// machine in memory, no log.
func BenchmarkSubmit(b *testing.B) {
	w := newWorld(b, 1, 1)
	var clients sync.WaitGroup
	next := make(chan struct{}, b.N)
	for range b.N {
		next <- struct{}{}
	}
	close(next)
	b.ResetTimer()
	for range 64 {
		clients.Go(func() {
			c, err := api.NewClient([]string{w.nodes[0].http.URL}, api.Options{})
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			for range next {
				if _, _, err := c.Submit(b.Context(), request(twoTasks), ""); err != nil {
					b.Error(err)
				}
			}
		})
	}
	clients.Wait()
}

// BenchmarkStatus is an ordinary read.
func BenchmarkStatus(b *testing.B) {
	w := newWorld(b, 1, 1)
	c := w.client(b, 0)
	for b.Loop() {
		if _, err := c.Status(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
