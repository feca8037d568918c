package fsm

import (
	"bytes"
	"slices"

	"github.com/rota-sched/rota"
)

// Runs of one job come in thousands, with equal specs and equal graphs. Sharing keeps
// each once: a queued one-task run of a stored job needs about half the memory, and its spec
// is neither decoded nor hashed again. Nothing that is shared is ever changed, and nothing
// a state does depends on what it shares.
const (
	specsShared = 16
	specShared  = 8 << 10 // bytes of an encoded spec
	graphsTasks = 256     // of a graph
)

// Decoder decodes entries and remembers the specs it read last, so that equal ones are
// one. It belongs to one goroutine.
type Decoder struct{ specs shelf }

// Entry is DecodeEntry.
func (d *Decoder) Entry(b []byte) (rota.Entry, error) { return decodeEntry(b, &d.specs) }

// shelf keeps the specs read last, with the bytes that they were read from.
type shelf struct {
	kept []shelved
	next int // to be replaced
}

type shelved struct {
	raw  []byte
	spec *rota.TaskSpec
}

// find looks for a spec at the beginning of b. No encoding of a spec begins another one, so
// equal bytes are the same spec.
func (s *shelf) find(b []byte) (*rota.TaskSpec, int) {
	for i := range s.kept {
		if k := &s.kept[i]; bytes.HasPrefix(b, k.raw) {
			return k.spec, len(k.raw)
		}
	}
	return nil, 0
}

func (s *shelf) keep(raw []byte, spec *rota.TaskSpec) {
	if len(raw) > specShared {
		return
	}
	it := shelved{bytes.Clone(raw), spec}
	if len(s.kept) < specsShared {
		s.kept = append(s.kept, it)
		return
	}
	s.kept[s.next] = it
	s.next = (s.next + 1) % specsShared
}

// shared is what a state made last and may use again.
type shared struct {
	spec    *rota.TaskSpec
	specSum Digest
	demand  *rota.Demand // of the spec that was placed last

	graph *graph
	tasks []rota.NewTask // of graph
}

// specDigest is the digest of a spec.
func (s *State) specDigest(spec *rota.TaskSpec) Digest {
	if spec != s.again.spec || spec == nil {
		s.w.buf = appendSpec(s.w.buf[:0], orEmpty(spec))
		s.again.spec, s.again.specSum = spec, hash(kindSpec, s.w.buf)
	}
	return s.again.specSum
}

// graphOf is newGraph. The tasks it returns equal those given, and share their keys and
// edges with earlier ones.
func (s *State) graphOf(specs []*rota.TaskSpec, tasks []rota.NewTask) (*graph, []rota.NewTask, string) {
	a := &s.again
	if a.graph != nil && slices.Equal(a.graph.specs, specs) && slices.EqualFunc(a.tasks, tasks, equalTasks) {
		return a.graph, a.tasks, ""
	}
	g, detail := newGraph(specs, tasks)
	if detail == "" && len(tasks) > 0 && len(tasks) <= graphsTasks {
		a.graph, a.tasks = g, tasks
	}
	return g, tasks, detail
}

func equalTasks(a, b rota.NewTask) bool {
	return a.Key == b.Key && a.Spec == b.Spec && slices.Equal(a.DependsOn, b.DependsOn)
}
