package scheduler

import (
	"fmt"
	"strings"

	"github.com/rota-sched/rota"
)

// tenants counts the tasks of one run that hold room on a host, by their labels: by the
// holds of the state, and by what is proposed. Most runs have one label on a host.
type tenants struct {
	label string
	n     int32 // of label; 0: there are none at all
	more  map[string]int32
}

// observeHold takes in that room is held, n = 1, or given back, n = -1.
func (s *Scheduler) observeHold(hold *rota.Hold, n int32) {
	if h := s.byID[hold.Session.Node]; h != nil {
		s.tenancy(h, hold.Task, n)
	}
}

func (s *Scheduler) tenancy(h *host, id rota.TaskID, n int32) {
	label := id.Key.Label()
	of, known := h.tenants[id.Run]
	if !known && n < 0 || !of.add(label, n) {
		return
	}
	switch {
	case of.n == 0:
		delete(h.tenants, id.Run)
	case h.tenants == nil:
		h.tenants = map[rota.RunID]tenants{id.Run: of}
	default:
		h.tenants[id.Run] = of
	}
	if len(s.wishing) == 0 {
		return
	}
	for _, c := range s.wishing[id.Run] {
		if w := c.ranks.wish; w != nil && c.label == label && h.index < len(w.siblings) {
			w.siblings[h.index] += n
		}
	}
}

// add counts n more of a label; false if there is nothing to take away.
func (t *tenants) add(label string, n int32) bool {
	if t.n == 0 || t.label == label {
		t.label, t.n = label, t.n+n
		if t.n == 0 {
			t.promote()
		}
		return true
	}
	m := t.more[label] + n
	switch {
	case m < 0:
		return false
	case m == 0:
		delete(t.more, label)
	case t.more == nil:
		t.more = map[string]int32{label: m}
	default:
		t.more[label] = m
	}
	return true
}

// promote lets another label stand apart, if there is one.
func (t *tenants) promote() {
	for label, n := range t.more { // order: it does not matter which
		t.label, t.n = label, n
		delete(t.more, label)
		return
	}
}

// siblings is how many tasks of the run and label of the class hold room on a host.
func (c *class) siblings(h *host) int32 {
	of := h.tenants[c.run]
	if of.label == c.label {
		return of.n
	}
	return of.more[c.label]
}

// shuns reports whether the class may not go to a host since a sibling is there.
func (c *class) shuns(h *host) bool { return c.spec.DistinctHosts && c.siblings(h) > 0 }

// wish is what a class that wishes knows of the nodes, by the index of the host. It
// lives and goes with the ranking.
type wish struct {
	siblings []int32
	shapes   []uint32 // of the view for which the rest was worked out
	fixed    []int32  // points for the node's own facts
	spreads  []spreading
}

// spreading is one spread: the values that nodes have are numbered, from 1; 0: none.
type spreading struct {
	numbers map[string]int32
	value   []int32 // by the index of the host
	totals  []int64 // siblings, by number; as they were when last asked
	all     int64
}

// wished brings what the class knows for its wishes up to date.
func (r *ranking) wished(s *Scheduler, c *class) *wish {
	if r.wish == nil {
		r.wish = &wish{spreads: make([]spreading, len(c.spec.Spreads))}
	}
	w := r.wish
	for i := len(w.siblings); i < len(s.hosts); i++ {
		s.candidates++
		w.siblings, w.shapes, w.fixed = append(w.siblings, c.siblings(s.hosts[i])), append(w.shapes, 0), append(w.fixed, 0)
		for k := range w.spreads {
			w.spreads[k].value = append(w.spreads[k].value, 0)
		}
	}
	for i, h := range s.hosts {
		if w.shapes[i] != s.views[i].shape {
			w.shapes[i] = s.views[i].shape
			w.study(c, h)
		}
	}
	for k := range w.spreads {
		w.spreads[k].count(w.siblings)
	}
	return w
}

