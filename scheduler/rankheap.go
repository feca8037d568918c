package scheduler

// The heap of a ranking: values that lie side by side, since each decision moves some
// in the heaps of many classes, and what is not in the processor's caches costs more
// than all the rest. The order is that of Policy: the higher score, then the lower name.

func (s *Scheduler) better(a, b ranked) bool {
	if a.score != b.score {
		return a.score > b.score
	}
	return s.order[a.host] < s.order[b.host]
}

// fix puts a new value in the place of the i-th and moves it where it belongs.
func (r *ranking) fix(s *Scheduler, i int, x ranked) {
	if i > 0 && s.better(x, r.best[(i-1)/2]) {
		r.up(s, i, x)
		return
	}
	r.down(s, i, x)
}

// remove takes the i-th value out.
func (r *ranking) remove(s *Scheduler, i int32) {
	last := len(r.best) - 1
	gone, moved := r.best[i], r.best[last]
	r.best = r.best[:last]
	r.all[gone.host].at = outside
	if int(i) < last {
		r.fix(s, int(i), moved)
	}
}

func (r *ranking) up(s *Scheduler, i int, x ranked) {
	for i > 0 {
		parent := (i - 1) / 2
		if !s.better(x, r.best[parent]) {
			break
		}
		r.put(i, r.best[parent])
		i = parent
	}
	r.put(i, x)
}

func (r *ranking) down(s *Scheduler, i int, x ranked) {
	for {
		child := 2*i + 1
		if child >= len(r.best) {
			break
		}
		if right := child + 1; right < len(r.best) && s.better(r.best[right], r.best[child]) {
			child = right
		}
		if !s.better(r.best[child], x) {
			break
		}
		r.put(i, r.best[child])
		i = child
	}
	r.put(i, x)
}

func (r *ranking) put(i int, x ranked) {
	r.best[i] = x
	r.all[x.host].at = int32(i)
}
