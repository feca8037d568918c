package node

import (
	"context"
	"fmt"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
	"github.com/rota-sched/rota/leader"
	"github.com/rota-sched/rota/scheduler"
)

// leaderSide is the leader's duties as the HTTP door wants them.
type leaderSide struct{ l *leader.Leader }

var _ api.Duties = leaderSide{}

// Renew implements api.Duties.
func (s leaderSide) Renew(ctx context.Context, session rota.Session) (rota.Renewal, error) {
	return s.l.Renew(ctx, session)
}

// Attach implements api.Duties.
func (s leaderSide) Attach(ctx context.Context, session rota.Session, send func(*rota.View) error) error {
	return s.l.Attach(ctx, session, send)
}

// Explain implements api.Duties.
func (s leaderSide) Explain(ctx context.Context, task rota.TaskID) (*api.ExplainView, error) {
	e, err := s.l.Explain(ctx, task)
	if err != nil {
		return nil, err
	}
	v := &api.ExplainView{Run: e.Task.Run, Key: e.Task.Key, Status: e.Status, Reason: reasonOrNull(e.Reason), Candidates: []api.ExplainCandidate{}}
	if e.Queue != nil {
		v.Place, v.Queued = e.Queue.Ahead+1, e.Queue.Queued
	}
	for _, n := range e.Nodes {
		v.Candidates = append(v.Candidates, api.ExplainCandidate{Node: n.Node, Fits: n.Code == "", Misfit: n.Code, Text: n.Text, Count: 1})
	}
	return v, nil
}

func reasonOrNull(r rota.Reason) *rota.Reason {
	if r.IsZero() {
		return nil
	}
	return &r
}

// ExplainNode implements api.Duties.
func (s leaderSide) ExplainNode(ctx context.Context, node rota.NodeID) (*api.ExplainNodeView, error) {
	e, err := s.l.ExplainNode(ctx, node)
	if err != nil {
		return nil, err
	}
	return &api.ExplainNodeView{Lines: nodeLines(e), Queued: []api.ExplainView{}, Reason: nodeReason(e)}, nil
}

func nodeLines(e scheduler.NodeExplanation) []string {
	lines := []string{fmt.Sprintf("queued: %d; it could take %d of them now, has no room for %d, could never run %d", e.Queued, e.Fit, e.Later, e.Never)}
	for _, w := range e.Why {
		lines = append(lines, fmt.Sprintf("%s keeps %d off it", w.Code, w.Tasks))
	}
	return lines
}

func nodeReason(e scheduler.NodeExplanation) *rota.Reason {
	if e.State == rota.NodeReady {
		return nil
	}
	return &rota.Reason{Code: string(e.State), Text: fmt.Sprintf("the node is %s and gets nothing new", e.State)}
}

// Plan implements api.Duties.
func (s leaderSide) Plan(ctx context.Context, job *rota.Job) (*api.Placing, error) {
	dry, err := s.l.Plan(ctx, job)
	if err != nil {
		return nil, err
	}
	p := &api.Placing{Nodes: map[rota.TaskKey]string{}, Reasons: map[rota.TaskKey]rota.Reason{}}
	for _, t := range dry.Ready {
		if t.Node != "" {
			p.Nodes[t.Key] = t.Node
		} else {
			p.Reasons[t.Key] = t.Reason
		}
	}
	for _, no := range dry.Impossible {
		p.Reasons[no.Key] = no.Reason
	}
	return p, nil
}
