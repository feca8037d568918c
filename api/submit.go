package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
	"github.com/rota-sched/rota/jobspecs"
)

// maxItems bounds an array of submissions.
const maxItems = 1000

// submission is a run about to be proposed.
type submission struct {
	job       *rota.Job
	namespace string
	hash      string
	filename  string
	source    []byte
	files     []rota.File
	labels    []rota.Pair
	variables []rota.Variable
	key       string
	digest    string
}

// postRuns starts a run, or each of an array.
func (s *Server) postRuns(w http.ResponseWriter, r *http.Request) error {
	b, err := s.readBody(w, r, maxSubmitBody)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return s.postMany(w, r, b, key)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	sub, err := s.prepare(ctx, b, key)
	if err != nil {
		return err
	}
	res, err := s.start(ctx, sub)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if res.Existed {
		status = http.StatusOK
		s.settle(ctx, res.Index)
	}
	snap := s.deps.State.Snapshot()
	s.stamp(w, snap)
	w.Header().Set(headerIndex, strconv.FormatUint(max(res.Index, snap.Index()), 10))
	w.Header().Set("Location", "/v1/runs/"+string(res.Run))
	v := sub.view(snap, &res)
	return answer(w, status, &v)
}

// view is the run as it is known here, which may be before this node has applied
// the submission.
func (sub *submission) view(snap *fsm.Snapshot, res *rota.Result) RunView {
	if run, ok := snap.Run(res.Run); ok {
		return viewRun(run)
	}
	return RunView{
		ID: res.Run, Job: sub.job.Name, Version: res.Version, Namespace: sub.namespace, Labels: pairMap(sub.labels),
		Status: rota.RunRunning, Priority: sub.job.Priority, TasksTotal: len(sub.job.Tasks), TaskCounts: map[string]int{},
	}
}

