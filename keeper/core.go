package keeper

import (
	"container/list"
	"fmt"
	"time"

	"github.com/rota-sched/rota"
)

// Core decides for the keeper. It is plain data: events and the moment go in,
// actions come out; it has no clock, no goroutine and does no I/O, so a simulation
// drives the very code that ships. It is not safe for concurrent use.
type Core struct {
	cfg CoreConfig

	session  rota.Session
	deadline BootTime // 0: none yet
	phase    Phase
	why      Why // of the ending
	newest   ViewMark

	conn      uint64 // the agent's main connection; 0: none
	ever      bool   // an agent was connected
	goneAt    BootTime
	planned   bool
	retryAt   BootTime // of a release that failed
	releases  int      // tried for this session
	releasing bool     // one is under way

	table    map[Ref]*entry
	order    *list.List // of *entry, in the order of their start
	noted    map[rota.TaskID]rota.Fence
	forget   []rota.TaskID // noted, oldest first
	timed    int           // entries with a kill or check pending
	live     int           // attempts of which something may be alive
	unreaped int           // those among them that SIGKILL could not end
	over     bool
}

// CoreConfig are the core's constants.
type CoreConfig struct {
	Times       rota.LeaseTimes
	Patience    time.Duration // for the first agent to connect
	Unreaped    time.Duration // after SIGKILL, until an attempt is called unreaped
	MaxAttempts int           // in the table, exits not yet acknowledged included
	MaxNoted    int           // tasks whose newest fence is remembered after they were acknowledged
}

// DefaultCoreConfig fits a node.
func DefaultCoreConfig(t rota.LeaseTimes) CoreConfig {
	return CoreConfig{Times: t, Patience: 10 * time.Second, Unreaped: 500 * time.Millisecond, MaxAttempts: 16384, MaxNoted: 65536}
}

// Phase is what the keeper is doing with its session.
type Phase string

// The phases.
const (
	PhaseIdle      Phase = "idle"      // no session
	PhaseServing   Phase = "serving"   // attempts may be started
	PhaseEnding    Phase = "ending"    // everything is being ended; the session takes no extension any more
	PhaseReleasing Phase = "releasing" // nothing is alive; the cluster is being told
)

type entry struct {
	Attempt
	at      *list.Element
	killAt  BootTime // when SIGKILL is due; 0: not asked to end
	checkAt BootTime // when it is called unreaped; 0: not killed yet
}

// NewCore starts at a moment, without an agent and without a session.
func NewCore(cfg CoreConfig, now BootTime) *Core {
	return &Core{
		cfg: cfg, phase: PhaseIdle, goneAt: now,
		table: map[Ref]*entry{}, order: list.New(), noted: map[rota.TaskID]rota.Fence{},
	}
}

// Snapshot is the core's state at a moment, as an agent sees it.
type Snapshot struct {
	Session  rota.Session `json:"session"` // zero: none
	Deadline BootTime     `json:"deadline"`
	Phase    Phase        `json:"phase"`
	Newest   ViewMark     `json:"newest"`
	Attempts []Attempt    `json:"attempts"` // in the order of their start
}

// Over reports whether the session named has ended here, or has begun to: it
// cannot be kept.
func (s *Snapshot) Over() bool { return !s.Session.IsZero() && s.Phase != PhaseServing }

// Snapshot copies the state.
func (c *Core) Snapshot() Snapshot {
	s := Snapshot{Session: c.session, Deadline: c.deadline, Phase: c.phase, Newest: c.newest, Attempts: []Attempt{}}
	for e := range c.entries() {
		s.Attempts = append(s.Attempts, e.Attempt)
	}
	return s
}

// Attempt finds one attempt.
func (c *Core) Attempt(r Ref) (Attempt, bool) {
	if e, ok := c.table[r]; ok {
		return e.Attempt, true
	}
	return Attempt{}, false
}

// Over reports whether the keeper has nothing left to do.
func (c *Core) Over() bool { return c.over }

