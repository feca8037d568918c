package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// maxRunTasks is how many tasks a run carries along.
const maxRunTasks = largestLimit

// runFilter is the parsed query of a list of runs.
type runFilter struct {
	namespace, job string
	status         []rota.RunStatus
	labels         []rota.Pair
	since          rota.Instant
	from           runCursor
}

// runCursor is the run that a page ended with.
type runCursor struct {
	At  rota.Instant `json:"a"`
	Run rota.RunID   `json:"r"`
}

func (rd *reading) runFilter() (*runFilter, error) {
	f := &runFilter{namespace: rd.query.Get("namespace"), job: rd.query.Get("job")}
	var err error
	f.status, err = statusFilter(rd, func(word string) (s rota.RunStatus, err error) { return s, s.UnmarshalText([]byte(word)) })
	if err != nil {
		return nil, err
	}
	for _, l := range rd.query["label"] {
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			return nil, badQuery("label", l, "KEY=VALUE or KEY")
		}
		f.labels = append(f.labels, rota.Pair{Key: key, Value: value})
	}
	if text := rd.query.Get("since"); text != "" {
		if f.since, err = sinceOf(text, rd.snap.Now()); err != nil {
			return nil, err
		}
	}
	if text := rd.query.Get("cursor"); text != "" {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(b, &f.from) != nil || f.from.Run == "" {
			return nil, badQuery("cursor", text, "the next_cursor of the page before")
		}
	}
	return f, nil
}

// sinceOf reads a moment, or a duration back from now.
func sinceOf(text string, now rota.Instant) (rota.Instant, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return rota.InstantOf(t), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, badQuery("since", text, "a moment as 2026-01-02T15:04:05Z or a duration back such as 24h")
	}
	return now.Add(-d), nil
}

func (f *runFilter) takes(r *rota.Run) bool {
	if f.namespace != "" && r.Namespace != f.namespace || f.job != "" && r.Job != f.job || !wanted(f.status, r.Status) {
		return false
	}
	for _, l := range f.labels {
		value, ok := rota.LookUp(r.Labels, l.Key)
		if !ok || l.Value != "" && value != l.Value {
			return false
		}
	}
	return true
}

func (s *Server) listRuns(rd *reading) error {
	f, err := rd.runFilter()
	if err != nil {
		return err
	}
	limit, err := rd.limit()
	if err != nil {
		return err
	}
	page := List[RunView]{Items: []RunView{}}
	past := f.from.Run == "" // the runs of the pages before lie behind
	for r := range rd.snap.Runs() {
		if r.CreatedAt < f.since {
			break
		}
		if !past {
			if r.CreatedAt >= f.from.At {
				past = r.ID == f.from.Run
				continue
			}
			past = true // the run that the page ended with is gone
		}
		if !f.takes(r) {
			continue
		}
		if len(page.Items) == limit {
			last := page.Items[limit-1]
			next, err := json.Marshal(runCursor{At: last.CreatedAt, Run: last.ID})
			if err != nil {
				return fmt.Errorf("make a cursor: %w", err)
			}
			text := base64.RawURLEncoding.EncodeToString(next)
			page.NextCursor = &text
			break
		}
		page.Items = append(page.Items, viewRun(r))
	}
	return answer(rd.w, http.StatusOK, &page)
}

func (s *Server) getRun(rd *reading) error {
	r, err := findRun(rd.snap, rd.PathValue("id"))
	if err != nil {
		return err
	}
	tasks, err := rd.flag("tasks")
	if err != nil {
		return err
	}
	outputs, err := rd.flag("outputs")
	if err != nil {
		return err
	}
	v := viewRun(r)
	v.Variables = make(map[string]json.RawMessage, len(r.Variables))
	for _, x := range r.Variables {
		if x.Name == rota.EventVariable {
			v.Event = x.Value
			continue
		}
		v.Variables[x.Name] = x.Value
	}
	if tasks {
		page := s.taskPage(rd, r, taskQuery{limit: maxRunTasks, outputs: outputs})
		v.Tasks, v.TasksNextCursor = page.Items, page.NextCursor
	}
	return answer(rd.w, http.StatusOK, &v)
}

// taskQuery chooses tasks of a run.
type taskQuery struct {
	from, limit int
	outputs     bool
	status      []rota.Status
}

