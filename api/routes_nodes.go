package api

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

func (s *Server) getStatus(rd *reading) error {
	snap, pos := rd.snap, s.deps.State.Position()
	counts := snap.Counts()
	v := StatusView{
		Version: s.cfg.Version, Node: s.cfg.Name, Term: pos.Term, Index: snap.Index(), IndexAgeMs: pos.Age.Milliseconds(),
		LastContactMs: millis(pos.LastContact), Servers: []ServerView{}, Tasks: make(map[string]int, len(rota.Statuses)),
		CostMicros: snap.Usage().Cost,
	}
	if s.deps.Credentials != nil {
		v.ClusterID, _ = s.deps.Credentials()
	}
	if name := s.leaderName(snap); name != "" {
		v.Leader = &name
	}
	for _, st := range rota.Statuses {
		v.Tasks[st.String()] = counts[st]
	}
	for n := range snap.Nodes() {
		switch n.State() {
		case rota.NodeReady:
			v.Nodes.Ready++
		case rota.NodeDraining:
			v.Nodes.Draining++
		case rota.NodeSuspect:
			v.Nodes.Suspect++
		case rota.NodeUnfit:
			v.Nodes.Unfit++
		case rota.NodeDown:
			v.Nodes.Down++
		case rota.NodeLeft: // went as planned
		}
	}
	for _, r := range s.deps.State.Servers() {
		v.Servers = append(v.Servers, viewServer(r))
	}
	return answer(rd.w, http.StatusOK, &v)
}

func viewServer(r Replica) ServerView {
	v := ServerView{ID: r.ID, Name: r.Name, Address: r.Address, State: "follower", LastContactMs: millis(r.LastContact)}
	switch {
	case r.Leader:
		v.State = "leader"
	case !r.Reachable:
		v.State = "unreachable"
	case !r.Voter:
		v.State = "non_voter"
	}
	return v
}

// millis is null for a time that is not known.
func millis(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, &VersionView{
		Version: s.cfg.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, MaxFormat: s.cfg.MaxFormat,
	})
}

func (s *Server) getDoctor(w http.ResponseWriter, r *http.Request) error {
	v := DoctorView{Node: s.cfg.Name, Checks: []Check{}}
	if s.deps.Doctor != nil {
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
		defer cancel()
		v.Checks = list(s.deps.Doctor(ctx))
	}
	return answer(w, http.StatusOK, &v)
}

func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // a reader that went away
	return nil
}

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) error {
	v := ReadyView{Ready: true, Checks: []Check{}}
	if s.deps.Ready != nil {
		v.Checks = list(s.deps.Ready())
	}
	for _, c := range v.Checks {
		v.Ready = v.Ready && c.OK
	}
	status := http.StatusOK
	if !v.Ready {
		status = http.StatusServiceUnavailable
	}
	return answer(w, status, &v)
}

func (s *Server) listNodes(rd *reading) error {
	limit, err := rd.limit()
	if err != nil {
		return err
	}
	after := rd.query.Get("cursor")
	page := List[NodeView]{Items: []NodeView{}}
	for n := range rd.snap.Nodes() {
		at := n.Name + "/" + string(n.ID)
		if after != "" && at <= after {
			continue
		}
		if len(page.Items) == limit {
			last := page.Items[limit-1]
			next := last.Name + "/" + string(last.ID)
			page.NextCursor = &next
			break
		}
		page.Items = append(page.Items, viewNode(n))
	}
	return answer(rd.w, http.StatusOK, &page)
}

func (s *Server) getNode(rd *reading) error {
	n, err := findNode(rd.snap, rd.PathValue("id"))
	if err != nil {
		return err
	}
	v := viewNode(n)
	for h := range rd.snap.Holds(n.ID) {
		v.Attempts = append(v.Attempts, HoldView{Task: h.Task.String(), Fence: h.Fence, Resources: h.Resources, GPUs: list(h.GPUs)})
	}
	return answer(rd.w, http.StatusOK, &v)
}

func (s *Server) drain(drain bool) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.readSmall(w, r, &struct{}{}); err != nil {
			return err
		}
		var n *rota.Node
		err := s.find(r.Context(), func(snap *fsm.Snapshot) (err error) {
			n, err = findNode(snap, r.PathValue("id"))
			return err
		})
		if err != nil {
			return err
		}
		if err := s.propose(r.Context(), r, DefaultNamespace, rota.MarkNode{Node: n.ID, Drain: &drain}); err != nil {
			return fmt.Errorf("drain node %q: %w", n.Name, err)
		}
		snap := s.deps.State.Snapshot()
		if now, ok := snap.Node(n.ID); ok {
			n = now
		}
		s.stamp(w, snap)
		v := viewNode(n)
		return answer(w, http.StatusOK, &v)
	}
}

func (s *Server) explainNode(w http.ResponseWriter, r *http.Request) error {
	if !s.leads() {
		return s.passOn(w, r)
	}
	s.armed(w, s.cfg.ReadWait)
	var snap *fsm.Snapshot
	var n *rota.Node
	err := s.find(r.Context(), func(now *fsm.Snapshot) (err error) {
		snap = now
		n, err = findNode(now, r.PathValue("id"))
		return err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadWait)
	defer cancel()
	v, err := s.deps.Duties.ExplainNode(ctx, n.ID)
	if err != nil {
		return fmt.Errorf("explain node %q: %w", n.Name, err)
	}
	v.Node = viewNode(n)
	v.Lines, v.Queued = list(v.Lines), list(v.Queued)
	s.stamp(w, snap)
	return answer(w, http.StatusOK, v)
}

// passOn passes on what only the leading node can answer.
func (s *Server) passOn(w http.ResponseWriter, r *http.Request) error {
	if s.deps.State.Snapshot() == nil {
		if _, address, ok := s.deps.State.Leader(); !ok || address == "" {
			return s.passToServer(w, r)
		}
	}
	return s.passToLeader(w, r)
}

// statusFilter reads ?status=, which may be repeated or hold commas.
func statusFilter[T any](rd *reading, parse func(string) (T, error)) ([]T, error) {
	var wanted []T
	for _, word := range splitWords(rd.query["status"]) {
		st, err := parse(word)
		if err != nil {
			return nil, newProblem(TypeInvalid, "?status="+clip(word, 60)+": there is no such status")
		}
		wanted = append(wanted, st)
	}
	return wanted, nil
}

func wanted[T comparable](these []T, one T) bool {
	return len(these) == 0 || slices.Contains(these, one)
}
