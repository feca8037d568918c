package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupDirPrefix begins the name of a keeper's own cgroup; its id follows.
const cgroupDirPrefix = "rota-keeper-"

// cgroupGroup holds an attempt in a fresh v2 cgroup. Its removal refuses while
// anything in it is alive, which is the test for emptiness. A group is never used
// again: on Linux 6.18 one that was ever hit by cgroup.kill kills every later
// child that is created into it. (Source: RELIABILITY.md, section 4.)
type cgroupGroup struct {
	dir  string
	fd   int
	pid  int
	name string
}

func newCgroupGroup(dir, mark string) (*cgroupGroup, error) {
	err := os.Mkdir(dir, 0o755) // one that exists is an error
	if errors.Is(err, os.ErrNotExist) {
		// Somebody tidied the keeper's own group away while it was empty.
		if err = os.Mkdir(filepath.Dir(dir), 0o755); err == nil || errors.Is(err, os.ErrExist) {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if err != nil {
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

func (g *cgroupGroup) prepare(a *syscall.SysProcAttr) { a.UseCgroupFD, a.CgroupFD = true, g.fd }

func (g *cgroupGroup) started(pid int) {
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
	g.closeFD()
	_ = unix.Rmdir(g.dir)
}

// signal reaches the process group at once and then whatever left it.
func (g *cgroupGroup) signal(sig syscall.Signal) {
	_ = syscall.Kill(-g.pid, sig) // it may have ended
	for _, pid := range g.members() {
		if pgid, err := syscall.Getpgid(pid); err == nil && pgid != g.pid {
			_ = syscall.Kill(pid, sig) // it may have ended
		}
	}
}

func (g *cgroupGroup) kill() { killCgroup(g.dir) }

func (g *cgroupGroup) quick() bool { return true }

func (g *cgroupGroup) empty() bool { return removeCgroup(g.dir) }

func (g *cgroupGroup) members() []int { return cgroupMembers(g.dir) }

func cgroupMembers(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for line := range bytes.Lines(b) {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(line))); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killCgroup ends everything in the group; before Linux 5.14 process by process.
func killCgroup(dir string) {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0); err == nil || errors.Is(err, os.ErrNotExist) && !exists(dir) {
		return
	}
	for range 10 {
		pids := cgroupMembers(dir)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		if len(pids) == 0 {
			return
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// removeCgroup removes an empty group, with the groups a task may have made in it;
// false: something in it is alive.
func removeCgroup(dir string) bool {
	err := unix.Rmdir(dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return true
	}
	if b, readErr := os.ReadFile(filepath.Join(dir, "cgroup.events")); readErr != nil || !bytes.Contains(b, []byte("populated 0")) {
		return false
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	for _, e := range entries {
		if e.IsDir() && !removeCgroup(filepath.Join(dir, e.Name())) {
			return false
		}
	}
	err = unix.Rmdir(dir)
	return err == nil || errors.Is(err, unix.ENOENT)
}

// findCgroup makes the keeper's own cgroup, where a throw-away child lives: below
// the group it is in itself, else below the root of the mount.
func findCgroup(id string, probe func(dir string) error) (string, error) {
	mount, err := cgroupMount()
	if err != nil {
		return "", err
	}
	own, err := ownCgroup()
	if err != nil {
		return "", err
	}
	tries := []string{filepath.Join(mount, own)}
	if own != "/" {
		tries = append(tries, mount)
	}
	var firstErr error
	for _, base := range tries {
		dir := filepath.Join(base, cgroupDirPrefix+id)
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			if err = probe(dir); err == nil {
				return dir, nil
			}
			removeCgroup(dir)
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return "", firstErr
}

func cgroupMount() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(b) {
		before, after, ok := strings.Cut(string(line), " - ")
		if fields := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup2 file system is mounted")
}

func ownCgroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(b) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "0::"); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("no v2 cgroup in /proc/self/cgroup: %w", os.ErrNotExist)
}
