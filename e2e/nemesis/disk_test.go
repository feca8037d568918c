package nemesis

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDisksAreSlowAndFail spoils the sync calls of nodes while they run.
func TestDisksAreSlowAndFail(t *testing.T) {
	long(t)
	possible(t, "strace")
	if err := tool("strace", "-qq", "-o", "/dev/null", "true"); err != nil {
		t.Skipf("skipped: it takes the right to trace processes: %v", err)
	}
	w := newWorld(t, plan{nodes: 3})
	tl := w.follow(t)
	for _, f := range []fault{
		{name: "leader's fsync +400 ms", hold: 8 * time.Second, do: injected(theLeader, syncs, "delay_enter=400000")},
		{name: "a follower's fsync +400 ms", hold: 8 * time.Second, do: injected(aFollower, syncs, "delay_enter=400000")},
		{name: "everybody's fsync +400 ms", hold: 8 * time.Second, do: injected(everybody, syncs, "delay_enter=400000")},
		{name: "leader's fsync hangs 4 s each", hold: 8 * time.Second, do: injected(theLeader, syncs, "delay_enter=4000000")},
		{name: "leader's fsync fails (EIO)", hold: 4 * time.Second, do: injected(theLeader, syncs, "error=EIO")},
		{name: "writes to the leader's log fail (EIO)", hold: 4 * time.Second, do: injected(theLeader, "pwrite64", "error=EIO")},
		{name: "a follower's fsync fails (EIO)", hold: 4 * time.Second, do: injected(aFollower, syncs, "error=EIO")},
	} {
		w.suffer(t, tl, f)
	}
}

// syncs are the calls that bring a file to the disk.
const syncs = "fsync,fdatasync"

// injected lets system calls of agents be late or fail while a tracer is attached
// to them.
func injected(who func(w *world) []*node, calls, what string) func(w *world) func() {
	return func(w *world) func() {
		var tracers []*exec.Cmd
		for _, n := range who(w) {
			cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", strconv.Itoa(n.cmd.Process.Pid),
				"-e", "trace="+calls, "-e", "inject="+calls+":"+what)
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				w.t.Fatal(err)
			}
			tracers = append(tracers, cmd)
		}
		return func() {
			for _, cmd := range tracers {
				_ = cmd.Process.Signal(syscall.SIGINT) // it detaches; it may have ended with its process
				_ = cmd.Wait()                         // the same
			}
			w.restartEnded(2 * time.Second)
		}
	}
}

// loopDisk gives a node a file system of its own in a file.
func loopDisk(t *testing.T, _ int, dir string) {
	t.Helper()
	image := dir + ".img"
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(96<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mkdir", "-p", dir}, {"mount", "-o", "loop", image, dir}} {
		if err := tool(step[0], step[1:]...); err != nil {
			t.Skipf("skipped: it takes loop devices: %v", err)
		}
	}
	t.Cleanup(func() { _ = tool("umount", "-l", dir) })
}

// smallDisk gives a node a file system of 48 MiB in memory.
func smallDisk(t *testing.T, _ int, dir string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(dir, 0o700), syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m")); err != nil {
		t.Skipf("skipped: it takes the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// TestDisksAreFull: a node without room stops leading, says so, and comes back.
func TestDisksAreFull(t *testing.T) {
	long(t)
	possible(t)
	w := newWorld(t, plan{nodes: 3, disk: smallDisk})
	tl := w.follow(t)
	for _, f := range []fault{
		{name: "leader's disk full", hold: 10 * time.Second, mayFail: true, do: full(theLeader)},
		{name: "a follower's disk full", hold: 8 * time.Second, mayFail: true, do: full(aFollower)},
		{name: "everybody's disk full", hold: 6 * time.Second, mayFail: true, do: full(everybody)},
	} {
		w.suffer(t, tl, f)
	}
}

// full fills the disks of nodes to the last byte and takes the filling away.
func full(who func(w *world) []*node) func(w *world) func() {
	return func(w *world) func() {
		victims := who(w)
		for _, n := range victims {
			f, err := os.Create(filepath.Join(n.dir, "filling"))
			if err != nil {
				w.t.Fatal(err)
			}
			block := make([]byte, 64<<10)
			for err == nil {
				_, err = f.Write(block)
			}
			for block = block[:1]; ; {
				if _, err := f.Write(block); err != nil {
					break
				}
			}
			_ = f.Close()
		}
		return func() {
			for _, n := range victims {
				_ = os.Remove(filepath.Join(n.dir, "filling"))
			}
			w.restartEnded(time.Second)
		}
	}
}

// TestPowerIsCut: the file system is shut down under the nodes without its last
// writes, the processes end, and the nodes start on what the disk has.
func TestPowerIsCut(t *testing.T) {
	long(t)
	possible(t, "mkfs.ext4", "mount", "umount")
	w := newWorld(t, plan{nodes: 3, disk: loopDisk})
	tl := w.follow(t)
	for _, f := range []fault{
		{name: "power cut of the leader", hold: 3 * time.Second, do: unplugged(theLeader)},
		{name: "power cut of two", hold: 3 * time.Second, do: unplugged(theFollowers)},
		{name: "power cut of all", hold: 3 * time.Second, do: unplugged(everybody)},
	} {
		w.suffer(t, tl, f)
	}
}

// ext4Shutdown is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), with "no flush of the
// journal". (Source: include/uapi/linux/ext4.h.)
const ext4Shutdown, noLogFlush = 0x8004587d, 2

func unplugged(who func(w *world) []*node) func(w *world) func() {
	return func(w *world) func() {
		victims := who(w)
		for _, n := range victims {
			fd, err := unix.Open(n.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				w.t.Fatal(err)
			}
			err = unix.IoctlSetPointerInt(fd, ext4Shutdown, noLogFlush)
			_ = unix.Close(fd)
			if err != nil {
				w.t.Skipf("skipped: the file system cannot be shut down: %v", err)
			}
			n.killHost()
		}
		return func() {
			for _, n := range victims {
				// Others may still hold the file system that was shut down: what its disk
				// has is mounted as another one.
				w.must("umount", "-l", n.dir)
				w.must("cp", "--sparse=always", n.dir+".img", n.dir+".after")
				w.must("mv", n.dir+".after", n.dir+".img")
				w.must("mount", "-o", "loop", n.dir+".img", n.dir)
				n.start(w.t)
			}
		}
	}
}

// biggest finds the largest file below a directory of a node.
func biggest(t *testing.T, dir string) string {
	t.Helper()
	var path string
	var size int64
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			path, size = p, info.Size()
		}
		return nil
	})
	if err != nil || path == "" {
		t.Fatalf("no file below %s: %v", dir, err)
	}
	return path
}