// postMany answers each item of an array by itself.
func (s *Server) postMany(w http.ResponseWriter, r *http.Request, b []byte, key string) error {
	var items []json.RawMessage
	if err := decodeStrict(b, &items); err != nil {
		return err
	}
	if len(items) > maxItems {
		p := newProblem(TypeTooLarge, fmt.Sprintf("%d submissions in one array, the limit is %d: send several", len(items), maxItems))
		p.Limit = "submissions"
		return p
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	answers := make([]SubmitAnswer, len(items))
	var next sync.Mutex
	at := 0
	take := func() int {
		next.Lock()
		defer next.Unlock()
		at++
		return at - 1
	}
	var workers sync.WaitGroup
	for range min(64, len(items)) {
		workers.Go(func() {
			for i := take(); i < len(items); i = take() {
				answers[i] = s.startItem(ctx, r, items[i], itemKey(key, i))
			}
		})
	}
	workers.Wait()
	return answer(w, http.StatusOK, answers)
}

func itemKey(key string, i int) string {
	if key == "" {
		return ""
	}
	return key + "/" + strconv.Itoa(i)
}

func (s *Server) startItem(ctx context.Context, r *http.Request, item []byte, key string) SubmitAnswer {
	sub, err := s.prepare(ctx, item, key)
	if err == nil && sub.source == nil {
		var res rota.Result
		if res, err = s.start(ctx, sub); err == nil {
			return SubmitAnswer{ID: res.Run, Existed: res.Existed}
		}
	} else if err == nil {
		err = newProblem(TypeInvalid, "an array starts runs of stored jobs; send job files one at a time")
	}
	p := s.problemOf(r, err)
	if p == nil {
		p = newProblem(TypeUnknown, "the request was given up")
	}
	return SubmitAnswer{Problem: p}
}

// prepare reads and checks a submission.
func (s *Server) prepare(ctx context.Context, b []byte, key string) (*submission, error) {
	req := new(SubmitRequest)
	if err := decodeStrict(b, req); err != nil {
		return nil, err
	}
	namespace, err := namespaceOf(req.Namespace)
	if err != nil {
		return nil, err
	}
	labels, err := checkLabels(req.Labels)
	if err != nil {
		return nil, err
	}
	if err := checkPriority(req.Priority); err != nil {
		return nil, err
	}
	if len(req.Event) > 0 && string(req.Event) != "null" {
		return nil, newProblem(TypeNotBuilt, `"event": starting a run with an event is not built yet`)
	}
	if req.At != nil {
		return nil, newProblem(TypeNotBuilt, `"at": starting a run later is not built yet`)
	}
	sum := sha256.Sum256(b)
	sub := &submission{namespace: namespace, labels: labels, key: key, digest: hex.EncodeToString(sum[:])}
	if req.Source == nil {
		return sub, s.fromStored(ctx, sub, req)
	}
	if req.Version != 0 {
		return nil, newProblem(TypeInvalid, `"version" is for a stored job; with "source" leave it out`)
	}
	if err := checkSource(*req.Source, req.Filename, req.Files); err != nil {
		return nil, err
	}
	sub.source, sub.filename, sub.files = []byte(*req.Source), req.Filename, req.Files
	src := sourceOf(*req.Source, req.Filename, req.Files)
	return sub, s.expand(ctx, sub, src, jobspecs.Inputs{Job: req.Job, Variables: req.Variables, Priority: req.Priority})
}

// fromStored expands a stored job.
func (s *Server) fromStored(ctx context.Context, sub *submission, req *SubmitRequest) error {
	switch {
	case req.Job == "":
		return newProblem(TypeInvalid, `the body has neither "source" nor "job"`)
	case req.Filename != "" || len(req.Files) > 0:
		return newProblem(TypeInvalid, `"filename" and "files" go with "source" only`)
	case req.Version < 0:
		return newProblem(TypeInvalid, `"version" is a number from 1`)
	}
	var v *rota.JobVersion
	err := s.find(ctx, func(snap *fsm.Snapshot) (err error) {
		v, err = findVersion(snap, sub.namespace, req.Job, req.Version)
		return err
	})
	if err != nil {
		return err
	}
	sub.filename = v.Filename
	src := sourceOf(string(v.Source), v.Filename, v.Files)
	return s.expand(ctx, sub, src, jobspecs.Inputs{Job: req.Job, Variables: req.Variables, Priority: req.Priority})
}

// expand parses the file, or finds what it gave before.
func (s *Server) expand(ctx context.Context, sub *submission, src jobspecs.Source, in jobspecs.Inputs) error {
	at := cacheKey(src, in)
	e, ok := s.jobs.get(at)
	if !ok {
		file, _, err := s.parse(ctx, src, in)
		if err != nil {
			return err
		}
		job, err := oneJob(file)
		if err != nil {
			return err
		}
		e = expanded{job: job, hash: jobspecs.Hash(src), variables: file.Variables(job.Name)}
		s.jobs.put(at, e)
	}
	sub.job, sub.hash, sub.variables = e.job, e.hash, e.variables
	if e.job.Namespace != "" {
		sub.namespace = e.job.Namespace
	}
	return nil
}

// oneJob is the job of a file that holds one, or of which one was asked for.
func oneJob(file *jobspecs.File) (*rota.Job, error) {
	jobs := file.Jobs()
	switch len(jobs) {
	case 0:
		return nil, newProblem(TypeInvalidSpec, "the file holds no job")
	case 1:
		return jobs[0], nil
	}
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = strconv.Quote(j.Name)
	}
	return nil, newProblem(TypeInvalidSpec, fmt.Sprintf("the file holds several jobs: say which one to run (%s)", joinWords(names)))
}

// start proposes the submission, in pieces where it is large. The run shows when
// the last piece has arrived.
func (s *Server) start(ctx context.Context, sub *submission) (rota.Result, error) {
	pieces := split(sub.job, len(sub.source)+filesSize(sub.files))
	first := rota.SubmitRun{
		Run: s.ids.next(time.Now()), Job: sub.job.Name, Hash: sub.hash, Filename: sub.filename, Source: sub.source, Files: sub.files,
		Labels: sub.labels, Variables: sub.variables, Priority: sub.job.Priority, OnTaskFailure: sub.job.OnTaskFailure,
		Digest: sub.digest, Total: len(sub.job.Tasks), Specs: pieces[0].specs, Tasks: pieces[0].tasks,
	}
	if _, ok := s.deps.State.Snapshot().VersionByHash(sub.namespace, sub.job.Name, sub.hash); ok {
		first.Source, first.Files = nil, nil
	}
	cmd := rota.Command{RequestID: sub.key, Namespace: sub.namespace, Principal: principal, Op: first}
	res, err := s.submit(ctx, cmd)
	if rota.KindOf(err) == rota.KindNotFound && sub.source != nil && first.Source == nil { // it was stored here, but has just gone
		first.Source, first.Files = sub.source, sub.files
		cmd.Op = first
		res, err = s.submit(ctx, cmd)
	}
	if err != nil {
		return res, fmt.Errorf("submit job %q: %w", sub.job.Name, err)
	}
	return s.startRest(ctx, cmd, res, pieces[1:])
}