// study works out what depends on a node's own facts.
func (w *wish) study(c *class, h *host) {
	points := 0
	for i := range c.spec.Affinities {
		if !c.demand.OfRun(i) && c.demand.Meets(i, h.node, nil, 0) {
			points += c.spec.Affinities[i].Weight
		}
	}
	w.fixed[h.index] = int32(points)
	for k := range w.spreads {
		sp := &w.spreads[k]
		sp.value[h.index] = 0
		if v, has := c.demand.SpreadValue(k, h.node); has {
			sp.value[h.index] = sp.number(v)
		}
	}
}

func (sp *spreading) number(v string) int32 {
	n, known := sp.numbers[v]
	if !known {
		if sp.numbers == nil {
			sp.numbers = map[string]int32{}
		}
		n = int32(len(sp.numbers) + 1)
		sp.numbers[v] = n
	}
	return n
}

func (sp *spreading) count(siblings []int32) {
	sp.totals, sp.all = append(sp.totals[:0], make([]int64, len(sp.numbers)+1)...), 0
	for i, n := range siblings {
		if n > 0 {
			sp.totals[sp.value[i]] += int64(n)
			sp.all += int64(n)
		}
	}
}

// cost is what a spread takes from a host, in tasks: those where it has the same value,
// and for a host without a value more than anywhere else.
func (sp *spreading) cost(host int) int64 {
	if sp.value[host] == 0 {
		return sp.all + 1
	}
	return sp.totals[sp.value[host]]
}

// points is how much the class wishes to go to a host.
func (w *wish) points(c *class, h *host) int64 {
	points := int64(w.fixed[h.index])
	for i := range c.spec.Affinities {
		if c.demand.OfRun(i) && c.meetsRun(i, h) {
			points += int64(c.spec.Affinities[i].Weight)
		}
	}
	for k := range w.spreads {
		points -= int64(c.spec.Spreads[k].Weight) * w.spreads[k].cost(h.index)
	}
	return points
}

// meetsRun reports whether the host meets an affinity to tasks of the run.
func (c *class) meetsRun(i int, h *host) bool {
	var labels []string
	of := h.tenants[c.run]
	tasks := int(of.n)
	if tasks > 0 {
		labels = append(labels, of.label)
	}
	for label, n := range of.more { // order: a set and a sum
		labels = append(labels, label)
		tasks += int(n)
	}
	return c.demand.Meets(i, h.node, labels, tasks)
}

// pick is the place, among the nodes with room, of the best one for the class: where
// it wishes to go most, of equals what the policy likes best. outside: it shuns all.
func (r *ranking) pick(s *Scheduler, c *class) int {
	if !c.wishes {
		return 0
	}
	w := r.wished(s, c)
	best, most := outside, int64(0)
	for i, x := range r.best {
		h := s.hosts[x.host]
		if c.spec.DistinctHosts && w.siblings[x.host] > 0 {
			continue
		}
		points := w.points(c, h)
		if best == outside || points > most || points == most && s.better(x, r.best[best]) {
			best, most = i, points
		}
	}
	return best
}

// wishWords says how much a class wishes to go to a host, and why.
func (w *wish) words(c *class, h *host) string {
	var parts []string
	for i, a := range c.spec.Affinities {
		if c.demand.OfRun(i) && c.meetsRun(i, h) || !c.demand.OfRun(i) && c.demand.Meets(i, h.node, nil, 0) {
			parts = append(parts, fmt.Sprintf("%s %+d", a.Constraint, a.Weight))
		}
	}
	for k, sp := range c.spec.Spreads {
		n := w.spreads[k].cost(h.index)
		if w.spreads[k].value[h.index] == 0 {
			parts = append(parts, fmt.Sprintf("it has no %s %+d", sp.Attribute, -n*int64(sp.Weight)))
		} else if n > 0 {
			parts = append(parts, fmt.Sprintf("%s already at this %s %+d", count(int(n), "sibling"), sp.Attribute, -n*int64(sp.Weight)))
		}
	}
	text := fmt.Sprintf("preference %+d", w.points(c, h))
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}
