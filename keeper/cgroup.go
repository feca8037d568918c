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
