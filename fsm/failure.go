package fsm

import (
	"slices"
	"strconv"
	"time"

	"github.com/rota-sched/rota"
)

// failure is why an attempt, or the wait for one, did not succeed.
type failure struct {
	cause   rota.Cause
	message string
	exit    int
	final   bool // not retried, whatever the policy
	gaveUp  bool // the cluster's decision, not the node's report
	planned bool // the node left on purpose: no sign of poison
}

// fail takes an edited task through failed to what follows: a retry, a person's
// answer, or a dead letter.
func (s *State) fail(t *task, f failure) {
	placed := t.Placement != nil
	started := t.StartedAt
	if placed && t.Status == rota.StatusAssigned {
		started = 0
	}
	s.closeAttempt(t, f)
	t.Placement, t.gaveUp, t.retryAt = nil, 0, 0
	if placed && f.gaveUp {
		t.gaveUp = f.cause
	}
	t.Cause, t.Message, t.ExitCode = f.cause, f.message, f.exit
	s.move(t, rota.StatusFailed)
	if f.cause.UsesAttempt() && (placed || f.cause != rota.CauseTimeoutTotal && f.cause != rota.CauseExpression) {
		t.AttemptsUsed++
	}
	if !f.cause.UsesAttempt() {
		t.Losses++
	}
	v := s.judge(t, f, placed, started)
	if v.detail != "" {
		t.Message = joinWords(f.message, v.detail)
	}
	switch {
	case v.ask:
		t.ReturnTo = rota.StatusQueued
		t.Why = rota.Reason{Code: rota.ReasonOutcomeUnknown, Text: "the attempt was lost with its node and rerun is ask: run it again, or give it up?"}
		s.move(t, rota.StatusWaiting)
	case v.retry:
		t.retryAt = s.meta.now.Add(v.delay)
		s.move(t, rota.StatusRetrying)
		if s.retryNow(t) {
			return
		}
		t.Why = rota.Reason{Code: rota.ReasonBackoff, Text: "it failed (" + f.cause.String() + ") and is retried " + v.delay.String() + " later"}
		if t.held {
			t.Why.Text += notFree
		}
	default:
		s.bury(t)
	}
}

// notFree ends the reason of a retry whose delay may be over while its last attempt
// is not.
const notFree = "; something of its last attempt may still live, its room is not free yet"

// retryNow queues a retrying task that is due. A task whose last attempt still
// holds its room stays: its processes may live, and two attempts are not to run at
// once.
func (s *State) retryNow(t *task) bool {
	if t.held || t.retryAt > s.meta.now {
		return false
	}
	s.enqueue(t)
	return true
}

// verdict is what follows a failure; the zero verdict is a dead letter.
type verdict struct {
	retry  bool
	ask    bool
	delay  time.Duration
	detail string // added to the message
}

func (s *State) judge(t *task, f failure, placed bool, started rota.Instant) verdict {
	if placed && s.poisoned(t, f, started) {
		return verdict{detail: "poison: it may have harmed " + plural(s.limits.PoisonNodes, "node")}
	}
	policy := &t.Spec.Retry
	switch {
	case f.final:
		return verdict{}
	case f.cause == rota.CauseNodeLost:
		return s.judgeLost(t)
	case f.cause == rota.CausePreempted:
		m := t.editMishaps()
		m.preempted++
		if m.preempted > s.limits.MaxPreempted {
			return verdict{detail: "preempted " + strconv.Itoa(m.preempted) + " times, the limit is " + strconv.Itoa(s.limits.MaxPreempted)}
		}
		return verdict{retry: policy.Retries(f.cause)}
	case !f.cause.UsesAttempt():
		return s.judgeThrottled(t, f.cause)
	case t.AttemptsUsed >= max(1, policy.MaxAttempts):
		return verdict{}
	}
	return verdict{retry: policy.Retries(f.cause), delay: s.backoff(t, t.AttemptsUsed)}
}

// judgeLost: what becomes of a task whose attempt went down with its node is the
// author's choice (rerun); at most MaxNodeLost times.
func (s *State) judgeLost(t *task) verdict {
	m := t.editMishaps()
	m.nodeLost++
	switch {
	case t.Spec.Rerun == rota.RerunAsk:
		return verdict{ask: true}
	case t.Spec.Rerun == rota.RerunNever:
		return verdict{detail: "rerun is never"}
	case m.nodeLost > s.limits.MaxNodeLost:
		return verdict{detail: "lost with its node " + strconv.Itoa(m.nodeLost) + " times, the limit is " + strconv.Itoa(s.limits.MaxNodeLost)}
	}
	return verdict{retry: t.Spec.Retry.Retries(rota.CauseNodeLost)}
}

// judgeThrottled: a provider's or the network's bad hour costs time, not attempts,
// until the waits add up to MaxThrottled. A policy without a delay gets one, or
// the task would spin.
func (s *State) judgeThrottled(t *task, c rota.Cause) verdict {
	m := t.editMishaps()
	m.throttled++
	delay := max(s.backoff(t, m.throttled), time.Second<<min(m.throttled-1, 6))
	m.waited += delay
	if m.waited > s.limits.MaxThrottled {
		return verdict{detail: "the waits for " + c.String() + " add up to more than " + s.limits.MaxThrottled.String()}
	}
	return verdict{retry: t.Spec.Retry.Retries(c), delay: delay}
}

func (s *State) backoff(t *task, n int) time.Duration {
	d := t.Spec.Retry.Delay(n, draw(s.w.entry.Seed, string(t.ID.Run), string(t.ID.Key), t.Attempt))
	return min(max(d, 0), maxDuration)
}

// poisoned notes that an attempt may have harmed its node, and reports whether
// that happened on enough of them.
func (s *State) poisoned(t *task, f failure, started rota.Instant) bool {
	switch f.cause { // the causes that may point at the task itself (DESIGN.md, section 7)
	case rota.CauseOOM, rota.CauseInternal:
	case rota.CauseNodeLost:
		if f.planned || started == 0 || s.meta.now.Sub(started) > s.limits.PoisonWithin {
			return false
		}
	default:
		return false
	}
	a := t.latestAttempt()
	if a == nil {
		return false
	}
	m := t.editMishaps()
	if !slices.Contains(m.poison, a.Node) {
		m.poison = append(slices.Clone(m.poison), a.Node)
	}
	return len(m.poison) >= s.limits.PoisonNodes
}

// editMishaps gives a copy that may be changed.
func (t *task) editMishaps() *mishaps {
	m := mishaps{}
	if t.mishaps != nil {
		m = *t.mishaps
	}
	t.mishaps = &m
	return &m
}

// closeAttempt notes in the newest attempt how it ended, if it is open.
func (s *State) closeAttempt(t *task, f failure) {
	if t.Placement == nil {
		return
	}
	if a := t.latestAttempt(); a != nil {
		a.Cause, a.Message, a.ExitCode, a.FinishedAt = f.cause, f.message, f.exit, s.meta.now
	}
}

// undoGiveUp takes back what the cluster's giving up of the newest attempt counted:
// its own report arrived before another placement, and that counts instead.
func (t *task) undoGiveUp() {
	if t.gaveUp == 0 {
		return
	}
	if t.gaveUp.UsesAttempt() {
		t.AttemptsUsed--
	} else {
		t.Losses--
	}
	if t.gaveUp == rota.CauseNodeLost && t.mishaps != nil && t.mishaps.nodeLost > 0 {
		t.editMishaps().nodeLost--
	}
	t.gaveUp = 0
}

func joinWords(a, b string) string {
	if a == "" {
		return b
	}
	return a + " (" + b + ")"
}
