package api

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"sync"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// Bounds of the cache: small jobs only, since it is small jobs that are submitted
// over and over.
const (
	maxCached      = 256
	maxCachedTasks = 256
	maxCachedBytes = 64 << 10
)

// expanded is what a job file gave with certain inputs. Its parts never change and
// are shared by the runs made of it.
type expanded struct {
	job       *rota.Job
	hash      string
	variables []rota.Variable
}

// jobCache remembers what job files gave, so that a file submitted again is not
// parsed again. When it is full it begins anew.
type jobCache struct {
	mu      sync.Mutex // guards entries
	entries map[[sha256.Size]byte]expanded
}

func (c *jobCache) get(key [sha256.Size]byte) (expanded, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	return e, ok
}

func (c *jobCache) put(key [sha256.Size]byte, e expanded) {
	size := 0
	for _, spec := range e.job.Specs {
		size += specSize(spec)
	}
	for _, v := range e.variables {
		size += len(v.Value)
	}
	if len(e.job.Tasks) > maxCachedTasks || size > maxCachedBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxCached {
		c.entries = make(map[[sha256.Size]byte]expanded)
	}
	c.entries[key] = e
}

// cacheKey is a digest of all that parsing depends on.
func cacheKey(src jobspecs.Source, in jobspecs.Inputs) [sha256.Size]byte {
	h := sha256.New()
	feed(h, []byte(src.Filename))
	feed(h, src.Text)
	feed(h, []byte(in.Job))
	priority := -1
	if in.Priority != nil {
		priority = *in.Priority
	}
	feed(h, binary.AppendVarint(nil, int64(priority)))
	feed(h, binary.AppendVarint(nil, int64(len(src.Files))))
	for _, f := range src.Files {
		feed(h, []byte(f.Path))
		feed(h, f.Data)
	}
	for _, name := range slices.Sorted(maps.Keys(in.Variables)) {
		feed(h, []byte(name))
		feed(h, in.Variables[name])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// feed hashes a part with its length, so that no two lists of parts are alike.
func feed(h hash.Hash, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:]) // a hash takes everything
	h.Write(b)
}
