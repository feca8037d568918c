package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupGroup holds an attempt in a v2 cgroup of its own. When nothing is alive in
// it the cgroup goes to the pool, to hold another attempt later; but one that was
// hit by cgroup.kill is removed: on Linux 6.18 it kills every later child that is
// created into it. (Source: RELIABILITY.md, section 4.)
type cgroupGroup struct {
	pool *cgroupPool // nil: the cgroup is removed
	name string
	used bool // another attempt was in the cgroup before

	// mu is held while the cgroup is acted on, so that nothing meant for this attempt
	// reaches the next one. It guards all below.
	mu     sync.Mutex
	dir    string // empty: nothing of the attempt is alive, and the cgroup may be another's
	fd     int
	pid    int
	killed bool
}

func newCgroupGroup(dir, mark string) (*cgroupGroup, error) {
	if err := os.Mkdir(dir, 0o755); err != nil { // one that exists is an error
		return nil, err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	return &cgroupGroup{dir: dir, fd: fd, name: mark}, nil
}

func (g *cgroupGroup) mark() string { return g.name }

func (g *cgroupGroup) again() bool { return g.used }

func (g *cgroupGroup) prepare(a *syscall.SysProcAttr) { a.UseCgroupFD, a.CgroupFD = true, g.fd }

func (g *cgroupGroup) started(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pid = pid
	g.closeFD()
}

func (g *cgroupGroup) reaped() {}

func (g *cgroupGroup) closeFD() {
	if g.fd >= 0 {
		_ = unix.Close(g.fd)
		g.fd = -1
	}
}

func (g *cgroupGroup) discard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeFD()
	if g.dir != "" {
		_ = unix.Rmdir(g.dir)
		g.dir = ""
	}
}

// signal reaches the process group at once and then whatever left it.
func (g *cgroupGroup) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir == "" {
		return
	}
	_ = syscall.Kill(-g.pid, sig) // it may have ended
	for _, pid := range cgroupMembers(g.dir) {
		if pgid, err := syscall.Getpgid(pid); err == nil && pgid != g.pid {
			_ = syscall.Kill(pid, sig) // it may have ended
		}
	}
}

func (g *cgroupGroup) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dir != "" {
		g.killed = true
		killCgroup(g.dir)
	}
}

func (g *cgroupGroup) quick() bool { return true }

func (g *cgroupGroup) empty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.dir == "":
		return true
	case g.pool != nil && !g.killed && asNew(g.dir) && g.pool.put(g.dir), removeCgroup(g.dir):
		g.dir = ""
		return true
	}
	return false
}

// asNew reports whether a cgroup is as it was made: nothing alive, not frozen, no
// cgroup below it.
func asNew(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	if err != nil || string(b) != "populated 0\nfrozen 0\n" {
		return false
	}
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Nlink == 2
}

// maxPool bounds the cgroups that wait for an attempt.
const maxPool = 64

// cgroupPool holds cgroups whose attempts have ended. To make one and to remove it
// costs as much as to start a process in one that is there.
type cgroupPool struct {
	mu   sync.Mutex // guards free
	free []pooled
}

type pooled struct {
	dir string
	fd  int
}

// put takes a cgroup in; false: the caller keeps it.
func (p *cgroupPool) put(dir string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) >= maxPool {
		return false
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	p.free = append(p.free, pooled{dir: dir, fd: fd})
	return true
}

// get makes a group of one that waits; nil: none does.
func (p *cgroupPool) get(mark string) *cgroupGroup {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return nil
	}
	it := p.free[n-1]
	p.free = p.free[:n-1]
	return &cgroupGroup{pool: p, dir: it.dir, fd: it.fd, name: mark, used: true}
}

// drop forgets all of them; whoever removes the keeper's own group removes them.
func (p *cgroupPool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, it := range p.free {
		_ = unix.Close(it.fd)
	}
	p.free = nil
}

// freshCgroup makes a cgroup for one attempt.
func (t *tree) freshCgroup(n, mark string) (*cgroupGroup, error) {
	g, err := newCgroupGroup(filepath.Join(t.cgroup, n), mark)
	if errors.Is(err, os.ErrNotExist) { // somebody tidied up: while it is empty, anybody can
		if err := t.remake(); err != nil {
			return nil, err
		}
		g, err = newCgroupGroup(filepath.Join(t.cgroup, n), mark)
	}
	if err != nil {
		return nil, err
	}
	g.pool = &t.pool
	return g, nil
}
