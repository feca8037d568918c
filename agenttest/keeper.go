package agenttest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// Keeper holds attempts in memory, as a keeper process does: they outlive the
// agent, and at the deadline it ends them by itself. It implements agent.Keeper;
// Script is the driver whose attempts it holds. One Keeper is the node: after Die
// the next Hello finds a new life.
type Keeper struct {
	Clock       func() agent.BootTime
	Times       rota.LeaseTimes
	Containment string // pidns if empty

	events chan agent.KeeperEvent

	mu     sync.Mutex // guards all below
	life   int
	dead   bool
	silent bool
	lease  agent.Lease
	over   bool
	timer  *time.Timer
	procs  map[agent.Ref]*proc
	begun  map[agent.Ref]int
}

// proc is an attempt that runs, or whose exit was not acknowledged.
type proc struct {
	task    agent.Task
	done    chan struct{} // closed at its end
	lost    chan struct{} // closed when the keeper died
	timer   *time.Timer
	ended   bool
	outcome rota.Outcome
}

// NewKeeper makes a node without attempts. Its clock is time's, so that it keeps
// step with a synctest bubble.
func NewKeeper(times rota.LeaseTimes) *Keeper {
	return &Keeper{
		Clock: Clock(), Times: times, dead: true,
		events: make(chan agent.KeeperEvent, 16), procs: map[agent.Ref]*proc{}, begun: map[agent.Ref]int{},
	}
}

// Clock is a boot-time clock that follows time.Now, from one hour on.
func Clock() func() agent.BootTime {
	start := time.Now()
	return func() agent.BootTime { return agent.BootTime(time.Hour + time.Since(start)) }
}

func (k *Keeper) id() string { return fmt.Sprint("keeper-", k.life) }

// Hello implements agent.Keeper.
func (k *Keeper) Hello(ctx context.Context) (agent.Kept, error) {
	if err := ctx.Err(); err != nil {
		return agent.Kept{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		k.life++
		k.dead, k.silent, k.over, k.lease = false, false, false, agent.Lease{}
	}
	kept := agent.Kept{ID: k.id(), Boot: "boot", Containment: k.Containment, Lease: k.lease, Over: k.over}
	if kept.Containment == "" {
		kept.Containment = "pidns"
	}
	for ref, p := range k.procs {
		kept.Attempts = append(kept.Attempts, agent.KeptAttempt{Ref: ref, Running: !p.ended})
	}
	return kept, nil
}

// Extend implements agent.Keeper.
func (k *Keeper) Extend(ctx context.Context, l agent.Lease) error {
	k.mu.Lock()
	if k.silent || k.dead {
		k.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	defer k.mu.Unlock()
	if k.over && l.Session == k.lease.Session {
		return rota.ErrStale
	}
	if l.Session != k.lease.Session {
		k.over = false
	}
	k.lease = l
	if k.timer != nil {
		k.timer.Stop()
	}
	k.timer = time.AfterFunc(l.Deadline.Add(-k.Times.Kill).Sub(k.Clock()), func() { k.end(l) })
	return nil
}

// end is what a keeper does at D - K. (Everything ends when asked.)
func (k *Keeper) end(l agent.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead || k.over || k.lease != l {
		return
	}
	k.over = true
	k.events <- agent.KeeperEvent{Keeper: k.id(), Kind: agent.KeeperOver}
	for _, p := range k.procs {
		p.finish(rota.Outcome{Cause: rota.CauseNodeLost})
	}
}

// Ack implements agent.Keeper.
func (k *Keeper) Ack(_ context.Context, refs []agent.Ref) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range refs {
		if p := k.procs[r]; p != nil && p.ended {
			delete(k.procs, r)
		}
	}
	return nil
}

// Leave implements agent.Keeper.
func (k *Keeper) Leave(context.Context) error { return nil }

// Kill implements agent.Keeper.
func (k *Keeper) Kill() error {
	k.Die()
	return nil
}

// Events implements agent.Keeper.
func (k *Keeper) Events() <-chan agent.KeeperEvent { return k.events }

// Die ends the keeper and, as in a PID namespace, everything it holds.
func (k *Keeper) Die() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return
	}
	k.dead = true
	if k.timer != nil {
		k.timer.Stop()
	}
	for _, p := range k.procs {
		p.timer.Stop()
		close(p.lost)
	}
	k.procs = map[agent.Ref]*proc{}
	k.events <- agent.KeeperEvent{Keeper: k.id(), Kind: agent.KeeperGone}
}

// Silence lets the keeper hang: it holds what it holds and answers nothing.
func (k *Keeper) Silence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.silent = true
}

// Running is how many attempts run, Begun how often one was started.
func (k *Keeper) Running() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, p := range k.procs {
		if !p.ended {
			n++
		}
	}
	return n
}

// Begun is how often an attempt was started.
func (k *Keeper) Begun(ref agent.Ref) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.begun[ref]
}

// Lease is what the keeper was told last.
func (k *Keeper) Lease() agent.Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease
}

func (p *proc) finish(out rota.Outcome) {
	if p.ended {
		return
	}
	p.timer.Stop()
	p.ended, p.outcome = true, out
	close(p.done)
}