func (c *Core) entries() func(yield func(*entry) bool) {
	return func(yield func(*entry) bool) {
		for at := c.order.Front(); at != nil; {
			next := at.Next()
			if e, ok := at.Value.(*entry); ok && !yield(e) {
				return
			}
			at = next
		}
	}
}

// Step takes one event at a moment and says what is to be done, in order. A later
// moment never comes before an earlier one.
func (c *Core) Step(ev Event, now BootTime) []Action {
	s := &step{Core: c, now: now}
	s.due()
	s.take(ev)
	s.settle()
	return s.out
}

// step is one Step under way.
type step struct {
	*Core
	now BootTime
	out []Action
}

func (s *step) do(a Action) { s.out = append(s.out, a) }

func (s *step) reply(token uint64, kind rota.Kind, format string, args ...any) {
	s.do(Reply{Token: token, Kind: kind, Detail: fmt.Sprintf(format, args...)})
}

func (s *step) done(token uint64) { s.do(Reply{Token: token}) }

func (s *step) take(ev Event) {
	switch ev := ev.(type) {
	case AgentBack:
		s.agentBack(ev)
	case AgentGone:
		s.agentGone(ev)
	case PlannedStop:
		s.planned = s.planned || ev.Conn == s.conn
		s.done(ev.Token)
	case Begin:
		s.begin(ev)
	case Extend:
		s.extend(ev)
	case EndAsked:
		if s.phase == PhaseServing && ev.Session == s.session {
			s.end(WhyEnded)
		}
		s.done(ev.Token)
	case NoteView:
		if s.newest.Less(ev.View) {
			s.newest = ev.View
		}
		s.done(ev.Token)
	case SpawnAsked:
		s.spawn(ev)
	case Started:
		s.started(ev)
	case StartFailed:
		s.startFailed(ev)
	case StopAsked:
		s.stopAsked(ev)
	case Exited:
		s.exited(ev)
	case Lingers:
		s.lingers(ev)
	case Emptied:
		s.emptied(ev)
	case AckAsked:
		s.ack(ev)
	case ReleaseDone:
		s.releaseDone(ev)
	case Tick:
	}
}

func (s *step) agentBack(ev AgentBack) {
	if s.conn != 0 && s.conn != ev.Conn {
		s.do(Drop{Conn: s.conn})
	}
	s.conn, s.ever, s.goneAt, s.planned = ev.Conn, true, 0, false
}

func (s *step) agentGone(ev AgentGone) {
	if ev.Conn == s.conn && s.conn != 0 {
		s.conn, s.goneAt = 0, s.now
	}
}

func (s *step) begin(ev Begin) {
	if ev.Session.IsZero() {
		s.reply(ev.Token, rota.KindInvalid, "begin: a session is needed")
		return
	}
	if s.phase == PhaseServing && ev.Session == s.session {
		s.deadline = max(s.deadline, ev.Deadline)
		s.done(ev.Token)
		return
	}
	if ev.Session == s.session {
		s.reply(ev.Token, rota.KindStale, "session %s has ended here: register a new one", ev.Session)
		return
	}
	if s.phase == PhaseServing {
		s.end(WhyEnded)
	}
	if s.live > s.unreaped {
		s.reply(ev.Token, rota.KindUnavailable, "%d attempts of session %s are still being ended", s.live-s.unreaped, s.session)
		return
	}
	if s.releasing {
		s.do(CancelRelease{})
	}
	s.session, s.deadline, s.phase, s.why = ev.Session, ev.Deadline, PhaseServing, ""
	s.releasing, s.retryAt, s.releases = false, 0, 0
	s.done(ev.Token)
}

func (s *step) extend(ev Extend) {
	if s.phase != PhaseServing || ev.Session != s.session {
		s.reply(ev.Token, rota.KindStale, "session %s is not the one served here (%s, %s)", ev.Session, s.session, s.phase)
		return
	}
	s.deadline = max(s.deadline, ev.Deadline)
	s.done(ev.Token)
}

