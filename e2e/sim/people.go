package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// people submit runs until they are acknowledged, cancel some, and answer tasks
// that wait for them.
type people struct {
	w    *World
	sent int
	open map[rota.RunID]bool // not acknowledged yet
	done int                 // submissions that are acknowledged
}

func (p *people) begin() {
	for range p.w.cfg.Runs {
		p.sent++
		op := p.draft(p.sent)
		p.open[op.Run] = true
		p.w.after(p.w.between(2*time.Second, max(3*time.Second, p.w.cfg.Faults*2/3)), func() { p.submit(op) })
		if p.w.chance(25) {
			p.w.after(p.w.between(5*time.Second, max(6*time.Second, p.w.cfg.Faults)), func() { p.cancel(op) })
		}
	}
	p.w.after(3*time.Second, p.answer)
}

func (p *people) idle() bool { return len(p.open) == 0 }

// somebody is a process outside that lives as long as a machine's name.
func (p *people) somebody() *program {
	return &program{m: p.w.machines[p.w.rng.IntN(len(p.w.machines))]}
}

// submit sends a run with its idempotency key, again and again until it is
// acknowledged.
func (p *people) submit(op rota.SubmitRun) {
	cmd := rota.Command{RequestID: "key-" + string(op.Run), Namespace: "default", Principal: "people", Op: op}
	p.w.command(p.somebody(), cmd, 2*time.Second, func(res rota.Result, err error) {
		switch rota.KindOf(err) { // the rest says that it is refused for good
		case rota.KindNone:
			delete(p.open, op.Run)
			p.done++
			p.w.check.acknowledged(op, res)
		case rota.KindNoLeader, rota.KindUnknown, rota.KindUnavailable, rota.KindOverloaded:
			p.w.after(p.w.between(50*time.Millisecond, time.Second), func() { p.submit(op) })
		default:
			p.w.broken(kept, "run %s is refused: %v", op.Run, err)
		}
	})
}

func (p *people) cancel(op rota.SubmitRun) {
	var what rota.Op = rota.CancelRun{Run: op.Run, Reason: "not wanted"}
	if p.w.chance(70) {
		key := op.Tasks[p.w.rng.IntN(len(op.Tasks))].Key
		what = rota.CancelTask{Task: rota.TaskID{Run: op.Run, Key: key}, Reason: "not wanted"}
	}
	p.w.command(p.somebody(), rota.Command{Op: what}, 2*time.Second, func(rota.Result, error) {})
}

// answer settles, now and then, tasks whose outcome is unknown.
func (p *people) answer() {
	for _, id := range p.w.check.waiting() {
		op := rota.Answer{Task: id, Rerun: p.w.chance(80)}
		p.w.command(p.somebody(), rota.Command{Op: op}, 2*time.Second, func(rota.Result, error) {})
	}
	p.w.after(2*time.Second, p.answer)
}

// draft invents a run: some tasks, some edges, some bad habits.
func (p *people) draft(n int) rota.SubmitRun {
	w := p.w
	op := rota.SubmitRun{
		Run: rota.RunID(fmt.Sprintf("01J%s%04d00", strings.Repeat("0", 17), n)), Job: "work", Hash: "h1", Filename: "sim.hcl", Source: []byte("job"),
		Digest: fmt.Sprintf("d%d", n),
	}
	if w.chance(20) {
		op.OnTaskFailure = rota.FailureCancel
	}
	op.Total = 2 + w.rng.IntN(10)
	for i := range op.Total {
		t := rota.NewTask{Key: rota.TaskKey(fmt.Sprintf("t%02d", i)), Spec: i}
		for j := range i {
			if w.chance(25) {
				kind := rota.EdgeDelivered
				if w.chance(30) {
					kind = rota.EdgeAny
				}
				t.DependsOn = append(t.DependsOn, rota.Edge{On: rota.TaskKey(fmt.Sprintf("t%02d", j)), Kind: kind})
			}
		}
		op.Tasks = append(op.Tasks, t)
		op.Specs = append(op.Specs, p.spec(len(t.DependsOn) > 0))
	}
	return op
}

func (p *people) spec(dependent bool) *rota.TaskSpec {
	w := p.w
	lasts := w.between(5*time.Millisecond, 3*time.Second)
	if w.chance(30) {
		lasts = w.between(5*time.Second, 25*time.Second)
	}
	wellFrom := 0
	if w.chance(20) {
		wellFrom = 2
	}
	s := &rota.TaskSpec{
		Driver: rota.DriverExec, Priority: w.rng.IntN(101), Command: behave(lasts, wellFrom, w.chance(40), w.chance(10)),
		Resources: rota.Resources{CPUMilli: 250 * int64(1+w.rng.IntN(6)), MemoryBytes: int64(w.rng.IntN(3)) << 29},
		Retry:     rota.Retry{MaxAttempts: 1 + w.rng.IntN(4), Backoff: rota.BackoffExponential, Initial: 500 * time.Millisecond, Max: 5 * time.Second, MultiplierMilli: 2000, Jitter: true},
		Stop:      rota.Stop{Signal: "SIGTERM", Grace: 2 * time.Second},
	}
	switch w.rng.IntN(13) {
	case 9, 10:
		s.Timeouts.ScheduleToStart = w.between(200*time.Millisecond, 2*time.Second)
		s.Retry.Initial = 0
	case 0:
		s.Driver = rota.DriverNoop
	case 1:
		s.Rerun = rota.RerunAsk
	case 2:
		s.Rerun = rota.RerunNever
	case 3:
		s.Timeouts.StartToClose = w.between(500*time.Millisecond, 5*time.Second)
	case 4:
		s.Timeouts.ScheduleToClose = w.between(5*time.Second, 40*time.Second)
	case 5:
		s.Resources.GPU = rota.GPUDemand{Count: 1, ShareMilli: 400}
	case 6:
		s.Resources.GPU = rota.GPUDemand{Count: 2}
	case 7:
		s.AllowFailure = true
	case 8:
		if dependent {
			s.Late = []string{"command"}
		}
	}
	return s
}
