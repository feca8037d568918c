package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// outcome is what applying one entry gave: the response that Raft hands to the
// proposer.
type outcome struct {
	index   uint64
	at      rota.Instant // the state's now
	results []rota.Result
	void    bool // the entry was proposed in an earlier leadership: it did nothing
	err     error
}

// replica is the state machine as Raft sees it: it decodes entries, applies them,
// and tells whoever follows. Apply, StoreConfiguration, Restore and Snapshot are
// called by Raft, one at a time.
type replica struct {
	fatal     func(error)
	boot      func() time.Duration
	onApply   []func(rota.Applied) // set before Raft starts
	onRestore []func(incarnation uint16, index uint64)
	onConfig  func(raft.Configuration) // of committed ones; may be nil
	applied   atomic.Uint64
	format    atomic.Uint32 // active
	halted    atomic.Pointer[error]
	decoder   fsm.Decoder // Apply's

	mu        sync.Mutex // guards what follows
	state     *fsm.State
	cached    *fsm.Snapshot
	appliedAt time.Duration // on the boot-time clock: when the newest entry was applied here
	changed   chan struct{}
	feeds     map[*feed]struct{}
	checks    []Check // digests of the state at some indexes, the oldest first
}

func newReplica(fatal func(error), boot func() time.Duration) *replica {
	r := &replica{fatal: fatal, boot: boot, state: fsm.New(), changed: make(chan struct{}), feeds: map[*feed]struct{}{}, appliedAt: boot()}
	r.format.Store(uint32(r.state.Format()))
	return r
}

// Apply implements raft.FSM.
func (r *replica) Apply(entry *raft.Log) any {
	if h := r.halted.Load(); h != nil {
		return outcome{err: *h}
	}
	e, err := r.decoder.Entry(entry.Data)
	if err != nil {
		return outcome{err: r.halt(fmt.Errorf("entry %d of the log cannot be read by this version of the program: run the newer version that the other servers run: %w", entry.Index, err))}
	}
	e.Index = entry.Index
	void := e.Term != entry.Term
	if void {
		// Proposed by a leader that was deposed and elected again before the entry
		// reached its log. It had decided on an older state: it counts as never sent.
		e.Commands, e.At = nil, 0
	}
	e.Term = entry.Term
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.state.CanApply(&e); err != nil {
		return outcome{err: r.halt(fmt.Errorf("entry %d of the log: %w: run the newer version that the other servers run", entry.Index, err))}
	}
	before := r.state.Index()
	results, changes := r.state.Apply(e)
	if before/checkEvery != e.Index/checkEvery {
		r.check()
	}
	r.publish(rota.Applied{
		Index: e.Index, Term: e.Term, At: r.state.Now(), NextDue: r.state.NextDue(), Format: r.state.Format(), Incarnation: r.state.Incarnation(), Changes: changes,
	})
	return outcome{index: e.Index, at: r.state.Now(), results: results, void: void}
}

// check keeps the digest of the state as it is, at the first entry of every
// checkEvery: the same one on all replicas. r.mu is held.
func (r *replica) check() {
	r.checks = append(r.checks, Check{Index: r.state.Index(), Digest: r.state.Digest().String()})
	if n := len(r.checks); n > checksKept {
		r.checks = append([]Check(nil), r.checks[n-checksKept:]...)
	}
}

func (r *replica) checked() []Check {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Check(nil), r.checks...)
}

// StoreConfiguration implements raft.ConfigurationStore.
func (r *replica) StoreConfiguration(index uint64, config raft.Configuration) {
	if r.halted.Load() != nil {
		return
	}
	if r.onConfig != nil {
		r.onConfig(config)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publish(rota.Applied{
		Index: index, At: r.state.Now(), NextDue: r.state.NextDue(), Format: r.state.Format(), Incarnation: r.state.Incarnation(), Configuration: true,
	})
}

// publish tells everyone who follows; r.mu is held.
func (r *replica) publish(a rota.Applied) {
	r.cached = nil
	r.appliedAt = r.boot()
	r.applied.Store(a.Index)
	r.format.Store(uint32(a.Format))
	for _, f := range r.onApply {
		f(a)
	}
	for f := range r.feeds {
		f.send(a)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// halt stops the replica for ever: to skip an entry would let replicas diverge.
func (r *replica) halt(err error) error {
	if r.halted.CompareAndSwap(nil, &err) {
		r.fatal(err)
	}
	return err
}

// Restore implements raft.FSM.
func (r *replica) Restore(source io.ReadCloser) error {
	defer func() { _ = source.Close() }()
	state, err := fsm.Restore(bufio.NewReaderSize(source, 1<<18))
	if err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state
	r.checks = nil
	r.cached = nil
	r.appliedAt = r.boot()
	r.applied.Store(state.Index())
	r.format.Store(uint32(state.Format()))
	for f := range r.feeds {
		f.overflow()
	}
	for _, f := range r.onRestore {
		f(state.Incarnation(), state.Index())
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// Snapshot implements raft.FSM.
func (r *replica) Snapshot() (raft.FSMSnapshot, error) {
	if h := r.halted.Load(); h != nil {
		return nil, *h
	}
	return written{r.snapshot()}, nil
}

// snapshot is the state as of now; it is made once for all who ask between two
// entries.
func (r *replica) snapshot() *fsm.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cached == nil {
		r.cached = r.state.Snapshot()
	}
	return r.cached
}

// freshness is the state's now and how long ago it was reached here.
func (r *replica) freshness() (rota.Instant, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Now(), r.boot() - r.appliedAt
}

// follow gives a snapshot and a feed of everything applied after it.
func (r *replica) follow(f *feed) *fsm.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cached == nil {
		r.cached = r.state.Snapshot()
	}
	r.feeds[f] = struct{}{}
	return r.cached
}

func (r *replica) unfollow(f *feed) {
	r.mu.Lock()
	delete(r.feeds, f)
	r.mu.Unlock()
	close(f.ch)
}

// await waits until the entry of the index was applied here.
func (r *replica) await(ctx context.Context, index uint64) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if r.applied.Load() >= index {
			return nil
		}
		if h := r.halted.Load(); h != nil {
			return *h
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &rota.Refusal{Kind: rota.KindUnavailable, Detail: fmt.Sprintf(
				"this node's copy is at entry %d, not yet at %d: %v", r.applied.Load(), index, ctx.Err())}
		}
	}
}

// feed is one follower of the log on this node. Its channel is bounded: a follower
// that does not keep up is told so and has to start again from a snapshot.
type feed struct {
	ch    chan rota.Applied
	full  func() // called once, on the applying goroutine
	ended bool   // guarded by replica.mu
}

const feedLength = 8192

func newFeed(full func()) *feed { return &feed{ch: make(chan rota.Applied, feedLength), full: full} }

func (f *feed) send(a rota.Applied) {
	if f.ended {
		return
	}
	select {
	case f.ch <- a:
	default:
		f.overflow()
	}
}

func (f *feed) overflow() {
	if !f.ended {
		f.ended = true
		f.full()
	}
}

// written is a state on its way to disk or to a follower.
type written struct{ snap *fsm.Snapshot }

// Persist implements raft.FSMSnapshot.
func (w written) Persist(sink raft.SnapshotSink) error {
	b := bufio.NewWriterSize(polite{sink}, 1<<16)
	err := w.snap.Encode(b)
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// polite lets others run after each piece: writing a large state takes seconds, and
// what waits for its turn beside it is operations.
type polite struct{ to io.Writer }

func (p polite) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	runtime.Gosched()
	return n, err
}

// Release implements raft.FSMSnapshot.
func (w written) Release() {}
