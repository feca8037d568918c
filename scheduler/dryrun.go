package scheduler

import "github.com/rota-sched/rota"

// Dry is what would become of a job if it were submitted now.
type Dry struct {
	Ready   []DryTask `json:"ready"`   // the tasks that need not wait for others, in the order of the job
	Waiting int       `json:"waiting"` // those that do
	Late    int       `json:"late"`    // of those, with values that are not known before
	// Impossible are demands that no node could ever meet, each once.
	Impossible []Impossible `json:"impossible"`
}

// DryTask is where one ready task would go.
type DryTask struct {
	Key    rota.TaskKey    `json:"key"`
	Node   string          `json:"node,omitempty"` // empty: it would wait
	GPUs   []rota.GPUGrant `json:"gpus,omitempty"`
	Reason rota.Reason     `json:"reason,omitzero"` // why it would wait
}

// Impossible is a demand that no node could ever meet.
type Impossible struct {
	Tasks  int          `json:"tasks"`
	Key    rota.TaskKey `json:"key"` // of the first of them
	Reason rota.Reason  `json:"reason"`
}

// Trial is a copy of what a scheduler knows of the nodes, to try things on.
type Trial struct {
	nodes *Scheduler     // the same nodes, nothing queued
	alike map[string]int // queued tasks by class
}

// Trial copies the nodes, with everything that is held and proposed in place. The
// copy may be used on another goroutine.
func (s *Scheduler) Trial() *Trial {
	s.settle()
	t := &Trial{nodes: New(s.cfg), alike: map[string]int{}}
	t.nodes.Learn(s.outlook.known)
	for _, h := range s.hosts {
		n := *h.node
		n.Held = h.held
		t.nodes.observeNode(&n)
	}
	for _, c := range s.inOrder {
		if len(c.queue) > 0 {
			t.alike[c.name] = len(c.queue)
		}
	}
	return t
}

// DryRun finds where the job's ready tasks would go if it were submitted now. What
// is queued already and asks for the same comes first: a task that would stand
// behind it waits. A trial is good for one run.
func (t *Trial) DryRun(job *rota.Job, now rota.Instant) Dry {
	dry := Dry{Ready: []DryTask{}, Impossible: []Impossible{}}
	impossible := map[*class]int{}
	place := map[rota.TaskKey]int{}
	for order, nt := range job.Tasks {
		spec := job.Specs[nt.Spec]
		c := t.nodes.classOf(rota.TaskID{Key: nt.Key}, spec)
		at, seen := impossible[c]
		switch {
		case !seen:
			impossible[c] = t.nodes.checkPossible(&dry, c, nt.Key)
		case at != outside:
			dry.Impossible[at].Tasks++
		}
		if len(spec.Late) > 0 {
			dry.Late++
		}
		if len(nt.DependsOn) > 0 || len(spec.Late) > 0 {
			dry.Waiting++
			continue
		}
		d := DryTask{Key: nt.Key}
		if ahead := t.alike[c.name]; ahead > 0 {
			d.Reason = rota.Reason{Code: rota.ReasonOrder, Text: count(ahead, "queued task") + " with the same demands would come before it"}
		} else {
			id := rota.TaskID{Key: nt.Key}
			t.nodes.observeTask(&rota.Task{ID: id, Order: order, Spec: spec, Status: rota.StatusQueued, QueuedAt: now})
		}
		place[nt.Key] = len(dry.Ready)
		dry.Ready = append(dry.Ready, d)
	}
	for _, p := range t.nodes.Plan(now, len(job.Tasks)) {
		d := &dry.Ready[place[p.Task.Key]]
		d.Node, d.GPUs = t.nodes.byID[p.Session.Node].node.Name, p.GPUs
	}
	t.nodes.explainRest(&dry, now)
	return dry
}

// checkPossible notes a demand that no node could ever meet and returns its place
// in the list; outside if some node could. What late expressions ask for is not
// looked at before it is known.
func (s *Scheduler) checkPossible(dry *Dry, c *class, key rota.TaskKey) int {
	for _, h := range s.hosts {
		if c.demand.Eligible(h.node) == rota.MisfitNone {
			return outside
		}
	}
	reason := reasonOf(s.judgeAll(c), QueuePlace{})
	dry.Impossible = append(dry.Impossible, Impossible{Tasks: 1, Key: key, Reason: reason})
	return len(dry.Impossible) - 1
}

// explainRest says why the tasks wait that found no node: once per kind of demand.
func (s *Scheduler) explainRest(dry *Dry, now rota.Instant) {
	reasons := map[*class]rota.Reason{}
	for i := range dry.Ready {
		d := &dry.Ready[i]
		if d.Node != "" || !d.Reason.IsZero() {
			continue
		}
		x := s.items[rota.TaskID{Key: d.Key}]
		if x == nil {
			continue
		}
		if _, known := reasons[x.class]; !known {
			e, _ := s.Explain(x.task.ID, now)
			reasons[x.class] = e.Reason
		}
		d.Reason = reasons[x.class]
	}
}
