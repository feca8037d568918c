package sim

import (
	"time"

	"github.com/rota-sched/rota"
)

// machine is a host: a boot-time clock, a disk, and what runs on it.
type machine struct {
	w      *World
	id     rota.NodeID
	name   string
	server bool
	// drift is the error of its clock's rate, in thousandths.
	drift  int64
	bootAt moment
	boots  int
	reads  uint16 // newest format that its program knows

	node   *program // the node's process: server and agent
	keeper *keeperSide
	agent  *agentSide
	disk   *disk // the server's
	lost   bool  // the machine is off
	leaves bool  // its planned stop is for good
	left   bool  // it was taken away for good
	shut   bool  // its door answers nobody: Raft goes on, and what it passes on
	// records are the attempts' records on its disk.
	records map[attemptRef]taskRecord
}

// up reports whether the node's process lives and is not stopped.
func (m *machine) up() bool { return m.node != nil && !m.node.dead && !m.node.stopped }

// bootClock is the machine's boot-time clock. It starts at an hour, so that no
// moment is zero.
func (m *machine) bootClock() time.Duration {
	return time.Hour + time.Duration(int64(m.w.now-m.bootAt)/1000*(1000+m.drift))
}

// trueUntil is how long it really takes until the clock shows the moment.
func (m *machine) trueUntil(at time.Duration) time.Duration {
	d := at - m.bootClock()
	if d <= 0 {
		return 0
	}
	return (d/time.Duration(1000+m.drift) + 1) * 1000
}

// program is one life of a process. What is sent to it after its death is lost;
// what is sent to it while it is stopped waits.
type program struct {
	m       *machine
	of      *program // the process it is a part of, and shares the fate of
	replica *replica // of a node's process that is a server
	dead    bool
	stopped bool
	waiting []func()
}

// do has the process do something now, or when it goes on.
func (p *program) do(f func()) {
	switch {
	case p.dead:
	case p.of != nil && (p.of.dead || p.of.stopped):
		p.of.do(func() { p.do(f) })
	case p.stopped:
		p.waiting = append(p.waiting, f)
	default:
		f()
	}
}

// gone reports whether it is dead, or what it is a part of.
func (p *program) gone() bool { return p.dead || p.of != nil && p.of.dead }

// later has it do something after a while.
func (p *program) later(d time.Duration, f func()) {
	p.m.w.after(d, func() { p.do(f) })
}

// stop stops the process (SIGSTOP), resume lets it go on.
func (p *program) stop() { p.stopped = true }

func (p *program) resume() {
	p.stopped = false
	waiting := p.waiting
	p.waiting = nil
	for _, f := range waiting {
		p.do(f)
	}
}

// alarm wakes a core: it is set to a moment on the machine's clock, and only its
// newest setting counts.
type alarm struct {
	p   *program
	set uint64
	at  time.Duration
	on  bool
}

func (a *alarm) arm(at time.Duration, on bool, ring func()) {
	if on == a.on && (!on || at == a.at) {
		return
	}
	a.set++
	a.at, a.on = at, on
	if !on {
		return
	}
	set := a.set
	a.p.later(a.p.m.trueUntil(at), func() {
		if a.set == set {
			a.on = false
			ring()
		}
	})
}
