package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// deed is what became of one idempotency key, as the clients know it.
type deed struct {
	key       string
	exec      bool       // its task is a process that writes evidence
	id        rota.RunID // acknowledged
	doubt     bool       // some submission of it had an unknown outcome
	cancelled bool       // somebody tried to cancel it
}

// load is clients at work, and what they did and heard.
type load struct {
	w       *world
	nodes   []*node // those there were when it began
	name    string
	began   time.Time
	clients int
	pause   time.Duration // between two requests of a client
	try     time.Duration // the longest that a client waits for one answer
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	history []porcupine.Operation
	deeds   []*deed
	acks    []time.Time // of submissions
	heard   map[string]int
}

// endless is the return of an operation that nobody heard the end of.
const endless = int64(1) << 60

// work starts clients, each of which talks to all nodes in turn, also to those that
// are in trouble.
func (w *world) work(name string, pause time.Duration) *load {
	l := &load{w: w, nodes: slices.Clone(w.nodes), name: name, began: time.Now(), clients: 6, pause: pause, try: 3 * time.Second, heard: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for c := range l.clients {
		l.wg.Go(func() { l.client(ctx, newActor(c, nil, name)) })
	}
	for i, n := range l.nodes { // whether anybody accepts is seen by asking everybody all the time
		l.wg.Go(func() { l.ask(ctx, i, n) })
	}
	return l
}

// ask submits to one node again and again, whatever became of what it asked before.
func (l *load) ask(ctx context.Context, i int, n *node) {
	var wg sync.WaitGroup
	defer wg.Wait()
	open := make(chan struct{}, 64)
	for k := 0; ctx.Err() == nil; k++ {
		select {
		case open <- struct{}{}:
			wg.Go(func() {
				l.submitNew(ctx, newActor(1000*(i+1)+k, n, l.name), k)
				<-open
			})
		default: // nothing is answered any more
		}
		sleep(ctx, 4*l.pause)
	}
}

// actor is one client.
type actor struct {
	c   int
	pin *node // the only node it talks to; nil: any
	rng *rand.Rand
}

func newActor(c int, pin *node, seed string) *actor {
	return &actor{c, pin, rand.New(rand.NewPCG(uint64(c), uint64(len(seed))))} //nolint:gosec // chance for a load
}

func (a *actor) node(of []*node) *node {
	if a.pin != nil {
		return a.pin
	}
	return of[a.rng.IntN(len(of))]
}

// stop ends the clients. Those with a submission in doubt go on until they know.
func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) client(ctx context.Context, a *actor) {
	rng := a.rng
	for n := 0; ctx.Err() == nil; n++ {
		switch pick := rng.IntN(100); {
		case pick < 50:
			l.submitNew(ctx, a, n)
		case pick < 60:
			if d := l.some(rng); d != nil {
				l.submit(d, a)
			}
		case pick < 95:
			if d := l.some(rng); d != nil && d.id != "" {
				l.read(d, a)
			}
		default:
			if d := l.some(rng); d != nil && d.id != "" {
				l.cancelRun(d, a)
			}
		}
		sleep(ctx, l.pause)
	}
}

// some is one of the newest keys.
func (l *load) some(rng *rand.Rand) *deed {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.deeds) == 0 {
		return nil
	}
	d := *l.deeds[max(0, len(l.deeds)-1-rng.IntN(20))]
	return &d
}

// submitNew submits under a new key, and again until it is acknowledged or refused
// for certain: then it may not exist.
func (l *load) submitNew(ctx context.Context, a *actor, n int) {
	d := &deed{key: fmt.Sprintf("%s-%d-%d", l.name, a.c, n), exec: a.rng.IntN(8) == 0}
	l.mu.Lock()
	l.deeds = append(l.deeds, d)
	l.mu.Unlock()
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); sleep(context.Background(), 100*time.Millisecond) {
		known, refused := l.submit(d, a)
		if known || (refused && !l.inDoubt(d.key) && (a.rng.IntN(2) == 0 || ctx.Err() != nil)) {
			return
		}
	}
}

func (l *load) inDoubt(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.deeds) - 1; i >= 0; i-- {
		if l.deeds[i].key == key {
			return l.deeds[i].doubt
		}
	}
	return false
}

