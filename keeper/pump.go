package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultLogBytes bounds what is kept of an attempt's output. (Source: JOBSPEC.md,
// section 2, Defaults.)
const DefaultLogBytes = 64 << 20

// MinLogBytes is the smallest bound: a quarter of a stream's half must hold the
// largest output that is taken from stdout.
const MinLogBytes = 512 << 10

// pump moves one output stream from its pipe to files: the first half of the
// bound into the file of the given path, the rest into segments named
// PATH.OFFSET by the offset of their first byte, of which the newest two are
// kept. So an offset stays true whatever was dropped, and a gap shows by itself.
// The writer is never stopped for what it writes, and never killed.
type pump struct {
	path  string
	bound int64
	r, w  *os.File

	f       *os.File
	fPath   string
	fLen    int64
	fMax    int64
	tails   []segment // closed ones after the first file
	total   int64
	dropped int64
	pause   time.Time // after a failed write, until when nothing is tried
}

type segment struct {
	path string
	size int64
}

// newPump makes the pipe. An empty path: everything is counted as dropped.
func newPump(path string, bound int64) (*pump, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, err
	}
	return &pump{path: path, bound: bound, r: os.NewFile(uintptr(fds[0]), "output"), w: os.NewFile(uintptr(fds[1]), "output")}, nil
}

// child is the end for the task.
func (p *pump) child() uintptr { return p.w.Fd() }

func (p *pump) discard() {
	_ = p.r.Close()
	_ = p.w.Close()
}

// stop makes run end although the pipe is open.
func (p *pump) stop() { _ = p.r.SetReadDeadline(time.Unix(1, 0)) }

const pumpBuffer = 64 << 10

// buffers are taken only while there is something to read: thousands of silent
// tasks hold none.
var buffers = sync.Pool{New: func() any { return new([pumpBuffer]byte) }} //nolint:gochecknoglobals // a pool is a table of no state

// run moves bytes until the pipe ends.
func (p *pump) run() {
	_ = p.w.Close()
	defer p.r.Close() //nolint:errcheck // only read from
	raw, err := p.r.SyscallConn()
	if err != nil {
		return
	}
	for {
		n := 0
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			buf := buffers.Get().(*[pumpBuffer]byte) // the pool's only type
			defer buffers.Put(buf)
			n, readErr = unix.Read(int(fd), buf[:])
			if errors.Is(readErr, unix.EAGAIN) {
				return false
			}
			if n > 0 {
				p.take(buf[:n])
			}
			return true
		})
		if err != nil || readErr != nil && !errors.Is(readErr, unix.EINTR) || readErr == nil && n <= 0 {
			break
		}
	}
	p.closeFile()
}

// retryDisk is how long a failing disk is left alone.
const retryDisk = time.Second

func (p *pump) take(b []byte) {
	for len(b) > 0 {
		if p.path == "" || !p.pause.IsZero() && time.Now().Before(p.pause) {
			p.drop(b)
			return
		}
		if err := p.open(); err != nil {
			p.fail(b)
			return
		}
		n, err := p.f.Write(b[:min(int64(len(b)), p.fMax-p.fLen)])
		p.total += int64(n)
		p.fLen += int64(n)
		b = b[n:]
		if err != nil {
			p.fail(b)
			return
		}
		if p.fLen >= p.fMax {
			p.closeFile()
		}
	}
}

func (p *pump) drop(b []byte) {
	p.total += int64(len(b))
	p.dropped += int64(len(b))
}

// fail drops the rest and leaves the disk alone for a while; what comes then goes
// into a segment of its own, whose name says the gap.
func (p *pump) fail(b []byte) {
	p.drop(b)
	p.closeFile()
	p.pause = time.Now().Add(retryDisk)
}

func (p *pump) open() error {
	if p.f != nil {
		return nil
	}
	path, limit := p.path, max(p.bound/2, 1)
	if p.total > 0 {
		path, limit = p.path+"."+strconv.FormatInt(p.total, 10), max(p.bound/4, 1)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open an output file: %w", err)
	}
	p.f, p.fPath, p.fLen, p.fMax = f, path, 0, limit
	if len(p.tails) > 1 {
		p.dropOldest()
	}
	return nil
}

func (p *pump) dropOldest() {
	old := p.tails[0]
	if err := os.Remove(old.path); err == nil || errors.Is(err, fs.ErrNotExist) {
		p.dropped += old.size
		p.tails = p.tails[1:]
	}
}

func (p *pump) closeFile() {
	if p.f == nil {
		return
	}
	_ = p.f.Close() // what was written is counted; logs are not synced
	switch {
	case p.fLen == 0:
		_ = os.Remove(p.fPath)
	case p.fPath != p.path:
		p.tails = append(p.tails, segment{path: p.fPath, size: p.fLen})
	}
	p.f = nil
}
