package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rota-sched/rota"
	"golang.org/x/sys/unix"
)

// Releaser tells the cluster that nothing of a session is alive and ends the
// session; the items are reported first. nil: acknowledged, or the session was
// over anyway. It is tried again until the deadline has passed.
type Releaser interface {
	Release(ctx context.Context, s rota.Session, left bool, items []rota.ReportItem) error
}

// PeerSetter is a Releaser that wants to know where the servers are (SetPeers of
// the client).
type PeerSetter interface{ SetPeers(addrs []string) }

// MainConfig is what the keeper's process is started with. ParseArgs fills it from
// the command line but for the functions.
type MainConfig struct {
	Data  string // the node's data directory
	Level Level  // the strongest level to use; empty: the strongest there is
	Times rota.LeaseTimes
	Probe bool     // only end, well: a throw-away child
	InNS  bool     // started as the init of a PID namespace
	Why   []string // why no PID namespace
	Ready int      // descriptor to say on that the socket is there; 0: none
	// Releaser ends the session; nil: it is left to run out, and forgotten here.
	Releaser Releaser
	// Outcome says how an attempt went that ended by itself while no agent was
	// there; nil, or a nil result: only that nothing of it is alive is said.
	Outcome func(Attempt) *rota.Outcome
	Logger  hclog.Logger // nil: a file below Data
}

// Main is the body of the hidden command `rota keeper`. It returns when the keeper
// has nothing left to keep.
func Main(ctx context.Context, cfg MainConfig) error {
	if cfg.Probe {
		return nil
	}
	ignoreSignals()
	// Whatever the starter left open is not ours, and no task's.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, syscall.ENOSYS) {
		return fmt.Errorf("start the keeper: close on exec: %w", err)
	}
	err := run(ctx, cfg)
	if err != nil && cfg.Ready > 0 {
		sayReady(cfg.Ready, err.Error())
	}
	return err
}

func run(ctx context.Context, cfg MainConfig) error {
	dir := filepath.Join(cfg.Data, dirName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // it holds nothing but the lock
	if cfg.Logger == nil {
		logger, closeLog, err := openLog(dir)
		if err != nil {
			return err
		}
		defer closeLog()
		cfg.Logger = logger
	}
	syscall.Umask(0o022)
	debug.SetGCPercent(200) // a small heap; collections would cost more than they give
	s, err := newShell(cfg, dir)
	if err != nil {
		return err
	}
	return s.run(ctx, dir)
}

func newShell(cfg MainConfig, dir string) (*shell, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	s := &shell{
		cfg: cfg, log: cfg.Logger,
		procs: map[Ref]*proc{}, pids: map[int]*proc{}, conns: map[uint64]*serverConn{}, asked: map[uint64]asker{},
		oom: newOOMCounter(), releases: make(chan struct{}, 1),
	}
	s.children = sync.NewCond(&s.mu)
	s.self = Hello{ID: randomID(), Boot: boot, PID: os.Getpid()}
	before, err := readLife(dir)
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	if s.null, err = os.Open(os.DevNull); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	s.tree, s.self.Containment = contain(&cfg, s.self.ID)
	s.self.Remains = sweepBefore(before, boot, dir, cfg.Logger)
	if err := s.tree.openJournal(dir); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	if err := writeLife(dir, life{ID: s.self.ID, Boot: boot, Level: s.self.Containment.Level, Cgroup: s.tree.cgroup}); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	s.core = NewCore(DefaultCoreConfig(cfg.Times), Now())
	return s, nil
}

func (s *shell) run(ctx context.Context, dir string) error {
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	s.ctx = ctx
	l, err := listenIn(ctx, dir)
	if err != nil {
		return err
	}
	s.timer = time.AfterFunc(time.Hour, s.tick)
	s.mu.Lock()
	s.arm()
	s.mu.Unlock()
	s.log.Info("the keeper is there", "id", s.self.ID, "level", s.self.Containment.Level, "per_task", s.self.Containment.PerTask, "why", s.self.Containment.Why)
	go s.reap()
	s.work.Go(func() { s.serve(ctx, l) })
	s.work.Go(func() { s.releaseLoop(ctx) })
	if s.cfg.Ready > 0 {
		sayReady(s.cfg.Ready, readyWord)
	}
	s.work.Go(s.sweepLeftovers)
	<-ctx.Done()
	s.shutDown(l)
	s.work.Wait()
	s.tree.close()
	if err := os.Remove(filepath.Join(dir, lifeName)); err != nil {
		return fmt.Errorf("end the keeper: %w", err)
	}
	return nil
}

// shutDown ends what waits. What still runs, if the keeper was told to end while
// it had tasks, is killed first.
func (s *shell) shutDown(l *net.UnixListener) {
	_ = l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
	for _, p := range s.procs {
		p.group.kill()
	}
	for _, c := range s.conns {
		c.close()
	}
	s.cancelRelease()
	s.children.Broadcast()
}

const readyWord = "ready"

func sayReady(fd int, word string) {
	f := os.NewFile(uintptr(fd), "ready")
	_, _ = f.WriteString(strings.ReplaceAll(word, "\n", " ") + "\n")
	_ = f.Close()
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	// A keeper that was just killed may hold it for an instant after it is seen dead.
	for until := time.Now().Add(lockTime); ; time.Sleep(2 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if time.Now().After(until) {
			_ = f.Close()
			return nil, fmt.Errorf("start the keeper: another one holds %s: %w", dir, err)
		}
	}
}

// lockTime bounds the wait for the lock of a keeper that is dying.
const lockTime = time.Second

// maxLog bounds the keeper's log: a longer one is begun anew at the next start,
// the old one is kept beside.
const maxLog = 4 << 20

func openLog(dir string) (hclog.Logger, func(), error) {
	path := filepath.Join(dir, logName)
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, nil, fmt.Errorf("start the keeper: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("start the keeper: %w", err)
	}
	return hclog.New(&hclog.LoggerOptions{Name: "keeper", Output: f, Level: hclog.Info}), func() { _ = f.Close() }, nil
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