// submit submits once, to any node. refused: it certainly did nothing.
func (l *load) submit(d *deed, a *actor) (known, refused bool) {
	source := noopJob
	if d.exec {
		source = l.w.execJob() // always the same: the same key with another request is a conflict
	}
	n := a.node(l.nodes)
	var run *api.RunView
	var existed bool
	unknown, err := l.op(a.c, call{kind: "submit", key: d.key}, func(ctx context.Context) (answer, error) {
		var err error
		run, existed, err = n.client.Submit(ctx, &api.SubmitRequest{
			Source: &source, Filename: "nemesis.hcl", Labels: map[string]string{"key": d.key, "phase": l.name},
		}, d.key)
		if err != nil {
			return answer{}, err
		}
		return answer{id: string(run.ID), existed: existed}, nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.deeds) - 1; i >= 0; i-- {
		if own := l.deeds[i]; own.key == d.key {
			own.doubt = own.doubt || unknown
			if err == nil {
				own.id = run.ID
				l.acks = append(l.acks, time.Now())
			}
			break
		}
	}
	return err == nil, err != nil && !unknown
}

func (l *load) read(d *deed, a *actor) {
	n := a.node(l.nodes)
	_, _ = l.op(a.c, call{kind: "read", key: d.key, id: string(d.id)}, func(ctx context.Context) (answer, error) {
		run, err := n.client.Run(ctx, string(d.id), api.RunOptions{Consistent: true})
		if errors.Is(err, rota.ErrNotFound) {
			return answer{missing: true}, nil
		}
		if err != nil {
			return answer{}, err
		}
		return answer{status: mayOf(run.Status)}, nil
	})
}

func mayOf(s rota.RunStatus) may {
	switch s {
	case rota.RunSucceeded:
		return maySucceeded
	case rota.RunFailed:
		return mayFailed
	case rota.RunCancelled:
		return mayCancelled
	default:
		return mayActive
	}
}

func (l *load) cancelRun(d *deed, a *actor) {
	l.mu.Lock()
	for _, own := range l.deeds {
		if own.key == d.key {
			own.cancelled = true
		}
	}
	l.mu.Unlock()
	n := a.node(l.nodes)
	_, _ = l.op(a.c, call{kind: "cancel", key: d.key, id: string(d.id)}, func(ctx context.Context) (answer, error) {
		_, err := n.client.CancelRun(ctx, string(d.id), "nemesis")
		switch {
		case errors.Is(err, rota.ErrNotFound):
			return answer{missing: true}, nil
		case errors.Is(err, rota.ErrEnded):
			return answer{ended: true}, nil
		}
		return answer{}, err
	})
}

// op makes one request and notes it in the history. What was refused for certain,
// and a read without an answer, did nothing and is left out.
func (l *load) op(c int, in call, ask func(ctx context.Context) (answer, error)) (unknown bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.try)
	defer cancel()
	from := time.Since(l.began).Nanoseconds()
	out, err := ask(ctx)
	to := time.Since(l.began).Nanoseconds()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[wordOf(err)]++
	if err != nil {
		if in.kind == "read" || certain(err) {
			return false, err
		}
		out, to = answer{unknown: true}, endless
	}
	l.history = append(l.history, porcupine.Operation{ClientId: c, Input: in, Call: from, Output: out, Return: to})
	return out.unknown, err
}

// wordOf says in a word what a client heard.
func wordOf(err error) string {
	var refused *api.Error
	var unreachable *api.UnreachableError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		return refused.Problem.Type
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.As(err, &unreachable):
		return "unreachable"
	}
	return "broken off"
}

// certain reports whether an error says that nothing was done.
func certain(err error) bool {
	var refused *api.Error
	if errors.As(err, &refused) {
		return refused.Problem.Type != api.TypeUnknown && refused.Problem.Type != api.TypeTimeout && refused.Problem.Type != api.TypeInternal
	}
	var unreachable *api.UnreachableError
	if !errors.As(err, &unreachable) {
		return false
	}
	for _, cause := range unreachable.Causes {
		if !dialFailed(cause) {
			return false
		}
	}
	return true
}

// longestGap is the longest time without an acknowledgement within a period.
func (l *load) longestGap(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return gap(l.acks, from, to)
}

func gap(moments []time.Time, from, to time.Time) time.Duration {
	longest, last := time.Duration(0), from
	for _, at := range moments {
		if at.Before(from) || at.After(to) {
			continue
		}
		longest, last = max(longest, at.Sub(last)), at
	}
	return max(longest, to.Sub(last))
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// frank says of a request that failed whether it was sent at all. net/http sends
// one with an idempotency key again when a kept connection breaks, and then tells
// only that the second connection could not be made.
type frank struct{ http.RoundTripper }

// errSent: the request was sent, and the connection broke.
var errSent = errors.New("sent, and not answered")

func (f frank) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	resp, err := f.RoundTripper.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil && sent.Load() {
		return nil, fmt.Errorf("%w: %s", errSent, err.Error()) // the cause itself would pass for a failed dial
	}
	return resp, err
}
