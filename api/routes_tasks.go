package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

func (s *Server) getTask(rd *reading) error {
	_, t, err := findTask(rd.snap, rd.PathValue("run"), rd.PathValue("key"))
	if err != nil {
		return err
	}
	v := viewTaskDetail(rd.snap, t)
	if t.Status == rota.StatusQueued && v.Reason == nil {
		if why, ok := s.reasons(rd.Context(), []*rota.Task{t})[t.ID.Key]; ok {
			v.Reason = &why
		}
	}
	return answer(rd.w, http.StatusOK, v)
}

// Bounds of asking the leader why tasks wait: it is an extra that must not hold up
// an answer.
const (
	reasonWait = 250 * time.Millisecond
	maxReasons = 100
)

// reasonsAsked asks another node why tasks of one run wait.
type reasonsAsked struct {
	Run  rota.RunID     `json:"run"`
	Keys []rota.TaskKey `json:"keys"`
}

// reasons finds out why queued tasks of one run wait; without those that could not
// be found out in a moment. Tasks that ask for the same wait for the same: of those
// with one spec the first is asked about.
func (s *Server) reasons(ctx context.Context, queued []*rota.Task) map[rota.TaskKey]rota.Reason {
	if len(queued) == 0 {
		return nil
	}
	first := make(map[*rota.TaskSpec]rota.TaskKey)
	ask := reasonsAsked{Run: queued[0].ID.Run}
	for _, t := range queued {
		if _, asked := first[t.Spec]; !asked && len(ask.Keys) < maxReasons {
			first[t.Spec] = t.ID.Key
			ask.Keys = append(ask.Keys, t.ID.Key)
		}
	}
	found := s.askReasons(ctx, ask)
	all := make(map[rota.TaskKey]rota.Reason, len(queued))
	for _, t := range queued {
		if why, ok := found[first[t.Spec]]; ok {
			all[t.ID.Key] = why
		}
	}
	return all
}

// askReasons asks the leader.
func (s *Server) askReasons(ctx context.Context, ask reasonsAsked) map[rota.TaskKey]rota.Reason {
	ctx, cancel := context.WithTimeout(ctx, reasonWait)
	defer cancel()
	if s.leads() {
		return s.explainAll(ctx, ask)
	}
	_, address, ok := s.deps.State.Leader()
	if !ok || address == "" || s.deps.Credentials == nil {
		return nil
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil
	}
	b, err := s.caller().call(ctx, address, "reasons", body)
	if err != nil {
		return nil
	}
	var found map[rota.TaskKey]rota.Reason
	if json.Unmarshal(b, &found) != nil {
		return nil
	}
	return found
}

func (s *Server) explainAll(ctx context.Context, ask reasonsAsked) map[rota.TaskKey]rota.Reason {
	found := make(map[rota.TaskKey]rota.Reason, len(ask.Keys))
	for _, key := range ask.Keys {
		e, err := s.deps.Duties.Explain(ctx, rota.TaskID{Run: ask.Run, Key: key})
		if err != nil && ctx.Err() != nil {
			break
		}
		if err == nil && e.Reason != nil {
			found[key] = *e.Reason
		}
	}
	return found
}

func (s *Server) explainTask(w http.ResponseWriter, r *http.Request) error {
	if !s.leads() {
		return s.passOn(w, r)
	}
	s.armed(w, s.cfg.ReadWait)
	var snap *fsm.Snapshot
	var t *rota.Task
	err := s.find(r.Context(), func(now *fsm.Snapshot) (err error) {
		snap = now
		_, t, err = findTask(now, r.PathValue("run"), r.PathValue("key"))
		return err
	})
	if err != nil {
		return err
	}
	v := &ExplainView{Reason: stateReason(t)}
	if t.Status == rota.StatusQueued {
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadWait)
		defer cancel()
		if v, err = s.deps.Duties.Explain(ctx, t.ID); err != nil {
			return fmt.Errorf("explain task %q: %w", t.ID, err)
		}
	} else if v.Reason == nil {
		v.Reason = placedReason(t, latestNode(snap, t))
	}
	v.Run, v.Key, v.Status, v.Candidates = t.ID.Run, t.ID.Key, t.Status, list(v.Candidates)
	s.stamp(w, snap)
	return answer(w, http.StatusOK, v)
}

// placedReason says where a task that does not wait is, or how it ended.
func placedReason(t *rota.Task, node string) *rota.Reason {
	text := ""
	switch {
	case t.Status.Terminal() && t.Cause != rota.CauseNone:
		text = fmt.Sprintf("it ended after %d attempts, the last on %s: %s", t.Attempt, node, t.Cause)
		if t.Message != "" {
			text += ": " + t.Message
		}
	case t.Status.Terminal():
		text = fmt.Sprintf("it ended on %s with attempt %d", node, t.Attempt)
	case t.Placement != nil:
		text = fmt.Sprintf("attempt %d is on %s since %s", t.Attempt, node, t.Placement.At.Time().Format(time.RFC3339))
	default:
		return nil
	}
	return &rota.Reason{Code: t.Status.String(), Text: text}
}

// changeTask proposes something about a task and answers with what it is then.
func (s *Server) changeTask(w http.ResponseWriter, r *http.Request, what string, op func(rota.TaskID) rota.Op) error {
	var run *rota.Run
	var t *rota.Task
	err := s.find(r.Context(), func(snap *fsm.Snapshot) (err error) {
		run, t, err = findTask(snap, r.PathValue("run"), r.PathValue("key"))
		return err
	})
	if err != nil {
		return err
	}
	if err := s.propose(r.Context(), r, run.Namespace, op(t.ID)); err != nil {
		return fmt.Errorf("%s task %q: %w", what, t.ID, err)
	}
	snap := s.deps.State.Snapshot()
	if now, ok := snap.Task(t.ID); ok {
		t = now
	}
	s.stamp(w, snap)
	return answer(w, http.StatusOK, viewTaskDetail(snap, t))
}

func (s *Server) cancelTask(w http.ResponseWriter, r *http.Request) error {
	reason, err := s.readReason(w, r)
	if err != nil {
		return err
	}
	return s.changeTask(w, r, "cancel", func(id rota.TaskID) rota.Op { return rota.CancelTask{Task: id, Reason: reason} })
}

func (s *Server) answerTask(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Rerun *bool `json:"rerun"`
	}
	if err := s.readSmall(w, r, &req); err != nil {
		return err
	}
	if req.Rerun == nil {
		return newProblem(TypeInvalid, `the body needs "rerun": true to run the task again, false to give it up`)
	}
	return s.changeTask(w, r, "answer for", func(id rota.TaskID) rota.Op { return rota.Answer{Task: id, Rerun: *req.Rerun} })
}
