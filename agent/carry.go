package agent

import (
	"context"
	"time"

	"github.com/rota-sched/rota"
)

// carryOut begins an action; it never waits.
func (a *Agent) carryOut(ctx context.Context, act Action) {
	switch act := act.(type) {
	case StartTask:
		a.starts.push(start{task: a.taskOf(act.Assignment), before: act.Before})
	case AdoptTask:
		a.starts.push(start{task: act.Task, adopt: true})
	case StopTask:
		a.wg.Go(func() { a.stop(ctx, act) })
	case Ack:
		a.acks.push(act.Refs...)
	case Extend:
		a.offer(act.Lease)
	case OpenStream:
		a.closeStream()
		var sctx context.Context
		sctx, a.cancelStream = context.WithCancel(ctx)
		a.stream = act.Stream
		a.wg.Go(func() { a.follow(ctx, sctx, act) })
	case CloseStream:
		if act.Stream == a.stream {
			a.closeStream()
		}
	case Say:
		if act.Warn {
			a.log.Warn(act.Text, act.Pairs...)
		} else {
			a.log.Info(act.Text, act.Pairs...)
		}
	case KillKeeper:
		if err := a.cfg.Keeper.Kill(); err != nil {
			a.log.Warn("cannot kill the keeper", "error", err)
		}
	case Greet, Register, Renew, Poll, Probe, TellFitness, SendReport, Release, AnnounceLeave:
		a.call(ctx, act)
	case Done:
	}
}

// call carries out an action that asks somebody, and posts the answer.
func (a *Agent) call(ctx context.Context, act Action) {
	limit := a.cfg.Call
	if _, ok := act.(Renew); ok {
		limit = a.core.RenewTimeout()
	}
	if _, ok := act.(Poll); ok {
		// A server that does not answer takes all the time that there is, and a poll
		// over Times.Poll counts nothing.
		limit = a.cfg.Core.Times.Poll * 3 / 4
	}
	if _, ok := act.(AnnounceLeave); ok {
		// The agent may be done before the keeper has heard that it goes on purpose,
		// and the keeper would end its tasks.
		ctx = context.WithoutCancel(ctx)
	}
	a.wg.Go(func() {
		cctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if ev := a.answer(cctx, act); ev != nil {
			a.post(ctx, ev)
		}
	})
}

func (a *Agent) answer(ctx context.Context, act Action) Event {
	p, k := a.cfg.Peers, a.cfg.Keeper
	switch act := act.(type) {
	case Greet:
		return a.greet(ctx)
	case Register:
		s, err := p.Register(ctx, act.Node)
		return Registered{Sent: act.Sent, Session: s, Err: err}
	case Renew:
		r, err := p.Renew(ctx, act.Session)
		return Renewed{Session: act.Session, Sent: act.Sent, Renewal: r, Err: err}
	case Poll:
		contacts, err := p.Contacts(ctx)
		return Polled{Sent: act.Sent, Contacts: contacts, Err: err}
	case Probe:
		return Probed{Err: a.probe(ctx)}
	case TellFitness:
		return FitnessTold{Session: act.Session, Why: act.Why, Err: p.MarkUnfit(ctx, act.Session, act.Why)}
	case SendReport:
		answers, err := p.Report(ctx, act.Report)
		return Reported{Batch: act.Batch, Answers: answers, Err: err}
	case Release:
		return Released{Err: p.Release(ctx, act.Session, act.Left, act.Items)}
	case AnnounceLeave:
		if err := k.Leave(ctx); err != nil {
			a.log.Warn("cannot announce the stop to the keeper", "error", err)
		}
	default:
	}
	return nil
}

// greet asks the keeper what it holds and reads the records of that.
func (a *Agent) greet(ctx context.Context) Event {
	kept, err := a.cfg.Keeper.Hello(ctx)
	if err != nil {
		return Greeted{Err: err}
	}
	tasks := make([]Task, len(kept.Attempts))
	for i := range kept.Attempts {
		tasks[i], err = a.cfg.Layout.LoadTask(kept.Attempts[i].Ref)
		if err != nil {
			a.log.Warn("cannot read what an attempt was", "error", err)
		}
	}
	return Greeted{Kept: kept, Tasks: tasks}
}

// taskOf completes an assignment with what the node knows.
func (a *Agent) taskOf(t rota.Assignment) Task {
	return Task{
		Assignment: t, Node: a.cfg.Core.Node.Info.ID, NodeName: a.cfg.Core.Node.Info.Name, Addr: a.cfg.Addr,
		Dir: a.cfg.Layout.Attempt(t.Task, t.Fence.Attempt()),
	}
}

func (a *Agent) closeStream() {
	if a.cancelStream != nil {
		a.cancelStream()
		a.cancelStream = nil
	}
}

// follow reads one stream of views until it ends. The first view must come within
// the time of a call.
func (a *Agent) follow(ctx, sctx context.Context, act OpenStream) {
	sctx, cancel := context.WithCancel(sctx)
	defer cancel()
	first := time.AfterFunc(a.cfg.Call, cancel)
	defer first.Stop()
	s, err := a.cfg.Peers.Stream(sctx, act.Session, act.Incarnation, act.Index)
	if err == nil {
		for {
			var v *rota.View
			if v, err = s.Recv(); err != nil {
				break
			}
			first.Stop()
			a.post(sctx, Viewed{Stream: act.Stream, View: v})
		}
		if cerr := s.Close(); cerr != nil {
			a.log.Debug("close the stream", "error", cerr)
		}
	}
	a.post(ctx, StreamEnded{Stream: act.Stream, Err: err})
}

// offer replaces the lease that the keeper is to be told of next.
func (a *Agent) offer(l Lease) {
	select {
	case <-a.leases:
	default:
	}
	a.leases <- l // its one place is free: only Run offers
}

func (a *Agent) leaseLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-a.leases:
			cctx, cancel := context.WithTimeout(ctx, a.cfg.Core.Times.Renew)
			err := a.cfg.Keeper.Extend(cctx, l)
			cancel()
			a.post(ctx, Extended{Lease: l, Err: err})
		}
	}
}

// maxAcks bounds the attempts of one acknowledgement.
const maxAcks = 1024

func (a *Agent) ackLoop(ctx context.Context) {
	for {
		refs := a.acks.take(ctx, maxAcks)
		if refs == nil {
			return
		}
		cctx, cancel := context.WithTimeout(ctx, a.cfg.Call)
		err := a.cfg.Keeper.Ack(cctx, refs)
		cancel()
		if err != nil {
			a.log.Debug("acknowledge exits", "error", err) // named again at the next hello
			continue
		}
		for _, d := range a.cfg.Drivers {
			if f, ok := d.(Forgetter); ok {
				f.Forget(refs)
			}
		}
	}
}