// spawnable says why a start is refused; KindNone: it is not.
func (s *step) spawnable(ev SpawnAsked) (rota.Kind, string) {
	t := s.cfg.Times
	switch {
	case s.phase != PhaseServing || ev.Session != s.session && !ev.Session.IsZero():
		return rota.KindStale, fmt.Sprintf("session %s is not the one served here (%s, %s)", ev.Session, s.session, s.phase)
	case s.conn == 0 || s.planned:
		return rota.KindUnavailable, "the agent is stopping"
	case s.deadline == 0:
		return rota.KindUnavailable, "the lease was not renewed yet"
	case s.now >= s.deadline.Add(-t.Kill-t.Renew):
		return rota.KindUnavailable, fmt.Sprintf("the lease has only %v left", s.deadline.Sub(s.now).Round(time.Millisecond))
	case ev.Ref.Fence != 0 && ev.Ref.Fence <= s.noted[ev.Ref.Task]:
		return rota.KindConflict, fmt.Sprintf("fence %s of %s is not above %s, which was started before", ev.Ref.Fence, ev.Ref.Task, s.noted[ev.Ref.Task])
	case len(s.table) >= s.cfg.MaxAttempts:
		return rota.KindOverloaded, fmt.Sprintf("%d attempts are running or not acknowledged, the limit is %d", len(s.table), s.cfg.MaxAttempts)
	case ev.Ref.Fence == 0:
		return rota.KindInvalid, "a fence is needed"
	}
	return rota.KindNone, ""
}

func (s *step) spawn(ev SpawnAsked) {
	if kind, detail := s.spawnable(ev); kind != rota.KindNone {
		s.reply(ev.Token, kind, "%s", detail)
		return
	}
	s.note(ev.Ref)
	e := &entry{Attempt: Attempt{Ref: ev.Ref, Session: s.session, State: StateStarting, Meta: ev.Meta}}
	e.at = s.order.PushBack(e)
	s.live++
	s.table[ev.Ref] = e
	s.do(Fork{Token: ev.Token, Ref: ev.Ref})
}

// note remembers the fence before it is started.
func (s *step) note(r Ref) {
	if _, known := s.noted[r.Task]; !known {
		s.forget = append(s.forget, r.Task)
	}
	s.noted[r.Task] = r.Fence
	if len(s.forget) <= s.cfg.MaxNoted+s.cfg.MaxAttempts {
		return
	}
	keep := s.forget[:0]
	drop := len(s.forget) - s.cfg.MaxNoted
	for _, t := range s.forget {
		if _, present := s.table[Ref{Task: t, Fence: s.noted[t]}]; drop > 0 && !present && t != r.Task {
			delete(s.noted, t)
			drop--
			continue
		}
		keep = append(keep, t)
	}
	s.forget = keep
}

func (s *step) started(ev Started) {
	if e := s.table[ev.Ref]; e != nil && e.State == StateStarting {
		e.State, e.PID, e.StartedAt = StateRunning, ev.PID, s.now
		s.done(ev.Token)
		if e.killAt != 0 { // it was to end before it began
			s.do(Signal{Ref: e.Ref, Signal: sigTerm})
		}
	}
}

func (s *step) startFailed(ev StartFailed) {
	if e := s.table[ev.Ref]; e != nil {
		s.drop(e)
		s.do(Reply{Token: ev.Token, Kind: ev.Kind, Detail: ev.Detail, Refused: ev.Refused})
	}
}

func (s *step) drop(e *entry) {
	s.untime(e)
	s.dead(e)
	s.order.Remove(e.at)
	delete(s.table, e.Ref)
}

// dead takes an entry out of the count of the living.
func (s *step) dead(e *entry) {
	if !e.Running() {
		return
	}
	s.live--
	if e.Unreaped {
		s.unreaped--
	}
	e.State, e.Unreaped = StateExited, false
}

func (s *step) ack(ev AckAsked) {
	for _, r := range ev.Refs {
		if e := s.table[r]; e != nil && e.State == StateExited {
			s.drop(e)
		}
	}
	s.done(ev.Token)
}
