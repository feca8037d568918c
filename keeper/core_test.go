package keeper_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
	"pgregory.net/rapid"
)

// coreWorld plays the shell for a Core: it carries out what the core wants, late
// and in any order that the machine could, and checks what must never happen.
type coreWorld struct {
	t       *rapid.T
	core    *keeper.Core
	cfg     keeper.CoreConfig
	now     keeper.BootTime
	conn    uint64
	back    bool // an agent is connected
	tokens  uint64
	fence   rota.Fence
	session rota.Session // the newest that was begun
	// What the world knows by itself.
	deadlines map[rota.Session]keeper.BootTime // as accepted
	ended     map[rota.Session]bool            // SessionOver or Release was seen
	forked    map[keeper.Ref]rota.Session
	alive     map[keeper.Ref]bool // the world's own processes
	forks     []keeper.Ref        // asked for, not answered
	dying     map[keeper.Ref]bool // got SIGKILL
	watched   map[keeper.Ref]bool
	release   *rota.Session
	over      bool
	asked     map[uint64]rota.Session // Begin and Extend by token
	wanted    map[uint64]keeper.BootTime
}

func newCoreWorld(t *rapid.T) *coreWorld {
	cfg := keeper.DefaultCoreConfig(rota.FastLeaseTimes())
	cfg.MaxAttempts = 8
	w := &coreWorld{
		t: t, cfg: cfg, now: 1_000_000, deadlines: map[rota.Session]keeper.BootTime{}, ended: map[rota.Session]bool{},
		forked: map[keeper.Ref]rota.Session{}, alive: map[keeper.Ref]bool{}, dying: map[keeper.Ref]bool{}, watched: map[keeper.Ref]bool{},
		asked: map[uint64]rota.Session{}, wanted: map[uint64]keeper.BootTime{},
	}
	w.core = keeper.NewCore(cfg, w.now)
	return w
}

func (w *coreWorld) token() uint64 {
	w.tokens++
	return w.tokens
}

// step feeds one event and checks each action.
func (w *coreWorld) step(ev keeper.Event) {
	if w.over {
		return
	}
	for _, a := range w.core.Step(ev, w.now) {
		w.check(a)
	}
}

func (w *coreWorld) check(a keeper.Action) {
	switch a := a.(type) {
	case keeper.Reply:
		if s, ok := w.asked[a.Token]; ok && a.Kind == rota.KindNone {
			if w.ended[s] {
				w.t.Fatalf("session %v was begun or extended after its end", s)
			}
			for r := range w.alive {
				if o, _ := w.core.Attempt(r); w.forked[r] != s && !o.Unreaped {
					w.t.Fatalf("session %v begins while %v of the one before is alive", s, r)
				}
			}
			w.deadlines[s] = max(w.deadlines[s], w.wanted[a.Token])
			w.session = s
		}
	case keeper.Fork:
		if _, twice := w.forked[a.Ref]; twice {
			w.t.Fatalf("%v is started twice", a.Ref)
		}
		if w.ended[w.session] {
			w.t.Fatalf("%v is started after the end of its session", a.Ref)
		}
		if limit := w.deadlines[w.session].Add(-w.cfg.Times.Kill - w.cfg.Times.Renew); w.now >= limit {
			w.t.Fatalf("%v is started %v too late", a.Ref, w.now.Sub(limit))
		}
		w.forked[a.Ref] = w.session
		w.forks = append(w.forks, a.Ref)
	case keeper.Kill:
		w.dying[a.Ref] = true
	case keeper.Watch:
		w.watched[a.Ref] = true
	case keeper.SessionOver:
		w.ended[a.Session] = true
	case keeper.Release:
		for r := range w.alive {
			if w.forked[r] == a.Session {
				w.t.Fatalf("%v is released while %v is alive", a.Session, r)
			}
		}
		for _, r := range w.forks {
			w.t.Fatalf("released while %v is being started", r)
		}
		w.release = &a.Session
	case keeper.CancelRelease:
		w.release = nil
	case keeper.End:
		if len(w.alive) > 0 || len(w.forks) > 0 || w.back {
			w.t.Fatalf("the keeper ends with %d alive, %d starting, agent %v", len(w.alive), len(w.forks), w.back)
		}
		w.over = true
	}
}