// startRest proposes the other pieces. Where the key was used before, they may be
// missing, or there already, which the state machine sees.
func (s *Server) startRest(ctx context.Context, cmd rota.Command, res rota.Result, rest []piece) (rota.Result, error) {
	if _, whole := s.deps.State.Snapshot().Run(res.Run); whole {
		return res, nil
	}
	for _, p := range rest {
		cmd.RequestID, cmd.Op = "", rota.AddTasks{Run: res.Run, Specs: p.specs, Tasks: p.tasks}
		added, err := s.submit(ctx, cmd)
		if err != nil {
			return added, fmt.Errorf("submit run %s: add tasks: %w", res.Run, err)
		}
		res.Index = added.Index
	}
	return res, nil
}

func sourceOf(text, filename string, files []rota.File) jobspecs.Source {
	return jobspecs.Source{Filename: filename, Text: []byte(text), Files: files}
}

// Bounds of what comes with a submission.
const (
	maxFilename   = 1024
	maxFiles      = 1000
	maxFilesBytes = 1 << 20
	maxLabels     = 64
	maxLabelBytes = 256
)

// checkSource refuses what is too large before anything is parsed.
func checkSource(source, filename string, files []rota.File) error {
	tooLarge := func(limit, format string, args ...any) error {
		p := newProblem(TypeTooLarge, fmt.Sprintf(format, args...))
		p.Limit = limit
		return p
	}
	switch size := filesSize(files); {
	case len(source) > rota.MaxSourceBytes:
		return tooLarge("source_bytes", "the job file has %d bytes, the limit is %d (1 MiB): move data into files that tasks read, or split the job", len(source), rota.MaxSourceBytes)
	case len(files) > maxFiles:
		return tooLarge("files", "%d files are sent along, the limit is %d", len(files), maxFiles)
	case size > maxFilesBytes:
		return tooLarge("files_bytes", "the files sent along have %d bytes, the limit is %d (1 MiB)", size, maxFilesBytes)
	case len(filename) > maxFilename:
		return tooLarge("filename_bytes", "the file's name has %d bytes, the limit is %d", len(filename), maxFilename)
	}
	if !printable(filename) {
		return newProblem(TypeInvalid, "the file's name holds control characters")
	}
	for _, f := range files {
		if f.Path == "" || len(f.Path) > maxFilename || !printable(f.Path) {
			return newProblem(TypeInvalid, fmt.Sprintf("%q cannot be the path of a file", clip(f.Path, 100)))
		}
	}
	return nil
}

func filesSize(files []rota.File) int {
	size := 0
	for _, f := range files {
		size += len(f.Path) + len(f.Data)
	}
	return size
}

func printable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

func checkPriority(p *int) error {
	if p != nil && (*p < 0 || *p > 100) {
		return newProblem(TypeInvalid, fmt.Sprintf(`"priority" is %d; want 0 to 100, 100 first`, *p))
	}
	return nil
}

func checkLabels(labels map[string]string) ([]rota.Pair, error) {
	if len(labels) > maxLabels {
		p := newProblem(TypeTooLarge, fmt.Sprintf("%d labels, the limit is %d", len(labels), maxLabels))
		p.Limit = "labels"
		return nil, p
	}
	pairs := rota.PairsOf(labels)
	for _, p := range pairs {
		if p.Key == "" || len(p.Key) > maxLabelBytes || len(p.Value) > maxLabelBytes || !printable(p.Key) || !printable(p.Value) {
			return nil, newProblem(TypeInvalid, fmt.Sprintf("label %q: key and value are printable, the key is not empty, each has %d bytes at most", clip(p.Key, 60), maxLabelBytes))
		}
	}
	return pairs, nil
}
