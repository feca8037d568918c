package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// admin cares for the servers of a world, as seen from one node.
type admin struct {
	n *worldNode

	mu      sync.Mutex // guards what follows
	removed []string
	cut     bool // a backup ends in its middle
}

func (a *admin) leads() error { return duties{a.n}.leads() }

func (a *admin) Servers() []api.ServerDetail {
	return []api.ServerDetail{{ID: a.n.id, Name: a.n.name, State: "follower", Voter: true}}
}

func (a *admin) Remove(_ context.Context, server string) (api.ServerDetail, error) {
	if err := a.leads(); err != nil {
		return api.ServerDetail{}, err
	}
	if server != "n3" {
		return api.ServerDetail{}, &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("no server is called %q", server)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removed = append(a.removed, server)
	return api.ServerDetail{Name: server}, nil
}

func (a *admin) Transfer(_ context.Context, server string) error {
	if err := a.leads(); err != nil {
		return err
	}
	a.n.w.mu.Lock()
	defer a.n.w.mu.Unlock()
	for i, n := range a.n.w.nodes {
		if n.name == server {
			a.n.w.leader = i
			return nil
		}
	}
	return &rota.Refusal{Kind: rota.KindNotFound, Detail: fmt.Sprintf("no server is called %q", server)}
}

func (a *admin) Backup(ctx context.Context, w io.Writer, stale bool) error {
	if !stale {
		if _, err := a.n.Barrier(ctx); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(w, "the state, "); err != nil {
		return err
	}
	if a.cut {
		return errors.New("the disk")
	}
	_, err := fmt.Fprintf(w, "stale: %t", stale)
	return err
}

// ministry gives every node of a world a door with the routes for servers.
func ministry(t *testing.T, w *world) []*admin {
	t.Helper()
	var all []*admin
	for _, n := range w.nodes {
		a := &admin{n: n}
		cfg := api.DefaultConfig()
		cfg.ID, cfg.Name = n.id, n.name
		s, err := api.New(cfg, api.Deps{State: n, Duties: duties{n}, Admin: a})
		if err != nil {
			t.Fatal(err)
		}
		n.http.Close()
		n.http = httptest.NewServer(s.Handler())
		t.Cleanup(n.http.Close)
		all = append(all, a)
	}
	return all
}

// TestServersAreListedByWhoeverIsAsked, also while nobody leads; a node without a
// replica asks one that has.
func TestServersAreListedByWhoeverIsAsked(t *testing.T) {
	w := newWorld(t, 3, 2)
	ministry(t, w)
	for i, want := range []string{"n1", "n2", "n1"} {
		list, err := w.client(t, i).Servers(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != want {
			t.Errorf("node %d: %+v, %v", i, list, err)
		}
	}
	w.mu.Lock()
	w.leader = -1
	w.mu.Unlock()
	if list, err := w.client(t, 1).Servers(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("without a leader: %+v, %v", list, err)
	}
}

// TestAServerIsRemovedByTheLeader, whichever node was asked, and a word that means none
// is refused.
func TestAServerIsRemovedByTheLeader(t *testing.T) {
	w := newWorld(t, 3, 2)
	all := ministry(t, w)
	for i := range 3 {
		if v, err := w.client(t, i).RemoveServer(t.Context(), "n3"); err != nil || v.Name != "n3" {
			t.Errorf("through node %d: %+v, %v", i, v, err)
		}
	}
	if len(all[0].removed) != 3 || len(all[1].removed)+len(all[2].removed) != 0 {
		t.Errorf("removed by n1: %v, n2: %v, n3: %v", all[0].removed, all[1].removed, all[2].removed)
	}
	if _, err := w.client(t, 1).RemoveServer(t.Context(), "nobody"); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	w.mu.Lock()
	w.leader = -1
	w.mu.Unlock()
	if _, err := w.client(t, 1).RemoveServer(t.Context(), "n3"); !errors.Is(err, rota.ErrNoLeader) {
		t.Errorf("without a leader: %v", err)
	}
}

// TestTheLeadIsHandedToTheServerNamed, and the answer says who has it.
func TestTheLeadIsHandedToTheServerNamed(t *testing.T) {
	w := newWorld(t, 2, 2)
	ministry(t, w)
	c := w.client(t, 1)
	if _, err := c.TransferLead(t.Context(), "nobody"); !errors.Is(err, rota.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	for _, to := range []string{"n2", "n1"} {
		v, err := c.TransferLead(t.Context(), to)
		if err != nil || v.Leader == nil || *v.Leader != to {
			t.Errorf("to %s: %+v, %v", to, v, err)
		}
	}
}

// TestASnapshotComesFromAnyNode; only a stale one does without a leader.
func TestASnapshotComesFromAnyNode(t *testing.T) {
	w := newWorld(t, 3, 2)
	all := ministry(t, w)
	read := func(node int, stale bool) (string, error) {
		body, err := w.client(t, node).Snapshot(t.Context(), stale)
		if err != nil {
			return "", err
		}
		defer closed(t, body)
		b, err := io.ReadAll(body)
		return string(b), err
	}
	for i := range 3 {
		for _, stale := range []bool{false, true} {
			if got, err := read(i, stale); err != nil || got != fmt.Sprintf("the state, stale: %t", stale) {
				t.Errorf("node %d, stale %t: %q, %v", i, stale, got, err)
			}
		}
	}
	w.mu.Lock()
	w.leader = -1
	w.mu.Unlock()
	if _, err := read(1, false); !errors.Is(err, rota.ErrNoLeader) {
		t.Errorf("without a leader: %v", err)
	}
	if got, err := read(1, true); err != nil || got != "the state, stale: true" {
		t.Errorf("a stale one without a leader: %q, %v", got, err)
	}
	all[1].cut = true
	if got, err := read(1, true); err == nil {
		t.Errorf("one that was cut short looks whole: %q", got)
	}
	if status, _, _ := raw(t, "GET", w.nodes[0].http.URL+"/v1/snapshot?stale=perhaps", "", nil); status != 400 {
		t.Errorf("a query that means nothing: %d", status)
	}
}