// maxPageOutputs bounds the outputs that one page carries.
const maxPageOutputs = 32 << 20

func (s *Server) taskPage(rd *reading, r *rota.Run, q taskQuery) List[TaskView] {
	page := List[TaskView]{Items: []TaskView{}}
	var queued []*rota.Task
	size := 0
	for t := range rd.snap.TaskAt(r.ID, q.from) {
		if !wanted(q.status, t.Status) {
			continue
		}
		if len(page.Items) == q.limit || size > maxPageOutputs {
			next := strconv.Itoa(t.Order)
			page.NextCursor = &next
			break
		}
		v := viewTask(rd.snap, t, q.outputs)
		size += len(v.Output)
		page.Items = append(page.Items, v)
		if t.Status == rota.StatusQueued {
			queued = append(queued, t)
		}
	}
	if reasons := s.reasons(rd.Context(), queued); len(reasons) > 0 {
		for i := range page.Items {
			if why, ok := reasons[page.Items[i].Key]; ok && page.Items[i].Reason == nil {
				page.Items[i].Reason = &why
			}
		}
	}
	return page
}

func (s *Server) listTasks(rd *reading) error {
	r, err := findRun(rd.snap, rd.PathValue("id"))
	if err != nil {
		return err
	}
	var q taskQuery
	if q.limit, err = rd.limit(); err != nil {
		return err
	}
	if q.outputs, err = rd.flag("outputs"); err != nil {
		return err
	}
	q.status, err = statusFilter(rd, func(word string) (s rota.Status, err error) { return s, s.UnmarshalText([]byte(word)) })
	if err != nil {
		return err
	}
	if text := rd.query.Get("cursor"); text != "" {
		if q.from, err = strconv.Atoi(text); err != nil || q.from < 0 {
			return badQuery("cursor", text, "the next_cursor of the page before")
		}
	}
	page := s.taskPage(rd, r, q)
	return answer(rd.w, http.StatusOK, &page)
}

func (s *Server) getGraph(rd *reading) error {
	r, err := findRun(rd.snap, rd.PathValue("id"))
	if err != nil {
		return err
	}
	v := GraphView{Run: r.ID, Nodes: make([]GraphNode, 0, r.Total), Edges: []GraphEdge{}}
	for t := range rd.snap.Tasks(r.ID) {
		v.Nodes = append(v.Nodes, GraphNode{Key: t.ID.Key, Status: t.Status})
		for _, e := range t.DependsOn {
			v.Edges = append(v.Edges, GraphEdge{From: e.On, To: t.ID.Key, Kind: e.Kind.String()})
		}
	}
	return answer(rd.w, http.StatusOK, &v)
}

// maxReason bounds the words a person gives.
const maxReason = 500

func (s *Server) readReason(w http.ResponseWriter, r *http.Request) (string, error) {
	var req CancelRequest
	if err := s.readSmall(w, r, &req); err != nil {
		return "", err
	}
	if len(req.Reason) > maxReason || !printable(req.Reason) {
		return "", newProblem(TypeInvalid, fmt.Sprintf(`"reason" is one printable line of %d bytes at most`, maxReason))
	}
	return req.Reason, nil
}

func (s *Server) cancelRun(w http.ResponseWriter, r *http.Request) error {
	reason, err := s.readReason(w, r)
	if err != nil {
		return err
	}
	var run *rota.Run
	err = s.find(r.Context(), func(snap *fsm.Snapshot) (err error) {
		run, err = findRun(snap, r.PathValue("id"))
		return err
	})
	if err != nil {
		return err
	}
	if err := s.propose(r.Context(), r, run.Namespace, rota.CancelRun{Run: run.ID, Reason: reason}); err != nil {
		return fmt.Errorf("cancel run %s: %w", run.ID, err)
	}
	snap := s.deps.State.Snapshot()
	if now, ok := snap.Run(run.ID); ok {
		run = now
	}
	s.stamp(w, snap)
	v := viewRun(run)
	return answer(w, http.StatusOK, &v)
}

// splitWords splits repeated and comma-separated values.
func splitWords(values []string) []string {
	var words []string
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// joinWords joins words of a message; of many only the first.
func joinWords(words []string) string {
	const most = 8
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return strings.Join(slices.Concat(words[:most], []string{"..."}), ", ")
}
