package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rota-sched/rota"
)

// adminRoutes are those for the servers of the log and the state as a whole.
func (s *Server) adminRoutes() []route {
	if s.deps.Admin == nil {
		return nil
	}
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{method: get, path: "/v1/servers", id: "listServers", summary: "Servers of the log, as the node sees them", out: List[ServerDetail]{}, handle: s.listServers},
		{method: post, path: "/v1/servers/{id}/remove", id: "removeServer", summary: "Take a server out of the log for good", out: ServerDetail{}, handle: s.removeServer},
		{method: post, path: "/v1/servers:transfer", id: "transferLead", summary: "Hand the lead to another server", in: TransferRequest{}, out: TransferView{}, handle: s.transferLead},
		{method: get, path: "/v1/snapshot", id: "getSnapshot", summary: "The whole state, checksummed", query: []parameter{
			{"stale", "boolean", "As this node has it, without asking the leader."},
		}, media: "application/octet-stream", handle: s.getSnapshot},
	}
}

// listServers answers from this node, also while there is no leader.
func (s *Server) listServers(w http.ResponseWriter, r *http.Request) error {
	if s.deps.State.Snapshot() == nil && r.Header.Get(headerHop) == "" {
		if _, _, ok := s.deps.State.Leader(); ok {
			return s.passToServer(w, r)
		}
	}
	items := s.deps.Admin.Servers()
	if items == nil {
		items = []ServerDetail{}
	}
	return answer(w, http.StatusOK, &List[ServerDetail]{Items: items})
}

// onLeader has the leading node answer.
func (s *Server) onLeader(w http.ResponseWriter, r *http.Request, do func(ctx context.Context) error) error {
	if !s.leads() {
		return s.passToLeader(w, r)
	}
	s.armed(w, s.cfg.WriteWait)
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.WriteWait)
	defer cancel()
	return do(ctx)
}

func (s *Server) removeServer(w http.ResponseWriter, r *http.Request) error {
	return s.onLeader(w, r, func(ctx context.Context) error {
		v, err := s.deps.Admin.Remove(ctx, r.PathValue("id"))
		if err != nil {
			return err
		}
		return answer(w, http.StatusOK, &v)
	})
}

// transferLook is how often the new leader is looked for, for up to transferWait.
const (
	transferLook = 20 * time.Millisecond
	transferWait = 3 * time.Second
)

func (s *Server) transferLead(w http.ResponseWriter, r *http.Request) error {
	return s.onLeader(w, r, func(ctx context.Context) error {
		var in TransferRequest
		if err := s.readSmall(w, r, &in); err != nil {
			return err
		}
		if err := s.deps.Admin.Transfer(ctx, in.To); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, transferWait)
		defer cancel()
		var v TransferView
		for v.Leader == nil {
			if id, _, ok := s.deps.State.Leader(); ok && (id != s.cfg.ID || s.named(in.To)) {
				name := s.nameOf(id)
				v.Leader = &name
			} else if wait(ctx, transferLook) != nil {
				break
			}
		}
		return answer(w, http.StatusOK, &v)
	})
}

// named reports whether a word means this node.
func (s *Server) named(word string) bool { return word == s.cfg.Name || word == string(s.cfg.ID) }

func (s *Server) nameOf(id rota.NodeID) string {
	for _, r := range s.deps.State.Servers() {
		if r.ID == id && r.Name != "" {
			return r.Name
		}
	}
	return string(id)
}
