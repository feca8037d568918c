package api

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// digest is the SHA-256 of something.
type digest = [sha256.Size]byte

// Bounds of what is remembered of submissions, in bytes of what it was made of. A
// syntax tree takes up to a hundred times its text.
const (
	maxCachedRequests = 8 << 20
	maxCachedSyntax   = 512 << 10
	maxCachedJobs     = 16 << 20
	cachedOverhead    = 512 // of one entry
)

// jobCache remembers what submissions gave, so that the same one, or another run of
// the same version, is not read again.
type jobCache struct {
	requests *lru[digest, *request]         // by body
	syntaxes *lru[digest, *jobspecs.Syntax] // by version
	jobs     *lru[digest, *expanded]        // by version and inputs
}

func newJobCache() jobCache {
	return jobCache{
		requests: newLRU[digest, *request](maxCachedRequests),
		syntaxes: newLRU[digest, *jobspecs.Syntax](maxCachedSyntax),
		jobs:     newLRU[digest, *expanded](maxCachedJobs),
	}
}

// expanded is what a job file gave with certain inputs. Its parts never change and
// are shared by the runs made of it.
type expanded struct {
	job       *rota.Job
	variables []rota.Variable
	pieces    []piece // without a source
	// stored: the version was stored when last a run of it was accepted.
	stored atomic.Bool
}

func newExpanded(job *rota.Job, variables []rota.Variable) *expanded {
	return &expanded{job: job, variables: variables, pieces: split(job, 0)}
}

// size is about what it takes in memory.
func (e *expanded) size() int {
	size := cachedOverhead
	for _, spec := range e.job.Specs {
		size += specSize(spec)
	}
	for i := range e.job.Tasks {
		size += 64 + taskSize(&e.job.Tasks[i])
	}
	for _, v := range e.variables {
		size += len(v.Value)
	}
	return size
}

// version is a source with the digest of all that reading it depends on.
type version struct {
	src  jobspecs.Source
	hash string // its identity in the state
	id   digest
}

func newVersion(src jobspecs.Source, hash string) *version {
	h := sha256.New()
	feed(h, []byte(src.Filename))
	feed(h, []byte(hash))
	return &version{src: src, hash: hash, id: digest(h.Sum(nil))}
}

// with is a digest of the version and a run's inputs.
func (v *version) with(namespace string, in jobspecs.Inputs) digest {
	h := sha256.New()
	h.Write(v.id[:])
	feed(h, []byte(namespace))
	feed(h, []byte(in.Job))
	priority := -1
	if in.Priority != nil {
		priority = *in.Priority
	}
	feed(h, binary.AppendVarint(nil, int64(priority)))
	if len(in.Variables) > 0 {
		for _, name := range slices.Sorted(maps.Keys(in.Variables)) {
			feed(h, []byte(name))
			feed(h, in.Variables[name])
		}
	}
	return digest(h.Sum(nil))
}

// feed hashes a part with its length, so that no two lists of parts are alike.
func feed(h hash.Hash, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:]) // a hash takes everything
	h.Write(b)
}
