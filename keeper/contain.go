package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfExe is this program, also after its file was replaced.
const selfExe = "/proc/self/exe"

// contain finds the strongest containment there is, trying each means on a
// throw-away child, and makes the tree that uses it.
func contain(cfg *MainConfig, id string) (*tree, Containment) {
	c := Containment{Level: LevelNone, PerTask: "mark", Why: cfg.Why}
	t := &tree{id: id, hold: -1, groups: map[*markGroup]bool{}}
	allowed := func(l Level) bool {
		return cfg.Level == "" || slices.Index(Levels(), cfg.Level) <= slices.Index(Levels(), l)
	}
	if cfg.Level == LevelNone {
		c.Why = append(c.Why, "subreaper: the level is set to none")
	} else if err := subreaper(); err != nil {
		c.Why = append(c.Why, "subreaper: "+err.Error())
	} else {
		c.Level, t.walk = LevelSubreaper, true
	}
	inNS := cfg.InNS && os.Getpid() == 1
	if inNS {
		c.Level, t.walk = LevelPIDNS, true
		if err := mountProc(); err != nil {
			c.Why = append(c.Why, "own /proc: "+err.Error())
		} else {
			c.Proc = true
		}
		dropCapabilities()
	}
	if !allowed(LevelCgroup) {
		c.Why = append(c.Why, "cgroup: the level is set to "+string(cfg.Level))
		return t, c
	}
	dir, err := findCgroup(id, probeCgroup)
	if err != nil {
		c.Why = append(c.Why, "cgroup: "+err.Error())
		return t, c
	}
	if t.hold, err = holdCgroup(dir); err != nil {
		removeCgroup(dir)
		c.Why = append(c.Why, "cgroup: "+err.Error())
		return t, c
	}
	t.cgroup, c.PerTask = dir, "cgroup"
	if !inNS {
		c.Level = LevelCgroup
	}
	return t, c
}

// mountProc gives the tasks a /proc of their own PID namespace: ps, pkill and
// /proc/$$ mean what they say. The mount namespace is the keeper's own; mounts of
// the host still arrive in it.
func mountProc() error {
	// Without this the new mount could appear on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separate the mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// dropCapabilities keeps what nsAttr gave from the tasks. The set is each thread's
// own; with cgo (the race detector) it cannot be cleared, and tasks hold a
// capability in a user namespace that they could have made themselves.
func dropCapabilities() {
	_, _, _ = syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0)
}

var errProbe = errors.New("a throw-away child did not end well")

// probeCgroup starts a child in a fresh group below dir, ends the group and
// removes it: everything that an attempt's group must be able to do.
func probeCgroup(dir string) error {
	g, err := newCgroupGroup(filepath.Join(dir, "probe"), "")
	if err != nil {
		return err
	}
	defer g.discard()
	attr := &syscall.ProcAttr{Env: os.Environ(), Sys: &syscall.SysProcAttr{Setpgid: true}}
	g.prepare(attr.Sys)
	cfg := MainConfig{Probe: true}
	pid, err := syscall.ForkExec(selfExe, append([]string{selfExe}, cfg.args()...), attr)
	if err != nil {
		return fmt.Errorf("start a child in a cgroup: %w", err)
	}
	var ws syscall.WaitStatus
	for {
		_, err = syscall.Wait4(pid, &ws, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("wait for a child in a cgroup: %w", err)
	}
	if !ws.Exited() || ws.ExitStatus() != 0 {
		return fmt.Errorf("%w: wait status %#x", errProbe, uint32(ws))
	}
	return nil
}

// nsAttr is how the keeper is started as the init of a PID namespace: as root, or
// in a user namespace that maps this user to itself.
func nsAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// A user that is not 0 inside loses its capabilities when it executes the
		// keeper, but for these. (Source: RELIABILITY.md, section 4.)
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	return attr
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
