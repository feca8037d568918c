package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// Config is what a driver is made with.
type Config struct {
	// Client gives the connection to the node's present keeper.
	Client func() (*keeper.Client, error)
	Layout agent.Layout
	Logger hclog.Logger
	// LogBytes bounds what is kept of an attempt's stdout and stderr together.
	LogBytes int64
	// KeepFailed is how long the working directory of a failed attempt is kept.
	KeepFailed time.Duration
	// BaseEnv is what a task's environment begins with, KEY=value.
	BaseEnv []string
}

// DefaultConfig is a node's, but for Client, Layout and Logger. (Source:
// JOBSPEC.md, sections 2 and 3.)
func DefaultConfig() Config {
	return Config{LogBytes: keeper.DefaultLogBytes, KeepFailed: time.Hour, BaseEnv: BaseEnv(os.Environ())}
}

// Driver runs commands. It implements agent.Driver.
type Driver struct {
	cfg    Config
	tidy   chan string // working directories to remove
	spares *spares

	mu    sync.Mutex // guards all below
	inUse map[string]bool
	keys  map[string]int // how many are in use of the same task
}

var (
	_ agent.Driver    = (*Driver)(nil)
	_ agent.Forgetter = (*Driver)(nil)
)

// maxTidy bounds the working directories that wait for their removal; more are
// removed by whoever waited for the attempt.
const maxTidy = 1024

// New makes a driver. Run should run beside it.
func New(cfg Config) *Driver {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Driver{
		cfg: cfg, tidy: make(chan string, maxTidy), spares: newSpares(cfg.Layout, cfg.Logger),
		inUse: map[string]bool{}, keys: map[string]int{},
	}
}

// Name implements agent.Driver.
func (d *Driver) Name() rota.Driver { return rota.DriverExec }

// meta is what the keeper keeps for us: enough to say how an attempt ended.
type meta struct {
	Dir    string          `json:"dir"`
	Output rota.OutputType `json:"output,omitempty"`
	Limit  time.Duration   `json:"limit_ns,omitempty"` // timeouts { start_to_close }
}

// Start implements agent.Driver.
func (d *Driver) Start(ctx context.Context, t agent.Task, sink agent.Sink) (agent.Handle, error) {
	c, err := d.cfg.Client()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", agent.ErrNoLease, err)
	}
	r, err := d.prepare(&t)
	if err != nil {
		return nil, err
	}
	h := d.handle(c, &t, sink)
	err = c.Spawn(ctx, r)
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, keeper.ErrRefused):
		err = agent.Refuse(rota.CauseRefused, err)
	case errors.Is(err, rota.ErrStale), errors.Is(err, rota.ErrUnavailable):
		err = fmt.Errorf("%w: %w", agent.ErrNoLease, err)
	case errors.Is(err, rota.ErrOverloaded): // no descriptors, processes, groups or memory left
		err = fmt.Errorf("%w: %w", agent.ErrUnfit, err)
	case rota.KindOf(err) == rota.KindNone:
		// Whether it was started is not known: it is followed as if it were.
		h.unsure = true
		return h, nil
	}
	d.discard(t.Dir)
	return nil, err
}

// discard removes the directory of an attempt that was not started.
func (d *Driver) discard(dir string) {
	d.release(dir)
	if err := os.RemoveAll(dir); err != nil {
		d.cfg.Logger.Warn("the directory of an attempt that did not start stays", "dir", dir, "error", err)
	}
}

// whoseFault sorts an error of making the attempt's directories, all of which are
// the node's own: only a name that is too long is the task's.
func whoseFault(err error) error {
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return agent.Refuse(rota.CauseRefused, err)
	}
	return fmt.Errorf("%w: %w", agent.ErrUnfit, err)
}

// Adopt implements agent.Driver.
func (d *Driver) Adopt(ctx context.Context, t agent.Task, sink agent.Sink) (agent.Handle, error) {
	c, err := d.cfg.Client()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", agent.ErrLost, err)
	}
	h := d.handle(c, &t, sink)
	known, err := h.known(ctx)
	if err != nil || !known {
		d.release(t.Dir)
		return nil, fmt.Errorf("adopt %s: %w", h.ref, errors.Join(agent.ErrLost, err))
	}
	return h, nil
}

// prepare makes the attempt's directories and says what the keeper is to start.
func (d *Driver) prepare(t *agent.Task) (keeper.SpawnRequest, error) {
	m, err := json.Marshal(meta{Dir: t.Dir, Output: t.Spec.Output, Limit: t.Spec.Timeouts.StartToClose})
	if err != nil {
		return keeper.SpawnRequest{}, fmt.Errorf("prepare attempt %s: %w", t.Task, err)
	}
	d.hold(t.Dir)
	if err := d.makeDirs(t); err != nil {
		d.discard(t.Dir)
		return keeper.SpawnRequest{}, whoseFault(err)
	}
	r := keeper.SpawnRequest{
		Ref: keeper.Ref{Task: t.Task, Fence: t.Fence}, Argv: t.Spec.Command, Env: environment(t, d.cfg.BaseEnv), Dir: workdir(t),
		StdoutPath: filepath.Join(t.Dir, agent.FileStdout), StderrPath: filepath.Join(t.Dir, agent.FileStderr),
		LogBytes: d.cfg.LogBytes, Meta: m,
	}
	return r, nil
}

func (d *Driver) handle(c *keeper.Client, t *agent.Task, sink agent.Sink) *handle {
	d.hold(t.Dir)
	h := &handle{d: d, c: c, sink: sink, ref: keeper.Ref{Task: t.Task, Fence: t.Fence}, meta: meta{Dir: t.Dir}, timeout: rota.CauseCancelled}
	if t.Spec != nil {
		h.meta.Output, h.meta.Limit = t.Spec.Output, t.Spec.Timeouts.StartToClose
	}
	return h
}

func (d *Driver) hold(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.inUse[dir] {
		d.inUse[dir] = true
		d.keys[filepath.Dir(dir)]++
	}
}

func (d *Driver) release(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.inUse[dir] {
		return
	}
	delete(d.inUse, dir)
	key := filepath.Dir(dir)
	if d.keys[key]--; d.keys[key] == 0 {
		delete(d.keys, key)
	}
}

// Forget implements agent.Forgetter: the directories of attempts that wrote nothing
// are used again.
func (d *Driver) Forget(refs []agent.Ref) {
	for _, r := range refs {
		d.forget(r)
	}
}

func (d *Driver) forget(r agent.Ref) {
	if left := d.giveBack(r); left != "" {
		d.tidyUp(filepath.Join(left, agent.DirWork))
	}
}

func (d *Driver) giveBack(r agent.Ref) (left string) {
	d.mu.Lock() // so long as it is held, no other attempt of the task begins
	defer d.mu.Unlock()
	if d.keys[filepath.Dir(d.cfg.Layout.Attempt(r.Task, r.Fence.Attempt()))] > 0 {
		return d.spares.withdraw(r)
	}
	return d.spares.give(r, d.cfg.Layout)
}

func (d *Driver) held(dir string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inUse[dir]
}
