package clustertest

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rota-sched/rota"
)

const (
	patience = time.Minute // of every wait; of virtual time, in a bubble
	look     = 5 * time.Millisecond
)

// WaitLeader waits until some running node leads, and gives its number.
func (c *Cluster) WaitLeader() int {
	c.t.Helper()
	leader := -1
	c.Wait("a leader", func() string {
		for i := range c.numbers() {
			if n := c.Node(i); n != nil && n.Status().Leads {
				leader = i
				return ""
			}
		}
		return "no node leads"
	})
	return leader
}

// WaitStarted waits until all the nodes take part in a cluster.
func (c *Cluster) WaitStarted(nodes ...int) {
	c.t.Helper()
	c.Wait("the nodes to start", func() string {
		for _, i := range nodes {
			n := c.Node(i)
			if n == nil {
				return fmt.Sprintf("node %d is dead", i)
			}
			if err := n.Ready(); err != nil {
				return fmt.Sprintf("node %d: %v", i, err)
			}
		}
		return ""
	})
}

// WaitDigestsEqual waits until all running replicas stand at one index, and fails
// if their states then differ.
func (c *Cluster) WaitDigestsEqual() {
	c.t.Helper()
	c.Wait("equal digests", func() string {
		seen := ""
		var index uint64
		var digest string
		first := true
		for i := range c.numbers() {
			n := c.Node(i)
			if n == nil {
				continue
			}
			s := n.Snapshot()
			if s == nil {
				continue
			}
			d := fmt.Sprint(s.Digest())
			seen += fmt.Sprintf("node %d: index %d, digest %s; ", i, s.Index(), d)
			if first {
				index, digest, first = s.Index(), d, false
				continue
			}
			if s.Index() != index {
				return seen
			}
			if d != digest {
				c.t.Fatalf("replicas differ at one index: %s", seen)
			}
		}
		return ""
	})
}

// Wait waits until f gives no more reason to; it fails the test with the last one.
func (c *Cluster) Wait(what string, f func() string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		reason := f()
		if reason == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %s for %s: %s", patience, what, reason)
		}
		time.Sleep(look)
	}
}

// Propose proposes on a node and fails the test if that does not work.
func (c *Cluster) Propose(i int, cmd rota.Command) rota.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := c.Node(i).Propose(ctx, cmd)
	if err != nil {
		c.t.Fatalf("propose on node %d: %v", i, err)
	}
	return res
}

// memoryFile is a file of a disk that survives its node.
type memoryFile struct {
	mu sync.Mutex // guards what follows
	b  []byte
}

// ReadAt implements io.ReaderAt.
func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if need := off + int64(len(p)); need > int64(len(f.b)) {
		f.b = append(f.b, make([]byte, need-int64(len(f.b)))...)
	}
	return copy(f.b[off:], p), nil
}

// Sync implements cluster.MarkStore.
func (f *memoryFile) Sync() error { return nil }

// Close implements cluster.MarkStore.
func (f *memoryFile) Close() error { return nil }
