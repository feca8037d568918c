package leader

import (
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// late has the late expressions of tasks evaluated whose dependencies are over.
// (Source: JOBSPEC.md, section 1, 4.)
type late struct {
	tasks    map[rota.TaskID]*lateTask
	queue    []*lateTask // to be evaluated, first come first served
	again    []*lateTask // to be evaluated once more, not before notYet
	running  int         // evaluations
	resolves int         // operations in flight
	done     []*lateTask // evaluated, to be proposed
}

type lateTask struct {
	task    *rota.Task
	resolve rota.Resolve
	notYet  time.Duration // of an evaluation that failed
	stage   lateStage
}

type lateStage uint8

const (
	lateQueued lateStage = iota
	lateRunning
	lateDone
	lateOver // not wanted any more
)

// retryEvaluation is the pause after an evaluation that could not be tried.
const retryEvaluation = time.Second

func (l *late) load(sn *fsm.Snapshot) {
	l.tasks = map[rota.TaskID]*lateTask{}
	for t := range sn.Unresolved() {
		l.observe(t)
	}
}

func (l *late) observe(t *rota.Task) {
	x := l.tasks[t.ID]
	wanted := t.Status == rota.StatusCreated && t.OpenDeps == 0 && len(t.Spec.Late) > 0
	switch {
	case !wanted && x != nil:
		x.stage = lateOver
		delete(l.tasks, t.ID)
	case wanted && x == nil:
		x = &lateTask{task: t}
		l.tasks[t.ID] = x
		l.queue = append(l.queue, x)
	case wanted:
		x.task = t
	}
}

func (c *Core) driveLate(now Now) {
	l := &c.late
	for len(l.again) > 0 && l.again[0].notYet <= now.Mono {
		l.queue = append(l.queue, l.again[0])
		l.again = l.again[1:]
	}
	for len(l.queue) > 0 && l.running < c.cfg.Evaluations {
		x := l.queue[0]
		l.queue = l.queue[1:]
		if x.stage != lateQueued {
			continue
		}
		x.stage = lateRunning
		l.running++
		c.act(Evaluate{Task: x.task})
	}
	for len(l.done) > 0 && l.resolves < c.cfg.Resolves {
		x := l.done[0]
		l.done = l.done[1:]
		if x.stage == lateDone {
			c.proposeResolve(x)
		}
	}
}

// evaluated takes in what became of an Evaluate action.
func (c *Core) evaluated(ev Evaluated, now Now) {
	l := &c.late
	l.running--
	x := l.tasks[ev.Task]
	if x == nil || x.stage != lateRunning {
		return
	}
	if ev.Failed {
		x.stage, x.notYet = lateQueued, now.Mono+retryEvaluation
		l.again = append(l.again, x)
		return
	}
	x.stage, x.resolve = lateDone, ev.Resolve
	x.resolve.Task = ev.Task
	l.done = append(l.done, x)
}

func (c *Core) proposeResolve(x *lateTask) {
	l := &c.late
	l.resolves++
	c.propose(x.resolve, func(d ProposalDone, _ Now) {
		l.resolves--
		switch {
		case x.stage != lateDone:
		case d.Failed:
			l.done = append(l.done, x)
		case (d.Result.Kind == rota.KindInvalid || d.Result.Kind == rota.KindTooLarge) && x.resolve.Failure == "":
			x.resolve = rota.Resolve{Task: x.resolve.Task, Failure: "the evaluated task was refused: " + d.Result.Detail}
			l.done = append(l.done, x)
		}
	})
}

// wake is when the first evaluation that failed may be tried again.
func (l *late) wake() (time.Duration, bool) {
	if len(l.again) == 0 {
		return 0, false
	}
	return l.again[0].notYet, true
}
