package sim

import (
	"strconv"
	"syscall"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

type attemptRef = agent.Ref

type taskRecord = agent.Task

// process is what an attempt runs: a command whose arguments say how it behaves.
type process struct {
	w        *World
	m        *machine
	k        *keeperSide
	ref      keeper.Ref
	session  rota.Session
	cpu      int64
	alive    bool // something of it is
	main     bool // its main process is
	orphan   bool // it leaves a child behind
	stubborn bool
}

// behave makes a command: how long it runs, on which attempt it first ends well,
// and whether it ignores SIGTERM or leaves a child behind.
func behave(d time.Duration, wellFrom int, stubborn, orphan bool) []string {
	return []string{"sim", strconv.FormatInt(int64(d), 10), strconv.Itoa(wellFrom), strconv.FormatBool(stubborn), strconv.FormatBool(orphan)}
}

// start begins a process; the keeper hears of its end.
func (k *keeperSide) start(ref keeper.Ref, session rota.Session) *process {
	w := k.m.w
	spec := k.m.records[attemptRef(ref)].Spec
	args := spec.Command
	lasts, _ := strconv.ParseInt(args[1], 10, 64)
	wellFrom, _ := strconv.Atoi(args[2])
	x := &process{
		w: w, m: k.m, k: k, ref: ref, session: session, cpu: spec.Resources.CPUMilli, alive: true, main: true,
		stubborn: args[3] == "true", orphan: args[4] == "true",
	}
	w.check.began(x)
	code := 0
	if ref.Fence.Attempt() < uint64(wellFrom) { //nolint:gosec // small
		code = 3
	}
	w.after(time.Duration(lasts), func() { x.exit(keeper.Exit{Code: code}) })
	return x
}

// exit ends the main process, once.
func (x *process) exit(e keeper.Exit) {
	if !x.main {
		return
	}
	x.main = false
	x.w.check.exited(x, e)
	if !x.orphan {
		x.die()
	}
	x.k.p.do(func() { x.k.step(keeper.Exited{Ref: x.ref, Exit: e}) })
}

// die is the end of everything of it.
func (x *process) die() {
	if x.alive {
		x.alive = false
		x.w.check.gone(x)
	}
}

func (x *process) signal(s syscall.Signal) {
	x.w.check.signals++
	if !x.stubborn {
		x.w.after(x.w.between(time.Millisecond, 300*time.Millisecond), func() {
			x.exit(keeper.Exit{Code: 128 + int(s), Signal: s})
		})
	}
}

// kill ends everything of it within milliseconds.
func (x *process) kill() {
	x.w.after(x.w.between(100*time.Microsecond, 40*time.Millisecond), func() {
		x.orphan = false
		x.exit(keeper.Exit{Code: 137, Signal: syscall.SIGKILL})
		x.die()
	})
}

// vanish ends it with the machine or with the keeper's namespace.
func (x *process) vanish() {
	x.main = false
	x.die()
}
