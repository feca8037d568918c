package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rota-sched/rota"
)

// Explanation says why a task is where it is.
type Explanation struct {
	Task   rota.TaskID   `json:"task"`
	Status rota.Status   `json:"status"`
	Reason rota.Reason   `json:"reason"`
	Queue  *QueuePlace   `json:"queue,omitempty"` // of a queued task
	Nodes  []NodeVerdict `json:"nodes,omitempty"` // of a queued task: the nearest first, at most MaxVerdicts
}

// MaxVerdicts bounds the nodes that an explanation lists.
const MaxVerdicts = 20

// QueuePlace is where a queued task stands in the order.
type QueuePlace struct {
	Ahead      int `json:"ahead"`       // queued tasks that come before it
	AheadAlike int `json:"ahead_alike"` // of those, with the same demands
	Queued     int `json:"queued"`      // all queued tasks
}

// NodeVerdict is what keeps a task off one node.
type NodeVerdict struct {
	Node  string `json:"node"`
	Never bool   `json:"never"` // not even if the node were empty
	Code  string `json:"code"`  // the first misfit; empty: it fits now
	Text  string `json:"text"`
}

// Explain says why a queued task waits: what rules out how many nodes, what the
// nearest one lacks, who comes before. False for a task that is not queued here:
// see Describe.
func (s *Scheduler) Explain(id rota.TaskID, now rota.Instant) (Explanation, bool) {
	x, ok := s.items[id]
	if !ok {
		return Explanation{}, false
	}
	s.settle()
	verdicts := s.judgeAll(x.class)
	q := s.placeOf(x)
	e := Explanation{Task: id, Status: x.task.Status, Queue: &q, Nodes: listVerdicts(verdicts)}
	if p, proposed := s.proposed[id]; proposed {
		e.Reason = rota.Reason{Code: rota.ReasonOrder, Text: "its placement on " + p.host.node.Name + " is being committed"}
		return e, true
	}
	if h := x.disputed; h != nil {
		e.Reason = rota.Reason{Code: rota.ReasonOrder, Text: "its placement on " + h.node.Name + " was refused; it waits for a change there"}
		return e, true
	}
	e.Reason = reasonOf(verdicts, q)
	if waited := now.Sub(x.task.QueuedAt); waited > 0 {
		e.Reason.Text += fmt.Sprintf("; queued for %s", waited.Round(roundWaiting(waited)))
	}
	return e, true
}

// judgeAll asks every node, the nearest miss first: those that could ever run it,
// then those that lack least.
func (s *Scheduler) judgeAll(c *class) []verdict {
	verdicts := make([]verdict, len(s.hosts))
	var w *wish
	if c.wishes {
		w = c.ranks.wished(s, c)
	}
	for i, h := range s.hosts {
		verdicts[i] = judge(h, c)
		if w != nil && len(verdicts[i].never) == 0 && len(c.spec.Affinities)+len(c.spec.Spreads) > 0 {
			verdicts[i].points, verdicts[i].wish = w.points(c, h), w.words(c, h)
		}
	}
	gone := func(v verdict) int {
		if v.host.node.Session.IsZero() {
			return 1
		}
		return 0
	}
	slices.SortFunc(verdicts, func(a, b verdict) int {
		if c := cmp.Or(cmp.Compare(len(a.never), len(b.never)), cmp.Compare(gone(a), gone(b)), cmp.Compare(len(a.now), len(b.now)), cmp.Compare(b.points, a.points)); c != 0 {
			return c
		}
		if a.host.precedes(b.host) {
			return -1
		}
		return 1
	})
	return verdicts
}

// reasonOf turns verdicts, sorted, into a code and a sentence.
func reasonOf(verdicts []verdict, q QueuePlace) rota.Reason {
	able, free, away := 0, 0, 0
	for _, v := range verdicts {
		switch {
		case len(v.never) > 0:
		case v.host.node.Session.IsZero():
			away++
		case len(v.now) > 0:
			able++
		default:
			able++
			free++
		}
	}
	switch {
	case len(verdicts) == 0:
		return rota.Reason{Code: rota.ReasonNoNode, Text: "the cluster has no node yet"}
	case free > 0:
		return rota.Reason{Code: rota.ReasonOrder, Text: fmt.Sprintf("%s the room now; %s before it", has(free), come(q))}
	case able > 0:
		text := fmt.Sprintf("%d of %s could run it, none has the room now: %s %s", able, count(len(verdicts), "node"), verdicts[0].host.node.Name, words(verdicts[0].now))
		return rota.Reason{Code: rota.ReasonNoRoom, Text: text + also(verdicts) + "; " + come(q) + " before it"}
	case away > 0:
		text := fmt.Sprintf("no node that is up could ever run it; %s could, but it is %s", verdicts[0].host.node.Name, verdicts[0].host.node.State())
		return rota.Reason{Code: rota.ReasonNoNode, Text: text + also(verdicts)}
	}
	text := fmt.Sprintf("none of %s could ever run it; the nearest, %s, %s", count(len(verdicts), "node"), verdicts[0].host.node.Name, words(verdicts[0].never))
	return rota.Reason{Code: rota.ReasonNoNode, Text: text + also(verdicts)}
}

func has(n int) string {
	if n == 1 {
		return "1 node has"
	}
	return count(n, "node") + " have"
}

func come(q QueuePlace) string {
	if q.Ahead == 0 {
		return "nobody comes"
	}
	verb := " come"
	if q.Ahead == 1 {
		verb = " comes"
	}
	return count(q.Ahead, "queued task") + verb
}

// also counts what rules the nodes out, by the first thing each lacks.
func also(verdicts []verdict) string {
	if len(verdicts) < 2 {
		return ""
	}
	var byMisfit [rota.MisfitGrant + 1]int
	for _, v := range verdicts {
		if l := first(v); l.misfit != rota.MisfitNone {
			byMisfit[l.misfit]++
		}
	}
	var parts []string
	for m, n := range byMisfit {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", strings.ReplaceAll(rota.Misfit(m).String(), "_", " "), n))
		}
	}
	return " (nodes ruled out: " + strings.Join(parts, ", ") + ")"
}

func first(v verdict) lack {
	switch {
	case len(v.never) > 0:
		return v.never[0]
	case len(v.now) > 0:
		return v.now[0]
	}
	return lack{}
}

func listVerdicts(verdicts []verdict) []NodeVerdict {
	list := make([]NodeVerdict, 0, min(len(verdicts), MaxVerdicts))
	for _, v := range verdicts[:min(len(verdicts), MaxVerdicts)] {
		list = append(list, NodeVerdict{
			Node: v.host.node.Name, Never: len(v.never) > 0, Code: first(v).misfit.String(), Text: v.text(),
		})
	}
	return list
}

// placeOf counts who comes before a task. Its cost is the number of those.
func (s *Scheduler) placeOf(x *item) QueuePlace {
	q := QueuePlace{Queued: len(s.items)}
	for _, c := range s.inOrder {
		n := countBefore(c.queue, 0, x)
		q.Ahead += n
		if c == x.class {
			q.AheadAlike = n
		}
	}
	return q
}

func countBefore(h heap[*item], i int, x *item) int {
	if i >= len(h) || !h[i].before(x) {
		return 0
	}
	return 1 + countBefore(h, 2*i+1, x) + countBefore(h, 2*i+2, x)
}
