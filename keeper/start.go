package keeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rota-sched/rota"
	"golang.org/x/sys/unix"
)

// StartConfig says where a node's keeper lives and how to start one.
type StartConfig struct {
	Data       string          // the node's data directory
	Executable string          // a binary whose command Command ends in Main; empty: this one
	Level      Level           // the strongest level of containment to use; empty: the strongest there is
	Times      rota.LeaseTimes // Kill, Term, Renew and Adopt are the keeper's
	Env        []string        // of the keeper's own process; nil: PATH alone
	Logger     hclog.Logger
	// Timeout bounds the greeting, and the start; zero is 5 s.
	Timeout time.Duration
}

// Start connects to the keeper that lives in the data directory as its agent, or
// starts one: detached, in a session of its own, so that it survives this
// process. One that holds the directory but does not answer is killed first.
func Start(ctx context.Context, cfg StartConfig) (*Client, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	cfg.Data = data
	dir := filepath.Join(cfg.Data, dirName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	c, err := connect(ctx, dir, cfg)
	if err == nil || errors.Is(err, ErrProtocol) || ctx.Err() != nil {
		return c, err
	}
	if err := spawnKeeper(ctx, cfg); err != nil {
		return nil, err
	}
	return connect(ctx, dir, cfg)
}

// connect greets the living keeper; one that is silent is killed.
func connect(ctx context.Context, dir string, cfg StartConfig) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	conn, err := dialIn(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("connect to the keeper: %w", err)
	}
	pid, pidErr := peerPID(conn)
	c, err := newClient(ctx, conn, roleAgent)
	if err == nil {
		return c, nil
	}
	if pidErr == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		cfg.Logger.Error("the keeper does not answer and is killed", "pid", pid)
		if killErr := killKeeper(context.WithoutCancel(ctx), pid); killErr != nil {
			err = errors.Join(err, killErr)
		}
	}
	return nil, err
}

// Kill ends the keeper with SIGKILL and waits until it is dead; in a PID namespace
// all tasks are dead then.
func (c *Client) Kill(ctx context.Context) error {
	err := killKeeper(ctx, c.pid)
	c.fail(ErrGone)
	return err
}

// killTime bounds the wait for a killed keeper.
const killTime = 10 * time.Second

func killKeeper(ctx context.Context, pid int) error {
	if pid <= 1 {
		return fmt.Errorf("kill the keeper: its process is not known (%d)", pid)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill the keeper: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // a pidfd holds nothing
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the keeper: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	return awaitDeath(ctx, fd, pid)
}

// spawnKeeper starts a keeper at the strongest level that the kernel lets us.
func spawnKeeper(ctx context.Context, cfg StartConfig) error {
	exe := cfg.Executable
	if exe == "" {
		exe = selfExe
	}
	main := MainConfig{Data: cfg.Data, Level: cfg.Level, Times: cfg.Times, Ready: 3}
	if cfg.Level == "" || cfg.Level == LevelPIDNS {
		main.InNS = true
		err := launch(ctx, exe, &main, nsAttr(), cfg)
		var refusal *launchError
		if err == nil || !errors.As(err, &refusal) {
			return err
		}
		main.InNS = false
		main.Why = []string{"pidns: " + firstLine(refusal.Error())}
	} else {
		main.Why = []string{"pidns: the level is set to " + string(cfg.Level)}
	}
	return launch(ctx, exe, &main, &syscall.SysProcAttr{Setsid: true}, cfg)
}

// launchError: the process could not even be made.
type launchError struct{ err error }

func (e *launchError) Error() string { return e.err.Error() }
func (e *launchError) Unwrap() error { return e.err }

func launch(ctx context.Context, exe string, cfg *MainConfig, attr *syscall.SysProcAttr, start StartConfig) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	defer r.Close() //nolint:errcheck // only read from
	cmd := exec.CommandContext(context.WithoutCancel(ctx), exe, cfg.args()...)
	cmd.Env, cmd.SysProcAttr, cmd.ExtraFiles, cmd.Dir = start.Env, attr, []*os.File{w}, "/"
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return &launchError{fmt.Errorf("start the keeper: %w", err)}
	}
	go cmd.Wait() //nolint:errcheck // it outlives us, or says on the pipe why it does not
	if err := r.SetReadDeadline(time.Now().Add(start.Timeout)); err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	word := strings.TrimSpace(line)
	switch {
	case word == readyWord:
		return nil
	case word != "":
		return fmt.Errorf("the keeper did not start: %s", word)
	default:
		return fmt.Errorf("the keeper did not start and said nothing (its log: %s): %w", filepath.Join(start.Data, dirName, logName), err)
	}
}

// Quit closes the connection and waits for the end of a keeper that has nothing
// left to keep. Exits that were not acknowledged are forgotten with it.
func (c *Client) Quit(ctx context.Context) error {
	fd, err := unix.PidfdOpen(c.pid, 0)
	c.Close()
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch the keeper: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // a pidfd holds nothing
	return awaitDeath(ctx, fd, c.pid)
}

// awaitDeath waits until the process is dead.
func awaitDeath(ctx context.Context, fd, pid int) error {
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the keeper's end: %w", err)
		}
	}
	return fmt.Errorf("the keeper (process %d) does not end: %w", pid, ctx.Err())
}
