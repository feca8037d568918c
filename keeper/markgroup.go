package keeper

import (
	"sync"
	"syscall"
)

// markGroup finds an attempt's processes by descent, process group, session and,
// for orphans, by their mark. A process that drops its environment, its session
// and its parents escapes it until no other attempt runs: the last one's end, or
// the keeper's, gets it too.
type markGroup struct {
	tree *tree
	name string

	mu    sync.Mutex // guards all below
	pid   int
	alive bool // the main process is not reaped
	dying bool // SIGKILL was sent
	looks int  // in a row that found nothing
}

func (g *markGroup) mark() string { return g.name }

func (g *markGroup) again() bool { return false }

func (g *markGroup) prepare(*syscall.SysProcAttr) {}

func (g *markGroup) started(pid int) {
	g.mu.Lock()
	g.pid, g.alive = pid, true
	g.mu.Unlock()
	g.tree.note(pid)
}

func (g *markGroup) reaped() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive = false
}

func (g *markGroup) discard() {
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	delete(g.tree.groups, g)
}

func (g *markGroup) main() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pid
}

// signal reaches the process group at once, and soon whatever left it.
func (g *markGroup) signal(sig syscall.Signal) {
	pid := g.main()
	_ = syscall.Kill(-pid, sig) // it may have ended
	g.tree.hunts.Go(func() {
		members, _ := g.tree.members(g)
		for _, p := range members {
			if p.pgid != pid {
				_ = syscall.Kill(p.pid, sig) // it may have ended
			}
		}
	})
}

// killRounds bounds how often a kill looks again for what was forked meanwhile;
// emptiness is asked for again and again anyway.
const killRounds = 5

// kill reaches the process group at once, and soon whatever left it.
func (g *markGroup) kill() {
	g.mu.Lock()
	g.dying = true
	pid := g.pid
	g.mu.Unlock()
	_ = syscall.Kill(-pid, syscall.SIGKILL) // it may have ended
	g.tree.hunts.Go(g.hunt)
}

func (g *markGroup) hunt() {
	for range killRounds {
		members, _ := g.tree.members(g)
		if len(members) == 0 {
			return
		}
		for _, p := range members { // first hold them, so that nothing forks away
			_ = syscall.Kill(p.pid, syscall.SIGSTOP) // it may have ended
		}
		for _, p := range members {
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// How many looks in a row must find nothing: a walk is not of one moment. A process
// that is just executing a program shows no environment for a moment: unless it
// still shows none after many looks, it may be one of the group's.
const (
	looks        = 2
	looksInDoubt = 20
)

// quick reports that the first look costs little enough for the table's lock.
func (g *markGroup) quick() bool { return false }

func (g *markGroup) empty() bool {
	members, doubt := g.tree.members(g)
	need := looks
	if doubt {
		need = looksInDoubt
	}
	g.mu.Lock()
	g.looks++
	if len(members) > 0 {
		g.looks = 0
	}
	empty, dying := g.looks >= need, g.dying
	g.mu.Unlock()
	if empty {
		g.discard()
	} else if dying && len(members) > 0 {
		g.hunt()
	}
	return empty
}
