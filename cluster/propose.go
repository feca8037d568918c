package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

const (
	longestWait = 30 * time.Second      // where a caller's context has no deadline
	lookAgain   = 20 * time.Millisecond // for a leader, where no event says so
)

// Propose has an operation replicated and gives the state machine's result, on
// whichever node it is called. A refusal by the state machine is a result, not an
// error. The error's kind is KindNoLeader if no leader took the operation before
// ctx ended, KindUnknown if one did and its fate is not known: no answer came in time,
// or another node was elected before it did. (An operation that may be applied twice is
// sent again while ctx lasts, to the next leader.) KindOverloaded or
// KindTooLarge if it was never sent. To read your own write on this node, Await
// the result's index.
func (c *Cluster) Propose(ctx context.Context, cmd rota.Command) (rota.Result, error) {
	raw := fsm.AppendCommand(nil, &cmd)
	if len(raw) > MaxOpBytes {
		return rota.Result{}, &rota.Refusal{Kind: rota.KindTooLarge, Detail: fmt.Sprintf(
			"the operation has %d bytes, one may have %d (2 MiB): send it in parts", len(raw), MaxOpBytes)}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	again := mayRepeat(cmd)
	var doubt error // an earlier try whose fate is not known
	res, err := retry(ctx, c, func() (rota.Result, error) {
		res, err := c.way().through(ctx, newProposal(cmd, raw))
		if rota.KindOf(err) == rota.KindUnknown {
			doubt = err
			if again {
				return res, errNotProposed
			}
		}
		return res, err
	})
	if err != nil && doubt != nil {
		return res, doubt
	}
	return res, err
}

// way is where proposals of this node go: into its own log, or to the leader.
type way struct {
	queue *queue
	own   *reign // nil: to another leader
}

func (c *Cluster) way() way {
	if re, _ := c.current(); re != nil {
		return way{re.queue, re}
	}
	return way{queue: c.away}
}

// through sends a proposal on its way and waits for its answer.
func (w way) through(ctx context.Context, p *proposal) (rota.Result, error) {
	if err := w.queue.add(p); err != nil {
		return rota.Result{}, err
	}
	a := w.answerOf(ctx, p)
	return a.result, a.err
}

// answerOf waits for the answer to a proposal on its way, but no longer than the reign
// that it was to enter the log in: while the disk hangs Raft answers nothing.
func (w way) answerOf(ctx context.Context, p *proposal) answer {
	var over <-chan struct{}
	if w.own != nil {
		over = w.own.over
	}
	doubt := "the operation is on its way, but nobody said in time whether it took effect"
	select {
	case a := <-p.done:
		return a
	case <-over:
		doubt = "the operation was on its way into the log when this node stopped leading, and whether it took effect is not known"
	case <-ctx.Done():
	}
	if w.queue.withdraw(p) {
		if w.own == nil {
			return answer{err: errNotProposed}
		}
		return answer{err: &rota.Refusal{Kind: rota.KindOverloaded, Detail: "the operation waited in vain for its turn to enter the log: try again in a moment"}}
	}
	select {
	case a := <-p.done:
		return a
	default:
		return answer{err: &rota.Refusal{Kind: rota.KindUnknown, Detail: doubt}}
	}
}

// bounded gives every wait an end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, longestWait)
}

// retry calls f until it does something other than finding no leader.
func retry[T any](ctx context.Context, c *Cluster, f func() (T, error)) (T, error) {
	for {
		_, shift := c.current()
		v, err := f()
		if !errors.Is(err, errNotProposed) {
			return v, err
		}
		if !c.lookOut(ctx, shift) {
			return v, &rota.Refusal{Kind: rota.KindNoLeader, Detail: "no node leads the cluster, or none could be reached in time: " + ctx.Err().Error()}
		}
	}
}

// mayRepeat reports whether an operation whose fate is unknown may be sent again
// without the caller's asking: if it did take effect, the second time changes nothing,
// whatever happened in between. A submission names its key, a report its session and
// fence. Registering would begin a second session, and a second cancel would hear that
// it has ended already. A drain or a stored job that comes a second time would undo the
// undrain, or hide the newer version, that somebody else made after the first: whoever
// asked is to look first.
func mayRepeat(cmd rota.Command) bool {
	switch cmd.Op.(type) {
	case rota.SubmitRun:
		return cmd.RequestID != ""
	case rota.Report:
		return true
	default:
		return false
	}
}