// tick lets time pass in steps not longer than the core asks for.
func (w *coreWorld) tick(d time.Duration) {
	for until := w.now.Add(d); w.now < until && !w.over; {
		next := until
		if due := w.core.NextDue(); due > w.now && due < until {
			next = due
		}
		w.now = next
		w.step(keeper.Tick{})
		w.onTime()
	}
}

// onTime: past D - K + term, everything alive of an ended session was killed, if
// the processes were in the table by then.
func (w *coreWorld) onTime() {
	for r := range w.alive {
		d := w.deadlines[w.forked[r]]
		if w.now >= d.Add(-w.cfg.Times.Kill+w.cfg.Times.Term) && !w.dying[r] {
			w.t.Fatalf("%v lives without SIGKILL %v before its deadline", r, d.Sub(w.now))
		}
	}
}

func pick(t *rapid.T, m map[keeper.Ref]bool, ok func(keeper.Ref) bool) (keeper.Ref, bool) {
	var refs []keeper.Ref
	for f := rota.Fence(1); f <= 64; f++ {
		if r := ref("a", f); m[r] && ok(r) {
			refs = append(refs, r)
		}
	}
	if len(refs) == 0 {
		return keeper.Ref{}, false
	}
	return rapid.SampledFrom(refs).Draw(t, "which"), true
}

func (w *coreWorld) any() {
	t := w.t
	all := func(keeper.Ref) bool { return true }
	switch rapid.SampledFrom([]string{
		"agent", "agent", "gone", "planned", "begin", "extend", "extend", "extend", "end", "spawn", "spawn", "spawn", "spawn", "spawn", "spawn",
		"exit", "exit", "lingers", "emptied", "emptied", "stop", "ack", "ack", "released", "released", "tick", "tick", "tick", "tick",
	}).Draw(t, "what") {
	case "agent":
		w.conn, w.back = w.conn+1, true
		w.step(keeper.AgentBack{Conn: w.conn})
	case "gone":
		w.back = false
		w.step(keeper.AgentGone{Conn: w.conn})
	case "planned":
		if w.back {
			w.step(keeper.PlannedStop{Conn: w.conn})
		}
	case "begin":
		w.lease(true)
	case "extend":
		w.lease(false)
	case "end":
		w.step(keeper.EndAsked{Session: w.session})
	case "spawn":
		w.fence++
		f := w.fence
		if rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			f = rota.Fence(rapid.Uint64Range(1, uint64(w.fence)).Draw(t, "fence"))
		}
		w.step(keeper.SpawnAsked{Token: w.token(), Ref: ref("a", f)})
	case "exit":
		if r, ok := pick(t, w.alive, func(r keeper.Ref) bool { return !w.watched[r] }); ok {
			w.step(keeper.Exited{Ref: r})
		}
	case "lingers":
		if r, ok := pick(t, w.watched, all); ok {
			w.step(keeper.Lingers{Ref: r})
		}
	case "emptied":
		if r, ok := pick(t, w.watched, func(r keeper.Ref) bool { return w.alive[r] }); ok {
			delete(w.alive, r)
			w.step(keeper.Emptied{Ref: r})
		}
	case "stop":
		if r, ok := pick(t, w.alive, all); ok {
			w.step(keeper.StopAsked{Ref: r, Signal: 15, Grace: time.Duration(rapid.SampledFrom([]int{0, 100, 500, 2000}).Draw(t, "grace")) * time.Millisecond})
		}
	case "ack":
		w.step(keeper.AckAsked{Refs: []keeper.Ref{ref("a", rota.Fence(rapid.Uint64Range(1, 64).Draw(t, "acked")))}})
	case "released":
		if w.release != nil {
			s := *w.release
			w.release = nil
			w.step(keeper.ReleaseDone{Session: s, OK: rapid.Bool().Draw(t, "released")})
		}
	case "tick":
		w.tick(time.Duration(rapid.SampledFrom([]int{10, 50, 100, 250, 500, 900}).Draw(t, "ms")) * time.Millisecond)
	}
}

