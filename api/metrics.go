package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rota-sched/rota"
)

// meters count requests by route.
type meters struct{ routes []meter }

type meter struct {
	id      string
	classes *[6]atomic.Int64 // answers by the first digit of their status; 0: cut off
	nanos   *atomic.Int64    // spent, all together
}

// metered turns a handler into one of net/http: it counts, and writes refusals.
// It is called only while the routes are being set up.
func (s *Server) metered(id string, h handler) http.HandlerFunc {
	m := meter{id: id, classes: new([6]atomic.Int64), nanos: new(atomic.Int64)}
	s.meters.routes = append(s.meters.routes, m)
	return func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		seen := &statusWriter{ResponseWriter: w}
		defer func() {
			m.classes[min(seen.status/100, 5)].Add(1)
			m.nanos.Add(int64(time.Since(started)))
		}()
		if err := h(seen, r); err != nil {
			if seen.status != 0 {
				s.log.Warn("an answer broke off", "path", clip(r.URL.Path, 200), "error", err)
				return
			}
			s.refuse(seen, r, err)
		}
	}
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// getMetrics writes the node's numbers in Prometheus' text format.
func (s *Server) getMetrics(w http.ResponseWriter, _ *http.Request) error {
	var b strings.Builder
	family := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	pos := s.deps.State.Position()
	family("rota_info", "gauge", "The binary of this node.")
	fmt.Fprintf(&b, "rota_info{version=%q,node=%q} 1\n", s.cfg.Version, s.cfg.Name)
	family("rota_log_term", "gauge", "Term of the log.")
	fmt.Fprintf(&b, "rota_log_term %d\n", pos.Term)
	family("rota_log_index", "gauge", "Newest index applied here.")
	fmt.Fprintf(&b, "rota_log_index %d\n", pos.Index)
	family("rota_log_age_seconds", "gauge", "Since the index was known to be the newest.")
	fmt.Fprintf(&b, "rota_log_age_seconds %.3f\n", pos.Age.Seconds())
	family("rota_leader", "gauge", "1 on the node that leads.")
	fmt.Fprintf(&b, "rota_leader %d\n", oneIf(s.leads()))
	_, _, known := s.deps.State.Leader()
	family("rota_leader_known", "gauge", "1 while a leader is known here.")
	fmt.Fprintf(&b, "rota_leader_known %d\n", oneIf(known))
	s.writeStateMetrics(&b, family)
	family("rota_http_requests_total", "counter", "Requests by route and class of status.")
	for _, m := range s.meters.routes {
		for class := range m.classes {
			if n := m.classes[class].Load(); n > 0 {
				fmt.Fprintf(&b, "rota_http_requests_total{route=%q,class=\"%dxx\"} %d\n", m.id, class, n)
			}
		}
	}
	family("rota_http_seconds_total", "counter", "Time spent on requests by route.")
	for _, m := range s.meters.routes {
		if n := m.nanos.Load(); n > 0 {
			fmt.Fprintf(&b, "rota_http_seconds_total{route=%q} %.6f\n", m.id, time.Duration(n).Seconds())
		}
	}
	family("rota_http_streams", "gauge", "Streams and blocking reads open now.")
	fmt.Fprintf(&b, "rota_http_streams %d\n", len(s.streams))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, err := w.Write([]byte(b.String()))
	return err
}

func (s *Server) writeStateMetrics(b *strings.Builder, family func(name, kind, help string)) {
	snap := s.deps.State.Snapshot()
	if snap == nil {
		return
	}
	counts := snap.Counts()
	family("rota_tasks", "gauge", "Tasks by status.")
	for _, st := range rota.Statuses {
		fmt.Fprintf(b, "rota_tasks{status=%q} %d\n", st, counts[st])
	}
	nodes := map[rota.NodeState]int{}
	var slots, held int64
	for n := range snap.Nodes() {
		nodes[n.State()]++
		if !n.Session.IsZero() {
			slots += n.Capacity.Slots
			held += n.Held.Slots
		}
	}
	family("rota_nodes", "gauge", "Nodes by state.")
	for _, st := range []rota.NodeState{rota.NodeReady, rota.NodeDraining, rota.NodeSuspect, rota.NodeUnfit, rota.NodeDown, rota.NodeLeft} {
		fmt.Fprintf(b, "rota_nodes{state=%q} %d\n", st, nodes[st])
	}
	family("rota_slots", "gauge", "Attempts that the living nodes take.")
	fmt.Fprintf(b, "rota_slots %d\n", slots)
	family("rota_slots_held", "gauge", "Attempts that hold room now.")
	fmt.Fprintf(b, "rota_slots_held %d\n", held)
	family("rota_cost_micro_usd", "counter", "Money spent by all attempts ever.")
	fmt.Fprintf(b, "rota_cost_micro_usd %d\n", snap.Usage().Cost)
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
