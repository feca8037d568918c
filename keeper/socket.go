package keeper

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The files of a keeper, below DATA/keeper.
const (
	dirName    = "keeper"
	socketName = "sock"
	lockName   = "lock"
	logName    = "keeper.log"
	lifeName   = "life.json" // of a keeper that has not ended in order
	pidsName   = "pids"      // what it started, where its death is not theirs
)

// maxSocketPath is what fits into a Unix address with its final zero.
const maxSocketPath = 107

// throughDir gives a path of the file in dir that fits into a Unix address,
// however long dir's own is: by the directory's open descriptor. The descriptor
// must stay open while the path is used.
func throughDir(dir, name string) (path string, closeDir func(), err error) {
	if direct := filepath.Join(dir, name); len(direct) <= maxSocketPath {
		return direct, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + name, func() { _ = d.Close() }, nil
}

func listenIn(ctx context.Context, dir string) (*net.UnixListener, error) {
	if err := os.Remove(filepath.Join(dir, socketName)); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove the socket of a keeper before: %w", err)
	}
	path, closeDir, err := throughDir(dir, socketName)
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	defer closeDir()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	u := l.(*net.UnixListener) // the network is "unix"
	u.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(dir, socketName), 0o600); err != nil {
		_ = u.Close()
		return nil, fmt.Errorf("protect the keeper's socket: %w", err)
	}
	return u, nil
}

func dialIn(ctx context.Context, dir string) (*net.UnixConn, error) {
	path, closeDir, err := throughDir(dir, socketName)
	if err != nil {
		return nil, err
	}
	defer closeDir()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil // the network is "unix"
}

// peerPID is the process at the other end, if it is ours (or root's). Across a PID
// namespace it is seen from outside only: inside it is 0.
func peerPID(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("look at the keeper's connection: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("look at the keeper's connection: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("look at the keeper's connection: %w", credErr)
	}
	if uid := int(cred.Uid); uid != os.Getuid() && uid != 0 {
		return 0, fmt.Errorf("the other end of the keeper's socket has uid %d, we have %d: %w", uid, os.Getuid(), syscall.EPERM)
	}
	return int(cred.Pid), nil
}