func (w *coreWorld) lease(next bool) {
	s := w.session
	if next || s.IsZero() {
		s = rota.Session{Node: "n", Boot: "b", Counter: s.Counter + 1}
	}
	token := w.token()
	d := w.now.Add(time.Duration(rapid.SampledFrom([]int{3000, 2500, 2000, 1500, 1000, 500, 0}).Draw(w.t, "lease ms")) * time.Millisecond)
	w.asked[token], w.wanted[token] = s, d
	w.step(keeper.Begin{Token: token, Session: s, Deadline: d})
}

func (w *coreWorld) answerFork(fails bool) {
	if len(w.forks) == 0 {
		return
	}
	r := w.forks[0]
	w.forks = w.forks[1:]
	if fails {
		w.step(keeper.StartFailed{Ref: r, Kind: rota.KindOverloaded})
		return
	}
	w.alive[r] = true
	w.step(keeper.Started{Ref: r, PID: 1})
}

// TestTheCoreKeepsItsPromises walks random histories: nothing is started twice,
// late, or for a session that is over; nothing lives past its time without
// SIGKILL; no session is released while something of it is alive; and in the end,
// without an agent, the keeper is over. (Source: RELIABILITY.md, section 2.)
func TestTheCoreKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newCoreWorld(t)
		w.conn, w.back = 1, true
		w.step(keeper.AgentBack{Conn: 1})
		w.lease(true)
		for range 120 {
			w.any()
			// A start takes no time at all in the shell: the table's lock is held.
			for len(w.forks) > 0 && !w.over {
				w.answerFork(rapid.IntRange(0, 9).Draw(t, "fails") == 0)
			}
		}
		w.finish()
	})
}

// finish takes the agent away for good and lets everything die that was killed.
func (w *coreWorld) finish() {
	w.back = false
	w.step(keeper.AgentGone{Conn: w.conn})
	for i := 0; i < 400 && !w.over; i++ {
		for f := rota.Fence(1); f <= w.fence; f++ {
			r := ref("a", f)
			if !w.alive[r] || !w.dying[r] && !w.watched[r] {
				continue
			}
			if !w.watched[r] {
				w.step(keeper.Exited{Ref: r})
			}
			if w.dying[r] {
				delete(w.alive, r)
				w.step(keeper.Emptied{Ref: r})
			} else {
				w.step(keeper.Lingers{Ref: r})
			}
		}
		w.release = nil
		w.tick(100 * time.Millisecond)
	}
	if !w.over {
		w.t.Fatalf("the keeper goes on without anything to keep: %+v", w.core.Snapshot())
	}
}

// TestAFailedReleaseIsTriedAgainUntilTheDeadline.
func TestAFailedReleaseIsTriedAgainUntilTheDeadline(t *testing.T) {
	cfg := keeper.DefaultCoreConfig(rota.DefaultLeaseTimes())
	now := keeper.BootTime(1)
	c := keeper.NewCore(cfg, now)
	s := rota.Session{Node: "n", Counter: 1}
	deadline := now.Add(20 * time.Second)
	c.Step(keeper.AgentBack{Conn: 1}, now)
	c.Step(keeper.Begin{Session: s, Deadline: deadline}, now)
	c.Step(keeper.SpawnAsked{Ref: ref("a", 1)}, now)
	c.Step(keeper.Started{Ref: ref("a", 1)}, now)
	c.Step(keeper.Exited{Ref: ref("a", 1), Exit: keeper.Exit{Code: 4}}, now)
	c.Step(keeper.Emptied{Ref: ref("a", 1)}, now)
	out := c.Step(keeper.AgentGone{Conn: 1}, now)
	tries := 0
	for range 1000 {
		for _, a := range out {
			if r, ok := a.(keeper.Release); ok {
				tries++
				if len(r.Attempts) != 1 || r.Attempts[0].Exit.Code != 4 {
					t.Fatalf("the release says %+v", r)
				}
				c.Step(keeper.ReleaseDone{Session: s}, now)
			}
		}
		due := c.NextDue()
		if c.Over() || due == 0 {
			break
		}
		now = max(due, now)
		out = c.Step(keeper.Tick{}, now)
	}
	if !c.Over() || now < deadline || tries < 15 || tries > 40 {
		t.Errorf("over %v, %v past the deadline, %d tries", c.Over(), now.Sub(deadline), tries)
	}
}

