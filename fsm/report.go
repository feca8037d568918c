package fsm

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// report takes what a node says of attempts. A report counts if its fence is
// current and the task has not ended, whatever became of the session: the first
// one wins.
func (s *State) report(op *rota.Report) rota.Result {
	items := make([]rota.Kind, len(op.Items))
	for i := range op.Items {
		items[i] = s.reportOne(&op.Session, &op.Items[i])
		s.follow()
	}
	return rota.Result{Items: items}
}

func (s *State) reportOne(session *rota.Session, it *rota.ReportItem) rota.Kind {
	kind := rota.KindNone
	t := s.taskByID(it.Task)
	switch {
	case t == nil:
		kind = rota.KindNotFound
	case t.Attempt == 0 || it.Fence != t.Fence(s.meta.incarnation) || !t.ranOn(session.Node):
		kind = s.reportLate(t, session, it, rota.KindStale)
	default:
		kind = s.reportCurrent(t, session, it)
	}
	if it.Released {
		s.reportReleased(session, it)
	}
	return kind
}

// ranOn reports whether the newest attempt was placed on the node.
func (t *task) ranOn(id rota.NodeID) bool {
	n := len(t.Attempts)
	return n > 0 && t.Attempts[n-1].Number == t.Attempt && t.Attempts[n-1].Node == id
}

func (s *State) reportCurrent(t *task, session *rota.Session, it *rota.ReportItem) rota.Kind {
	kind := rota.KindNone
	if it.Started {
		kind = s.started(t, session, it)
		t = s.taskAt(t.pos())
	}
	if it.Outcome == nil {
		return kind
	}
	sum := outcomeSum(it.Outcome)
	if i := slices.IndexFunc(t.endings, func(e ending) bool { return e.attempt == t.Attempt }); i >= 0 {
		if t.endings[i].outcome == sum {
			return rota.KindNone
		}
		return rota.KindEnded
	}
	if t.Status.Terminal() {
		return s.reportLate(t, session, it, rota.KindEnded)
	}
	t = s.edit(t)
	t.addEnding(ending{attempt: t.Attempt, outcome: sum})
	s.finish(t, cleanOutcome(it.Outcome))
	return rota.KindNone
}

// started brings an assigned task to running. With an outcome in the same item the
// start lies back by what the node measured.
func (s *State) started(t *task, session *rota.Session, it *rota.ReportItem) rota.Kind {
	switch {
	case t.Status == rota.StatusRunning:
		return rota.KindNone
	case t.Placement == nil || t.Placement.Session != *session:
		if t.Status.Terminal() {
			return rota.KindEnded
		}
		return rota.KindStale
	}
	t = s.edit(t)
	at := s.meta.now
	if o := it.Outcome; o != nil && o.Ran > 0 {
		at = max(t.Placement.At, at.Add(-min(o.Ran, maxDuration)))
	}
	s.start(t, at)
	return rota.KindNone
}

func (s *State) start(t *task, at rota.Instant) {
	t.StartedAt = at
	if a := t.latestAttempt(); a != nil {
		a.StartedAt = at
	}
	if t.mishaps != nil && t.mishaps.givenBack > 0 {
		t.editMishaps().givenBack = 0
	}
	s.move(t, rota.StatusRunning)
}

// finish lets a reported outcome count.
func (s *State) finish(t *task, o *rota.Outcome) {
	t.undoGiveUp()
	s.charge(t, o.Usage)
	f := failure{cause: o.Cause, message: o.Message, exit: o.ExitCode, final: o.Final}
	output := o.Output
	if o.Cause == rota.CauseNone {
		output, f = s.admitOutput(t, output, f)
	}
	if t.Placement == nil { // given up before: the attempt's entry is to say what really happened
		if a := t.latestAttempt(); a != nil {
			a.Cause, a.Message, a.ExitCode, a.FinishedAt = f.cause, f.message, f.exit, s.meta.now
		}
	}
	if f.cause != rota.CauseNone {
		s.noteUsage(t, o.Usage)
		s.fail(t, f)
		return
	}
	if t.Status == rota.StatusAssigned { // its start was not reported by itself
		s.start(t, max(t.Placement.At, s.meta.now.Add(-min(max(o.Ran, 0), maxDuration))))
	}
	s.closeAttempt(t, f)
	s.noteUsage(t, o.Usage)
	t.AttemptsUsed++
	t.Cause, t.Message, t.ExitCode = rota.CauseNone, f.message, f.exit
	t.Output = output
	s.editRun(t.run).output += int64(len(output))
	s.output += int64(len(output))
	s.deliver(t)
}

// charge books what an attempt consumed, wherever the task stands.
func (s *State) charge(t *task, u rota.Usage) {
	if u == (rota.Usage{}) {
		return
	}
	t.Usage = t.Usage.Plus(u)
	r := s.editRun(t.run)
	r.Usage = r.Usage.Plus(u)
	s.meta.usage = s.meta.usage.Plus(u)
}

func (s *State) noteUsage(t *task, u rota.Usage) {
	if u == (rota.Usage{}) {
		return
	}
	if a := t.latestAttempt(); a != nil {
		a.Usage = a.Usage.Plus(u)
	}
}

