package cmd_test

import (
	"io"
	"net/http"

	"github.com/rota-sched/rota/api"
)

// handleServers answers for three servers, one of which is gone, and gives a snapshot
// that breaks off.
func handleServers(mux *http.ServeMux) {
	ms := int64(1500)
	servers := []api.ServerDetail{
		{ID: "id-1", Name: "n1", Address: "127.0.0.1:8420", Raft: "127.0.0.1:8421", State: "leader", Voter: true},
		{ID: "id-2", Name: "n2", Address: "127.0.0.1:8430", Raft: "127.0.0.1:8431", State: "follower", Voter: true, Replaces: "id-0"},
		{ID: "id-3", Name: "n3", Address: "127.0.0.1:8440", Raft: "127.0.0.1:8441", State: "unreachable", LastContactMs: &ms},
	}
	mux.HandleFunc("GET /v1/servers", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, api.List[api.ServerDetail]{Items: servers})
	})
	mux.HandleFunc("POST /v1/servers/{id}/remove", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range servers {
			if s.Name == r.PathValue("id") {
				answer(w, 200, s)
				return
			}
		}
		http.NotFound(w, r)
	})
	mux.HandleFunc("POST /v1/servers:transfer", func(w http.ResponseWriter, _ *http.Request) {
		name := "n2"
		answer(w, 200, api.TransferView{Leader: &name})
	})
	mux.HandleFunc("GET /v1/snapshot", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "half a snapsh") })
}
