package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// ProposeMany is Propose for many commands at once: they wait for the log together
// and travel to the leader in as few messages as MaxBatch allows, instead of one
// goroutine each. Each command has its own answer; errors[i] is as that of Propose.
func (c *Cluster) ProposeMany(ctx context.Context, cmds []rota.Command) ([]rota.Result, []error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	m := &many{results: make([]rota.Result, len(cmds)), errs: make([]error, len(cmds)), doubts: make([]error, len(cmds))}
	open := make([]int, 0, len(cmds))
	raws := make([][]byte, len(cmds))
	for i := range cmds {
		raws[i] = fsm.AppendCommand(nil, &cmds[i])
		if len(raws[i]) > MaxOpBytes {
			m.errs[i] = &rota.Refusal{Kind: rota.KindTooLarge, Detail: fmt.Sprintf(
				"the operation has %d bytes, one may have %d (2 MiB): send it in parts", len(raws[i]), MaxOpBytes)}
			continue
		}
		open = append(open, i)
	}
	for len(open) > 0 {
		_, shift := c.current()
		ps := make([]*proposal, len(open))
		for k, i := range open {
			ps[k] = newProposal(cmds[i], raws[i])
		}
		open = m.wait(ctx, c.way(), ps, open)
		if len(open) > 0 && !c.lookOut(ctx, shift) {
			for _, i := range open {
				m.errs[i] = &rota.Refusal{Kind: rota.KindNoLeader, Detail: "no node leads the cluster, or none could be reached in time: " + ctx.Err().Error()}
			}
			break
		}
	}
	for i, doubt := range m.doubts {
		if m.errs[i] != nil && doubt != nil {
			m.errs[i] = doubt
		}
	}
	return m.results, m.errs
}

// many are the answers to commands that were proposed together.
type many struct {
	results []rota.Result
	errs    []error
	doubts  []error // of earlier tries whose fate is not known
}

// wait sends proposals on their way, at[k] being the place of the k-th, and waits
// for their answers. It returns the places of those to be proposed again.
func (m *many) wait(ctx context.Context, w way, ps []*proposal, at []int) (again []int) {
	refused := w.queue.add(ps...)
	for k, p := range ps {
		i := at[k]
		a := answer{err: refused}
		if refused == nil {
			a = w.answerOf(ctx, p)
		}
		m.results[i], m.errs[i] = a.result, a.err
		switch {
		case a.err == nil:
		case errors.Is(a.err, errNotProposed):
			again = append(again, i)
		case rota.KindOf(a.err) == rota.KindUnknown:
			m.doubts[i] = a.err
			if mayRepeat(p.cmd) {
				again = append(again, i)
			}
		}
	}
	return again
}

// lookOut waits for a change of leadership, or a moment; false: ctx has ended.
func (c *Cluster) lookOut(ctx context.Context, shift <-chan struct{}) bool {
	t := time.NewTimer(lookAgain)
	defer t.Stop()
	select {
	case <-shift:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}