// admitOutput checks an output against the limits; what is over one fails the
// attempt and is not retried, since it would come out the same.
func (s *State) admitOutput(t *task, output json.RawMessage, f failure) (json.RawMessage, failure) {
	if t.Spec.Output == "" || len(output) == 0 {
		return nil, f
	}
	run := s.runAt(t.run).output + int64(len(output))
	bad := failure{cause: rota.CauseInvalidOutput, exit: f.exit, final: true}
	switch {
	case len(output) > rota.MaxInlineOutput:
		bad.message = "the output is " + over("bytes of an inline output", int64(len(output)), rota.MaxInlineOutput)
	case run > s.limits.MaxRunOutput:
		bad.message = "the outputs of the run are " + over("bytes of inline outputs of a run", run, s.limits.MaxRunOutput)
	case !json.Valid(output):
		bad.message, bad.final = "the output is not JSON", false
	default:
		return bytes.TrimSpace(output), f
	}
	return nil, bad
}

// reportLate keeps the result of an attempt that does not count any more beside
// the task, once, with what it cost.
func (s *State) reportLate(t *task, session *rota.Session, it *rota.ReportItem, kind rota.Kind) rota.Kind {
	number := it.Fence.Attempt()
	if it.Outcome == nil || number == 0 || number > t.Attempt || it.Fence.Incarnation() != s.meta.incarnation {
		return kind
	}
	i := slices.IndexFunc(t.Attempts, func(a rota.Attempt) bool { return a.Number == number })
	if i < 0 || t.Attempts[i].Node != session.Node {
		return kind // older than what is remembered, or never there
	}
	if slices.ContainsFunc(t.endings, func(e ending) bool { return e.attempt == number }) {
		return kind
	}
	t = s.edit(t)
	o := cleanOutcome(it.Outcome)
	t.addEnding(ending{attempt: number, outcome: outcomeSum(it.Outcome)})
	a := t.Attempts[i]
	a.Cause, a.Message, a.ExitCode, a.FinishedAt, a.Usage = o.Cause, o.Message, o.ExitCode, s.meta.now, o.Usage
	late := t.Late
	if len(late) >= maxLateKept {
		late = late[len(late)-maxLateKept+1:]
	}
	t.Late = append(slices.Clip(slices.Clone(late)), a)
	s.charge(t, o.Usage)
	s.emit(rota.Change{Type: rota.ChangeTaskLate, Run: &s.editRun(t.run).Run, Task: &t.Task, From: t.Status, Attempt: number})
	return kind
}

// maxLateKept bounds the late results that a task's record remembers.
const maxLateKept = 8

// reportReleased frees the room of an attempt of which nothing lives, and settles
// what its node never reported an end of.
func (s *State) reportReleased(session *rota.Session, it *rota.ReportItem) {
	h := s.holdAt(holdKey{node: session.Node, task: it.Task, fence: it.Fence})
	if h == nil || h.Session != *session {
		return
	}
	t := s.freeHold(h)
	if t == nil || t.Placement == nil {
		return
	}
	if t.Status == rota.StatusAssigned {
		s.giveBack(t)
		return
	}
	s.fail(t, failure{cause: rota.CauseNodeLost, message: "its node let it go without saying how it ended", gaveUp: true})
}

// giveBack queues a task again that its node did not start. It uses no attempt,
// but a node that gives back again and again is not asked without a pause.
func (s *State) giveBack(t *task) {
	s.closeAttempt(t, failure{message: "given back before it was started"})
	t.addEnding(ending{attempt: t.Attempt})
	t.Placement = nil
	m := t.editMishaps()
	m.givenBack++
	if m.givenBack <= s.limits.FreeGiveBacks {
		s.enqueue(t)
		return
	}
	delay := time.Second << min(m.givenBack-s.limits.FreeGiveBacks-1, 6)
	t.retryAt = s.meta.now.Add(delay)
	s.move(t, rota.StatusRetrying)
	t.Why = rota.Reason{Code: rota.ReasonBackoff, Text: "given back unstarted " + strconv.Itoa(m.givenBack) + " times in a row, wanted again after " + delay.String()}
}

// addEnding remembers a reported outcome, for as many attempts as are remembered.
func (t *task) addEnding(e ending) {
	old := t.endings
	if len(old) >= rota.MaxAttemptsKept {
		old = old[len(old)-rota.MaxAttemptsKept+1:]
	}
	t.endings = append(slices.Clip(slices.Clone(old)), e)
}

// outcomeSum tells one reported outcome from another.
func outcomeSum(o *rota.Outcome) uint64 {
	var b [256]byte
	d := hash(0, appendOutcome(b[:0], o))
	return d.hi ^ d.lo | 1 // zero is a give-back's
}

const maxUsage = 1 << 50

// cleanOutcome bounds what came from outside.
func cleanOutcome(o *rota.Outcome) *rota.Outcome {
	c := *o
	if int(c.Cause) > len(rota.Causes) {
		c.Cause = rota.CauseInternal
	}
	c.Message = cleanText(c.Message)
	c.Usage.Cost = min(max(c.Usage.Cost, 0), maxUsage)
	c.Usage.TokensIn = min(max(c.Usage.TokensIn, 0), maxUsage)
	c.Usage.TokensOut = min(max(c.Usage.TokensOut, 0), maxUsage)
	return &c
}

func cleanText(s string) string { return clip(strings.ToValidUTF8(s, "\uFFFD"), maxReasonByte) }
