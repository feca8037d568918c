package leader

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/jobspecs"
)

// Specs is the Evaluator over package jobspecs. It keeps the parsed files of the
// runs it evaluated last.
type Specs struct {
	mu    sync.Mutex // guards what follows
	files map[fileKey]*list.Element
	order *list.List // of *parsed; the front was used last
	limit int
}

// DefaultParsedFiles is how many parsed files are kept.
const DefaultParsedFiles = 64

type fileKey [sha256.Size]byte

type parsed struct {
	key  fileKey
	once sync.Once
	file *jobspecs.File
	err  error
}

// NewSpecs makes an evaluator that keeps at most limit parsed files; zero means
// DefaultParsedFiles.
func NewSpecs(limit int) *Specs {
	if limit <= 0 {
		limit = DefaultParsedFiles
	}
	return &Specs{files: map[fileKey]*list.Element{}, order: list.New(), limit: limit}
}

// Evaluate implements Evaluator.
func (s *Specs) Evaluate(ctx context.Context, state *fsm.Snapshot, task *rota.Task) (rota.Resolve, error) {
	if err := ctx.Err(); err != nil {
		return rota.Resolve{}, err
	}
	run, ok := state.Run(task.ID.Run)
	if !ok {
		return rota.Resolve{}, fmt.Errorf("evaluate task %q: its run is gone: %w", task.ID, rota.ErrNotFound)
	}
	version, ok := state.Version(run.Namespace, run.Job, run.Version)
	if !ok {
		return rota.Resolve{}, fmt.Errorf("evaluate task %q: version %d of job %q is gone: %w", task.ID, run.Version, run.Job, rota.ErrNotFound)
	}
	res := rota.Resolve{Task: task.ID}
	file, err := s.parse(version, run)
	if err != nil {
		res.Failure = err.Error()
		return res, nil //nolint:nilerr // it is the job file's fault and becomes the task's
	}
	spec, skip, ds := file.Resolve(run.Job, task.ID.Key, run.ID, lookIn(state, run.ID))
	switch {
	case ds.HasErrors():
		res.Failure = firstError(ds).String()
	case skip:
		res.Skip = true
	case spec == nil:
		res.Failure = "the evaluated task is empty"
	default:
		res.Spec = spec
	}
	return res, nil
}

// firstError is the first diagnostic that is an error, with its position.
func firstError(ds rota.Diagnostics) rota.Diagnostic {
	for _, d := range ds {
		if d.Severity == rota.SeverityError {
			return d
		}
	}
	return rota.Diagnostic{Summary: "not known"}
}

// lookIn finds what other tasks of a run may be asked for.
func lookIn(state *fsm.Snapshot, run rota.RunID) func(rota.TaskKey) (jobspecs.TaskValue, bool) {
	return func(key rota.TaskKey) (jobspecs.TaskValue, bool) {
		t, ok := state.Task(rota.TaskID{Run: run, Key: key})
		if !ok {
			return jobspecs.TaskValue{}, false
		}
		v := jobspecs.TaskValue{
			Key: key, Status: t.Status, Output: t.Output, HasOutput: t.Output != nil,
			ExitCode: t.ExitCode, Attempts: int(t.Attempt), Cost: t.Usage.Cost, //nolint:gosec // 48 bits at most
		}
		if n := len(t.Attempts); n > 0 {
			v.Node = t.Attempts[n-1].NodeName
		}
		return v, true
	}
}

// parse finds the parsed file of a run's job version with its variables, or parses
// it. Two evaluations of one file parse it once.
func (s *Specs) parse(v *rota.JobVersion, run *rota.Run) (*jobspecs.File, error) {
	p := s.find(keyOf(v, run))
	p.once.Do(func() {
		variables := make(map[string]json.RawMessage, len(run.Variables))
		for _, x := range run.Variables {
			variables[x.Name] = x.Value
		}
		file, ds := jobspecs.Parse(
			jobspecs.Source{Filename: v.Filename, Text: v.Source, Files: v.Files},
			jobspecs.Inputs{Job: run.Job, Variables: variables, Priority: &run.Priority},
		)
		p.file = file
		if ds.HasErrors() {
			p.file, p.err = nil, ds
		}
	})
	return p.file, p.err
}

func keyOf(v *rota.JobVersion, run *rota.Run) fileKey {
	h := sha256.New()
	add := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	add(v.Hash)
	add(v.Filename)
	add(run.Job)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(run.Priority)) //nolint:gosec // only to tell apart
	h.Write(n[:])
	for _, x := range run.Variables {
		add(x.Name)
		add(string(x.Value))
	}
	return fileKey(h.Sum(nil))
}

func (s *Specs) find(key fileKey) *parsed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.files[key]; ok {
		s.order.MoveToFront(e)
		return e.Value.(*parsed) //nolint:forcetypeassert // nothing else is put in
	}
	p := &parsed{key: key}
	s.files[key] = s.order.PushFront(p)
	for s.order.Len() > s.limit {
		oldest := s.order.Back()
		s.order.Remove(oldest)
		delete(s.files, oldest.Value.(*parsed).key) //nolint:forcetypeassert // nothing else is put in
	}
	return p
}
