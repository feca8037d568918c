package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// The driver's files in an attempt's directory, besides agent's.
const (
	fileInput    = "input.json"
	fileOutput   = "output"
	fileUsage    = "usage.json"
	dirArtifacts = "artifacts"
	dirKept      = "work.kept" // a failed attempt's working directory
)

// baseNames are the variables that a task gets from its node; nothing else of the
// agent's environment reaches it.
func baseNames() []string {
	return []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"}
}

// defaultPath is what a task searches when the node itself has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// BaseEnv picks what a task gets of a node's environment.
func BaseEnv(environ []string) []string {
	var out []string
	for _, name := range baseNames() {
		for _, kv := range environ {
			if strings.HasPrefix(kv, name+"=") {
				out = append(out, kv)
				break
			}
		}
	}
	if len(out) == 0 || !strings.HasPrefix(out[0], "PATH=") {
		out = append([]string{"PATH=" + defaultPath}, out...)
	}
	return out
}

// environment is the task's whole environment: the node's part, then the task's
// own, then Rota's, which neither can replace. (Source: CONTRACT.md, "A task's
// environment".)
func environment(t *agent.Task, base []string) []string {
	var names []string
	values := map[string]string{}
	set := func(name, value string) {
		if _, known := values[name]; !known {
			names = append(names, name)
		}
		values[name] = value
	}
	for _, kv := range base {
		name, value, _ := strings.Cut(kv, "=")
		set(name, value)
	}
	for _, p := range t.Spec.Env {
		set(p.Key, p.Value)
	}
	ids := make([]string, len(t.GPUs))
	for i, g := range t.GPUs {
		ids[i] = g.ID
	}
	set("CUDA_VISIBLE_DEVICES", strings.Join(ids, ",")) // empty: no device is visible
	set("ROTA_RUN_ID", string(t.Task.Run))
	set("ROTA_TASK", string(t.Task.Key))
	set("ROTA_ATTEMPT", strconv.FormatUint(t.Fence.Attempt(), 10))
	set("ROTA_FENCE", t.Fence.String())
	set("ROTA_IDEMPOTENCY_KEY", t.IdempotencyKey)
	set("ROTA_NODE", t.NodeName)
	set("ROTA_ADDR", t.Addr)
	set("ROTA_OUTPUT", filepath.Join(t.Dir, fileOutput))
	set("ROTA_USAGE", filepath.Join(t.Dir, fileUsage))
	set("ROTA_ARTIFACTS", filepath.Join(t.Dir, dirArtifacts))
	if t.Spec.Input != nil {
		set("ROTA_INPUT", filepath.Join(t.Dir, fileInput))
	}
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name + "=" + values[name]
	}
	return out
}

func workdir(t *agent.Task) string {
	if t.Spec.Workdir != "" {
		return t.Spec.Workdir
	}
	return filepath.Join(t.Dir, agent.DirWork)
}

// makeDirs makes what the attempt finds when it starts.
func (d *Driver) makeDirs(t *agent.Task) error {
	wrap := func(err error) error {
		return fmt.Errorf("make the directories of attempt %s#%d: %w", t.Task, t.Fence.Attempt(), err)
	}
	if !d.spares.take(t) {
		if err := t.Prepare(); err != nil {
			return err
		}
		for _, name := range []string{dirArtifacts, agent.DirWork} {
			if name == agent.DirWork && t.Spec.Workdir != "" {
				continue
			}
			if err := os.Mkdir(filepath.Join(t.Dir, name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return wrap(err)
			}
		}
	}
	if t.Spec.Input != nil {
		if err := os.WriteFile(filepath.Join(t.Dir, fileInput), t.Spec.Input, 0o600); err != nil {
			return wrap(err)
		}
	}
	return nil
}

var errNotAFile = errors.New("is not a regular file")

// readSmall reads a file that the task may have written: at most limit bytes of
// it, never through a link that leads out of the directory, never from a pipe or
// device. size is the file's own; a missing file has -1.
func readSmall(dir, name string, limit int64) (b []byte, size int64, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("open the attempt's directory: %w", err)
	}
	defer root.Close() //nolint:errcheck // only read from
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close() //nolint:errcheck // only read from
	st, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("read %s: it %w", name, errNotAFile)
	}
	b, err = io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	return b, max(st.Size(), int64(len(b))), nil
}

// maxUsageFile bounds what is read of ROTA_USAGE.
const maxUsageFile = 64 << 10

// readUsage reads what the attempt says it consumed; ok: it said something.
func readUsage(dir string) (u rota.Usage, ok bool, err error) {
	b, size, err := readSmall(dir, fileUsage, maxUsageFile)
	if err != nil || size <= 0 {
		return rota.Usage{}, false, err
	}
	if err := json.Unmarshal(b, &u); err != nil {
		return rota.Usage{}, false, fmt.Errorf("ROTA_USAGE: %w", err)
	}
	if u.Cost < 0 || u.TokensIn < 0 || u.TokensOut < 0 {
		return rota.Usage{}, false, fmt.Errorf("ROTA_USAGE: %w", errNegative)
	}
	return u, true, nil
}

var errNegative = errors.New("numbers below zero")
