package agent

import (
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// outbox holds what the cluster has not answered yet, in order. It is bounded by
// the node's slots: the state keeps the room of an attempt until its release.
type outbox struct {
	items   []*outItem
	sent    int    // how many of items are under way
	batch   uint64 // number of the report under way, or the last one
	limit   int    // items of the next report; halved to find one that is refused
	retryAt BootTime
	backoff time.Duration
}

type outItem struct {
	session  rota.Session
	item     rota.ReportItem
	kept     bool // the keeper remembers it
	stripped bool // its outcome was replaced, since the cluster refused it
}

// size is about what the item takes in the log.
func (o *outItem) size() int {
	n := 64 + len(o.item.Task.Key)
	if o.item.Outcome != nil {
		n += len(o.item.Outcome.Output) + len(o.item.Outcome.Message)
	}
	return n
}

// put adds to what is to be reported of an attempt, in one item with what was not
// sent yet.
func (c *Core) put(a *attempt, add func(*rota.ReportItem)) {
	if a.unsent == nil {
		a.unsent = &outItem{session: a.session, item: rota.ReportItem{Task: a.ref.Task, Fence: a.ref.Fence}, kept: c.outlives(a.driver)}
		c.out.items = append(c.out.items, a.unsent)
	}
	add(&a.unsent.item)
}

// report sends the next report if none is under way.
func (c *Core) report(now BootTime) {
	o := &c.out
	if o.sent > 0 || len(o.items) == 0 || now < o.retryAt || c.leave.releasing {
		return
	}
	o.retryAt = 0
	r := rota.Report{Session: o.items[0].session}
	bytes := 0
	for _, it := range o.items {
		bytes += it.size()
		if len(r.Items) == o.limit || it.session != r.Session || len(r.Items) > 0 && bytes > c.cfg.ReportBytes {
			break
		}
		r.Items = append(r.Items, it.item)
		if a := c.attempts[Ref{Task: it.item.Task, Fence: it.item.Fence}]; a != nil && a.unsent == it {
			a.unsent = nil
		}
	}
	o.sent = len(r.Items)
	o.batch++
	c.do(SendReport{Batch: o.batch, Report: r})
}

// reported takes the answers in; what has none is sent again.
func (c *Core) reported(e Reported, now BootTime) {
	o := &c.out
	if e.Batch != o.batch || o.sent == 0 {
		return
	}
	n := o.sent
	o.sent = 0
	kind := rota.KindOf(e.Err)
	switch {
	case e.Err == nil && len(e.Answers) == n:
		c.answered(e.Answers, now)
	case kind == rota.KindStale || kind == rota.KindEnded:
		c.answered(slices.Repeat([]rota.Kind{kind}, n), now)
	case (kind == rota.KindInvalid || kind == rota.KindTooLarge) && n > 1:
		o.limit = n / 2
	case kind == rota.KindInvalid || kind == rota.KindTooLarge:
		c.answered([]rota.Kind{kind}, now)
	default:
		c.reportLater(now)
		if o.backoff == backoffMost {
			c.warn("reports are not answered", "error", e.Err, "waiting", len(o.items))
		}
	}
}

func (c *Core) reportLater(now BootTime) {
	c.out.backoff = longer(c.out.backoff)
	c.out.retryAt = now.Add(c.out.backoff)
}

// answered removes what was answered from the outbox and lets the keeper forget
// what was released.
func (c *Core) answered(answers []rota.Kind, now BootTime) {
	o := &c.out
	var again []*outItem
	var ack []Ref
	for i, k := range answers {
		it := o.items[i]
		if !c.settled(it, k) {
			again = append(again, it)
			continue
		}
		if !it.item.Released {
			continue
		}
		ref := Ref{Task: it.item.Task, Fence: it.item.Fence}
		if a := c.attempts[ref]; a != nil && a.session == it.session {
			c.memory.answered = append(c.memory.answered, ref)
		}
		if it.kept {
			ack = append(ack, ref)
		}
	}
	clear(o.items[:len(answers)])
	o.items = o.items[len(answers):]
	if len(again) > 0 {
		o.items = append(again, o.items...)
	}
	o.backoff = 0
	if len(again) > 0 {
		c.reportLater(now)
	} else {
		o.limit = c.cfg.ReportItems
	}
	if len(ack) > 0 {
		c.do(Ack{Refs: ack})
	}
}

// settled reports whether an answer ends an item. One that the cluster will never
// take is sent once more without what the attempt made.
func (c *Core) settled(it *outItem, k rota.Kind) bool {
	switch k {
	case rota.KindNone, rota.KindStale, rota.KindEnded, rota.KindNotFound, rota.KindConflict, rota.KindNoFit:
		return true
	case rota.KindInvalid, rota.KindTooLarge:
		task := it.item.Task.String()
		if it.stripped || it.item.Outcome == nil {
			c.warn("the cluster refuses a report for good", "task", task, "kind", k.String())
			return true
		}
		c.warn("the cluster refused a report; its outcome is replaced", "task", task, "kind", k.String())
		it.stripped = true
		it.item.Outcome = replaced(it.item.Outcome, k)
		return false
	case rota.KindFormat, rota.KindNoLeader, rota.KindUnknown, rota.KindOverloaded, rota.KindUnavailable, rota.KindUnauthorized:
	}
	return false
}

// replaced is the outcome that stands for one which the cluster refused.
func replaced(o *rota.Outcome, k rota.Kind) *rota.Outcome {
	out := &rota.Outcome{Cause: rota.CauseInternal, ExitCode: o.ExitCode, Ran: o.Ran, Usage: o.Usage, DroppedBytes: o.DroppedBytes}
	if len(o.Output) > 0 {
		out.Cause = rota.CauseInvalidOutput
	}
	out.Message = "the cluster refused the report of this attempt: " + k.String()
	return out
}
