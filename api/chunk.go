package api

import "github.com/rota-sched/rota"

// maxPiece is about how large an operation of a submission gets. One larger than
// the log's batches travels alone. (Source: DESIGN.md, section 4.)
const maxPiece = 768 << 10

// piece is a part of a submission: tasks, with the specs they point to.
type piece struct {
	specs []*rota.TaskSpec
	tasks []rota.NewTask
	size  int // in the log, about, with the head of the first
}

// split cuts a job into pieces of about maxPiece, the first of which has a head of
// that size to carry. There is at least one piece.
func split(job *rota.Job, head int) []piece {
	sizes := make([]int, len(job.Specs))
	total := head
	for i, spec := range job.Specs {
		sizes[i] = specSize(spec)
		total += sizes[i]
	}
	for i := range job.Tasks {
		total += taskSize(&job.Tasks[i])
	}
	if total <= maxPiece {
		return []piece{{specs: job.Specs, tasks: job.Tasks, size: total}}
	}
	pieces := []piece{{}}
	at := make(map[int]int) // of the job's spec in the piece
	size := head
	for _, t := range job.Tasks {
		_, there := at[t.Spec]
		need := taskSize(&t)
		if !there {
			need += sizes[t.Spec]
		}
		p := &pieces[len(pieces)-1]
		if size+need > maxPiece && (len(p.tasks) > 0 || size > 0) {
			pieces = append(pieces, piece{})
			p = &pieces[len(pieces)-1]
			clear(at)
			size, there = 0, false
			need = taskSize(&t) + sizes[t.Spec]
		}
		if !there {
			at[t.Spec] = len(p.specs)
			p.specs = append(p.specs, job.Specs[t.Spec])
		}
		t.Spec = at[t.Spec]
		p.tasks = append(p.tasks, t)
		size += need
		p.size = size
	}
	return pieces
}

// taskSize is about how many bytes a task takes in the log.
func taskSize(t *rota.NewTask) int {
	size := 8 + len(t.Key)
	for _, e := range t.DependsOn {
		size += 4 + len(e.On)
	}
	return size
}

// specSize is about how many bytes a spec takes in the log.
func specSize(s *rota.TaskSpec) int {
	size := 128 + len(s.Type) + len(s.Driver) + len(s.Workdir) + len(s.Input) + len(s.Retry.On)
	for _, c := range s.Command {
		size += 4 + len(c)
	}
	for _, e := range s.Env {
		size += 8 + len(e.Key) + len(e.Value)
	}
	for _, c := range s.Capabilities {
		size += 4 + len(c)
	}
	for _, c := range s.Constraints {
		size += 16 + len(c.Attribute)
		for _, v := range c.Values {
			size += 4 + len(v)
		}
	}
	for _, a := range s.Affinities {
		size += 24 + len(a.Constraint.Attribute)
		for _, v := range a.Constraint.Values {
			size += 4 + len(v)
		}
	}
	for _, sp := range s.Spreads {
		size += 8 + len(sp.Attribute)
	}
	for _, l := range s.Late {
		size += 4 + len(l)
	}
	return size
}
