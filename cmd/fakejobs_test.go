package cmd_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// fakeJob is a stored job with two versions.
func fakeJob(name string, version int) api.JobView {
	j := api.JobView{Name: name, Namespace: "default", Version: 2, Hash: "beef", Filename: name + ".hcl", CreatedAt: ago(0), Source: "job \"" + name + "\" {\n  priority = 7\n}\n"}
	if version == 1 {
		j.Version, j.Source = 1, "job \""+name+"\" {\n}\n"
	}
	return j
}

func (f *fakeNode) handleJobs(mux *http.ServeMux) {
	missing := func(w http.ResponseWriter, r *http.Request) bool {
		if r.PathValue("name") == "nosuch" {
			refuse(w, 404, api.TypeNotFound, "Not found", `namespace "default" has no job "nosuch"`)
			return true
		}
		return false
	}
	mux.HandleFunc("GET /v1/jobs", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, api.List[api.JobView]{Items: []api.JobView{fakeJob("nightly", 2)}})
	})
	mux.HandleFunc("GET /v1/jobs/{name}", func(w http.ResponseWriter, r *http.Request) {
		version, _ := strconv.Atoi(r.URL.Query().Get("version"))
		if !missing(w, r) {
			answer(w, 200, fakeJob(r.PathValue("name"), version))
		}
	})
	mux.HandleFunc("GET /v1/jobs/{name}/versions", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, api.List[api.JobView]{Items: []api.JobView{fakeJob(r.PathValue("name"), 2), fakeJob(r.PathValue("name"), 1)}})
	})
	mux.HandleFunc("PUT /v1/jobs/{name}", func(w http.ResponseWriter, r *http.Request) {
		v := api.ApplyView{JobView: fakeJob(r.PathValue("name"), 2), Result: api.JobUpdated}
		if v.Name == "new" {
			v.Version, v.Result = 1, api.JobCreated
		}
		answer(w, 200, v)
	})
	mark := func(paused bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if missing(w, r) {
				return
			}
			j := fakeJob(r.PathValue("name"), 2)
			j.Paused = paused
			answer(w, 200, j)
		}
	}
	mux.HandleFunc("POST /v1/jobs/{name}/pause", mark(true))
	mux.HandleFunc("POST /v1/jobs/{name}/resume", mark(false))
	mux.HandleFunc("DELETE /v1/jobs/{name}", mark(false))
}

// dispatch answers what rota dispatch sends: a job by its name, or an array of them.
// The job "busy" refuses a line the first time it sees it, "never" always.
func (f *fakeNode) dispatch(w http.ResponseWriter, body []byte) {
	if body[0] != '[' {
		var in api.SubmitRequest
		_ = json.Unmarshal(body, &in)
		if in.Job == "nosuch" {
			refuse(w, 404, api.TypeNotFound, "Not found", `namespace "default" has no job "nosuch"`)
			return
		}
		view, _ := f.locked(okRun)
		view.Tasks = nil
		view.Labels = map[string]string{"event": string(in.Event), "n": string(in.Variables["n"])}
		answer(w, 201, view)
		return
	}
	var items []api.SubmitRequest
	_ = json.Unmarshal(body, &items)
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := make([]api.SubmitAnswer, len(items))
	for i, in := range items {
		seen := f.keys[in.Key] != ""
		f.keys[in.Key] = okRun
		switch {
		case in.Job == "busy" && !seen:
			answers[i].Problem = &api.Problem{Type: api.TypeOverloaded, Title: "Overloaded", Detail: "full", Status: 429}
		case strings.Contains(string(in.Event), "wrong"):
			answers[i].Problem = &api.Problem{Type: api.TypeInvalidSpec, Title: "Invalid job file", Detail: "event is " + string(in.Event), Status: 422}
		default:
			answers[i].ID = rota.RunID(in.Key)
		}
	}
	answer(w, 200, answers)
}
