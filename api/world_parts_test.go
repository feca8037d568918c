package api_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

type history struct{ n *worldNode }

func eventPlace(id string) [3]uint64 {
	var p [3]uint64
	for i, part := range strings.Split(id, "-") {
		p[i], _ = strconv.ParseUint(part, 10, 64)
	}
	return p
}

func (h history) Read(after string, limit int) ([]rota.Event, error) {
	h.n.w.mu.Lock()
	defer h.n.w.mu.Unlock()
	kept := h.n.w.events[min(h.n.w.oldest, len(h.n.w.events)):]
	at := 0
	if after != "" {
		place := eventPlace(after)
		at = len(kept)
		for i := range kept {
			if p := eventPlace(kept[i].ID); slices.Compare(p[:], place[:]) > 0 {
				at = i
				break
			}
		}
		if at == 0 && h.n.w.oldest > 0 {
			return nil, fmt.Errorf("read: %w", api.ErrGone)
		}
	}
	return slices.Clone(kept[at:min(len(kept), at+limit)]), nil
}

func (h history) Last() string {
	h.n.w.mu.Lock()
	defer h.n.w.mu.Unlock()
	if len(h.n.w.events) == 0 {
		return ""
	}
	return h.n.w.events[len(h.n.w.events)-1].ID
}

func (h history) Changed() <-chan struct{} {
	h.n.w.mu.Lock()
	defer h.n.w.mu.Unlock()
	return h.n.w.changed
}

// duties are those of the node that leads.
type duties struct{ n *worldNode }

func (d duties) leads() error {
	d.n.w.mu.Lock()
	defer d.n.w.mu.Unlock()
	if d.n.w.leader < 0 || d.n.w.nodes[d.n.w.leader] != d.n {
		return rota.ErrNoLeader
	}
	return nil
}

func (d duties) Renew(_ context.Context, s rota.Session) (rota.Renewal, error) {
	if err := d.leads(); err != nil {
		return rota.Renewal{}, err
	}
	d.n.w.mu.Lock()
	defer d.n.w.mu.Unlock()
	d.n.renewed = append(d.n.renewed, s)
	return rota.Renewal{Current: true, Term: 1, Index: 9, Leader: d.n.id}, nil
}

func (d duties) Attach(ctx context.Context, s rota.Session, send func(*rota.View) error) error {
	if err := d.leads(); err != nil {
		return err
	}
	if s.Counter == 99 {
		return rota.ErrStale
	}
	if err := send(&rota.View{Term: 1, Session: s, Full: true}); err != nil {
		return err
	}
	for {
		select {
		case v := <-d.n.views:
			if v == nil {
				return rota.ErrStale
			}
			if err := send(v); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d duties) Explain(_ context.Context, task rota.TaskID) (*api.ExplainView, error) {
	if err := d.leads(); err != nil {
		return nil, err
	}
	if _, ok := d.n.w.snapshot().Task(task); !ok {
		return nil, rota.ErrNotFound
	}
	return &api.ExplainView{Reason: &rota.Reason{Code: rota.ReasonNoRoom, Text: "no room for " + string(task.Key)}, Place: 1, Queued: 1}, nil
}

func (d duties) ExplainNode(context.Context, rota.NodeID) (*api.ExplainNodeView, error) {
	if err := d.leads(); err != nil {
		return nil, err
	}
	return &api.ExplainNodeView{Lines: []string{"it could take 0"}}, nil
}

func (d duties) Plan(_ context.Context, job *rota.Job) (*api.Placing, error) {
	if err := d.leads(); err != nil {
		return nil, err
	}
	p := &api.Placing{Nodes: map[rota.TaskKey]string{}, Reasons: map[rota.TaskKey]rota.Reason{}}
	for _, t := range job.Tasks {
		if len(t.DependsOn) == 0 {
			p.Nodes[t.Key] = "n1"
		}
	}
	return p, nil
}
