package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rota-sched/rota"
)

// Layout says where things of attempts lie on a node: below DIR/attempts, one
// directory RUN/KEY/N per attempt. A key is a file name as it is: rota.MakeKey
// escapes everything else.
type Layout struct {
	// Data is the node's data directory.
	Data string
}

// The files of an attempt's directory. The log streams are the keeper's, the
// rest is the driver's.
const (
	FileStdout = "stdout"
	FileStderr = "stderr"
	FileRecord = "attempt.json" // what Adopt needs to know
	DirWork    = "work"         // the working directory of a task that names none
)

// Root is the directory that holds all attempts.
func (l Layout) Root() string { return filepath.Join(l.Data, "attempts") }

// Spare holds directories that no attempt uses now, on the file system of those
// that are used. What begins with a dot is no run's.
func (l Layout) Spare() string { return filepath.Join(l.Root(), ".spare") }

// Attempt is the directory of one attempt.
func (l Layout) Attempt(t rota.TaskID, n uint64) string {
	return filepath.Join(l.Root(), string(t.Run), string(t.Key), strconv.FormatUint(n, 10))
}

// record is the content of FileRecord.
type record struct {
	Version int  `json:"version"`
	Task    Task `json:"task"`
}

const recordVersion = 1

// Prepare makes the attempt's directory and leaves in it what a later agent needs
// to adopt the attempt. A driver whose attempts outlive the agent calls it before
// it starts anything.
func (t *Task) Prepare() error {
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of attempt %s#%d: %w", t.Task, t.Fence.Attempt(), err)
	}
	return t.Record(t.Dir)
}

// Record writes what a later agent needs into a directory that is to become the
// attempt's. A file that is there is written over: that costs less than a new one.
func (t *Task) Record(dir string) error {
	b, err := json.Marshal(record{Version: recordVersion, Task: *t})
	if err == nil {
		err = writeOver(filepath.Join(dir, FileRecord), b)
	}
	if err != nil {
		return fmt.Errorf("record attempt %s#%d: %w", t.Task, t.Fence.Attempt(), err)
	}
	return nil
}

func writeOver(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if st, statErr := f.Stat(); err == nil && statErr == nil && st.Size() > int64(len(b)) {
		err = f.Truncate(int64(len(b)))
	}
	return errors.Join(err, f.Close())
}

// LoadTask reads what Prepare left. The attempt's own words win over the file's:
// a record of another fence is an error.
func (l Layout) LoadTask(ref Ref) (Task, error) {
	dir := l.Attempt(ref.Task, ref.Fence.Attempt())
	b, err := os.ReadFile(filepath.Join(dir, FileRecord))
	if err != nil {
		return Task{}, fmt.Errorf("read the record of attempt %s#%d: %w", ref.Task, ref.Fence.Attempt(), err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Task{}, fmt.Errorf("read the record of attempt %s#%d: %w", ref.Task, ref.Fence.Attempt(), err)
	}
	if r.Version != recordVersion || r.Task.Ref() != ref || r.Task.Spec == nil {
		return Task{}, fmt.Errorf("the record of attempt %s#%d: %w", ref.Task, ref.Fence.Attempt(), errRecord)
	}
	r.Task.Dir = dir
	return r.Task, nil
}

var errRecord = errors.New("is of another version or attempt")
