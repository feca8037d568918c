package agenttest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// Cluster answers one agent as a leader with three voters would, from memory. It
// implements agent.Peers.
type Cluster struct {
	// Latency is how long every answer takes.
	Latency time.Duration

	mu      sync.Mutex // guards all below
	session rota.Session
	counter uint64
	index   uint64
	leader  bool
	cutOff  bool      // nothing reaches the cluster
	crashed bool      // one of the voters
	since   time.Time // without a leader
	placed  []rota.Assignment
	reports map[agent.Ref]*Told
	streams map[*viewStream]bool
	changed chan struct{} // closed and replaced with every report
	left    bool
	unfit   string
}

// Told is what the cluster heard of an attempt.
type Told struct {
	Started  int // reports of its start
	Outcomes []rota.Outcome
	Released int
}

// NewCluster makes a cluster with a leader and nothing placed.
func NewCluster() *Cluster {
	return &Cluster{leader: true, index: 100, reports: map[agent.Ref]*Told{}, streams: map[*viewStream]bool{}, changed: make(chan struct{})}
}

// begin waits out the latency and fails without a leader.
func (c *Cluster) begin(ctx context.Context) error {
	t := time.NewTimer(c.Latency)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.hangs() {
		<-ctx.Done()
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leader {
		return rota.ErrNoLeader
	}
	c.index++
	return nil
}

// Register implements agent.Peers.
func (c *Cluster) Register(ctx context.Context, r rota.RegisterNode) (rota.Session, error) {
	if err := c.begin(ctx); err != nil {
		return rota.Session{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counter++
	c.end()
	c.unfit = ""
	c.session = rota.Session{Node: r.Info.ID, Boot: r.Boot, Counter: c.counter}
	return c.session, nil
}

// Renew implements agent.Peers.
func (c *Cluster) Renew(ctx context.Context, s rota.Session) (rota.Renewal, error) {
	if err := c.begin(ctx); err != nil {
		return rota.Renewal{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return rota.Renewal{Current: s == c.session, Index: c.index, Leader: "leader"}, nil
}

// MarkUnfit implements agent.Peers.
func (c *Cluster) MarkUnfit(ctx context.Context, s rota.Session, why string) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != c.session {
		return rota.ErrStale
	}
	c.unfit = why
	return nil
}

// Unfit is why the node starts nothing, as the cluster was told; empty: it does.
func (c *Cluster) Unfit() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unfit
}

// Report implements agent.Peers.
func (c *Cluster) Report(ctx context.Context, r rota.Report) ([]rota.Kind, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := make([]rota.Kind, len(r.Items))
	for i := range r.Items {
		c.hear(&r.Items[i])
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return answers, nil
}

func (c *Cluster) hear(it *rota.ReportItem) {
	ref := agent.Ref{Task: it.Task, Fence: it.Fence}
	told := c.reports[ref]
	if told == nil {
		told = &Told{}
		c.reports[ref] = told
	}
	if it.Started {
		told.Started++
	}
	if it.Outcome != nil {
		told.Outcomes = append(told.Outcomes, *it.Outcome)
	}
	if it.Released {
		told.Released++
		c.placed = slices.DeleteFunc(c.placed, func(a rota.Assignment) bool { return a.Task == it.Task && a.Fence == it.Fence })
	}
}

// Release implements agent.Peers.
func (c *Cluster) Release(ctx context.Context, s rota.Session, left bool, items []rota.ReportItem) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range items {
		c.hear(&items[i])
	}
	if s == c.session {
		c.left = left
		c.end()
	}
	return nil
}

// Contacts implements agent.Peers: the three voters answer at once; for one that
// crashed the caller waits in vain.
func (c *Cluster) Contacts(ctx context.Context) ([]rota.Contact, error) {
	if c.hangs() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.mu.Lock()
	leader, since, crashed := c.leader, c.since, c.crashed
	c.mu.Unlock()
	var age time.Duration
	if !leader {
		age = time.Since(since)
	}
	voters := []rota.NodeID{"A", "B", "C"}
	answering := voters
	if crashed {
		<-ctx.Done()
		time.Sleep(time.Millisecond) // until who waited gets to run
		answering = voters[:2]
	}
	var out []rota.Contact
	for _, v := range answering {
		out = append(out, rota.Contact{Server: v, Voter: true, Voters: voters, ConfigIndex: 1, Age: age})
	}
	return out, nil
}

// viewStream is an open stream; what waits in it is bounded by what is placed.
type viewStream struct {
	ctx     context.Context //nolint:containedctx // a stream lives as long as it
	cluster *Cluster
	views   chan *rota.View
	gone    chan struct{}
}

// maxWaitingViews bounds the views that a slow agent has not read.
const maxWaitingViews = 1024

// Stream implements agent.Peers.
func (c *Cluster) Stream(ctx context.Context, s rota.Session, _ uint16, _ uint64) (agent.ViewStream, error) {
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != c.session {
		return nil, rota.ErrStale
	}
	st := &viewStream{ctx: ctx, cluster: c, views: make(chan *rota.View, maxWaitingViews), gone: make(chan struct{})}
	c.streams[st] = true
	st.views <- &rota.View{Index: c.index, Session: s, Full: true, Start: slices.Clone(c.placed)}
	return st, nil
}

// Recv implements agent.ViewStream.
func (s *viewStream) Recv() (*rota.View, error) {
	select {
	case v := <-s.views:
		return v, nil
	case <-s.gone:
		return nil, rota.ErrNoLeader
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// Close implements agent.ViewStream.
func (s *viewStream) Close() error {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	delete(s.cluster.streams, s)
	return nil
}

// end takes back what is placed and cuts the streams.
func (c *Cluster) end() {
	c.session, c.placed = rota.Session{}, nil
	c.cut()
}

func (c *Cluster) cut() {
	for st := range c.streams {
		close(st.gone)
		delete(c.streams, st)
	}
}

// Expire ends the session, as a leader does when it was silent for too long.
func (c *Cluster) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	c.end()
}

// SetLeader takes the cluster its leader, or gives it one.
func (c *Cluster) SetLeader(leader bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.since = leader, time.Now()
	if !leader {
		c.cut()
	}
}

// SetCutOff takes the agent its way to the cluster: calls hang, open streams stay
// silent for ever.
func (c *Cluster) SetCutOff(cutOff bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutOff = cutOff
}

// CrashVoter takes one of the three voters.
func (c *Cluster) CrashVoter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashed = true
}

func (c *Cluster) hangs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cutOff
}

// Place puts attempts on the present session and pushes them. It fails without one.
func (c *Cluster) Place(tasks ...rota.Assignment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.IsZero() || !c.leader {
		return errors.New("nobody to place it on")
	}
	c.index++
	c.placed = append(c.placed, tasks...)
	c.push(&rota.View{Index: c.index, Session: c.session, Start: tasks})
	return nil
}

// Stop orders the end of an attempt.
func (c *Cluster) Stop(ref agent.Ref, cause rota.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	c.push(&rota.View{Index: c.index, Session: c.session, Stop: []rota.StopOrder{{Task: ref.Task, Fence: ref.Fence, Cause: cause}}})
}

func (c *Cluster) push(v *rota.View) {
	for st := range c.streams {
		if !c.cutOff {
			st.views <- v
		}
	}
}

// Session is the present one; Left says that its predecessor left by itself.
func (c *Cluster) Session() (s rota.Session, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session, c.left
}

// Told is what was heard of an attempt so far.
func (c *Cluster) Told(ref agent.Ref) Told {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.reports[ref]; t != nil {
		return Told{Started: t.Started, Outcomes: slices.Clone(t.Outcomes), Released: t.Released}
	}
	return Told{}
}

// Await waits until what was heard of an attempt satisfies ok.
func (c *Cluster) Await(ctx context.Context, ref agent.Ref, ok func(Told) bool) (Told, error) {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		told := c.Told(ref)
		if ok(told) {
			return told, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return told, ctx.Err()
		}
	}
}