// TestAttemptsThatCannotBeKilledAreNamed: the session is not released, the node
// can begin another to say so.
func TestAttemptsThatCannotBeKilledAreNamed(t *testing.T) {
	cfg := keeper.DefaultCoreConfig(rota.DefaultLeaseTimes())
	now := keeper.BootTime(1)
	c := keeper.NewCore(cfg, now)
	s := rota.Session{Node: "n", Counter: 1}
	c.Step(keeper.AgentBack{Conn: 1}, now)
	c.Step(keeper.Begin{Session: s, Deadline: now.Add(time.Minute)}, now)
	c.Step(keeper.SpawnAsked{Ref: ref("a", 1)}, now)
	c.Step(keeper.Started{Ref: ref("a", 1)}, now)
	c.Step(keeper.StopAsked{Ref: ref("a", 1), Signal: 15}, now)
	now = now.Add(cfg.Unreaped)
	pushed := false
	for _, a := range c.Step(keeper.Tick{}, now) {
		_, ok := a.(keeper.Push)
		pushed = pushed || ok
	}
	if a, _ := c.Attempt(ref("a", 1)); !a.Unreaped || !pushed {
		t.Errorf("after %v: %+v, pushed %v", cfg.Unreaped, a, pushed)
	}
	next := rota.Session{Node: "n", Counter: 2}
	for _, a := range c.Step(keeper.Begin{Token: 1, Session: next, Deadline: now.Add(time.Minute)}, now) {
		switch a := a.(type) {
		case keeper.Release:
			t.Error("released with something alive")
		case keeper.Reply:
			if a.Kind != rota.KindNone {
				t.Errorf("the next session is refused: %s", a.Detail)
			}
		}
	}
	c.Step(keeper.Exited{Ref: ref("a", 1)}, now)
	c.Step(keeper.Emptied{Ref: ref("a", 1)}, now)
	if a, _ := c.Attempt(ref("a", 1)); a.Unreaped || a.State != keeper.StateExited {
		t.Errorf("after it died: %+v", a)
	}
}

// TestTheTableIsBounded.
func TestTheTableIsBounded(t *testing.T) {
	cfg := keeper.DefaultCoreConfig(rota.DefaultLeaseTimes())
	cfg.MaxAttempts, cfg.MaxNoted = 4, 8
	now := keeper.BootTime(1)
	c := keeper.NewCore(cfg, now)
	c.Step(keeper.AgentBack{Conn: 1}, now)
	c.Step(keeper.Begin{Session: rota.Session{Node: "n", Counter: 1}, Deadline: now.Add(time.Hour)}, now)
	spawn := func(key string) rota.Kind {
		for _, a := range c.Step(keeper.SpawnAsked{Token: 7, Ref: ref(key, 1)}, now) {
			switch a := a.(type) {
			case keeper.Reply:
				return a.Kind
			case keeper.Fork:
				c.Step(keeper.Started{Ref: a.Ref}, now)
				c.Step(keeper.Exited{Ref: a.Ref}, now)
				c.Step(keeper.Emptied{Ref: a.Ref}, now)
			}
		}
		return rota.KindNone
	}
	for i := range 4 {
		spawn(fmt.Sprint("t", i))
	}
	if k := spawn("t4"); k != rota.KindOverloaded {
		t.Errorf("the fifth of four: %v", k)
	}
	for i := range 100 {
		c.Step(keeper.AckAsked{Refs: []keeper.Ref{ref(fmt.Sprint("t", i), 1)}}, now)
		spawn(fmt.Sprint("t", i+4))
	}
	if k := spawn("t103"); k != rota.KindConflict {
		t.Errorf("a fence that is remembered: %v", k)
	}
}
