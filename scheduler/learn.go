package scheduler

import (
	"slices"

	"github.com/rota-sched/rota"
)

// outlook is what the scheduler's own policy goes by: what tasks ask for and what
// the nodes have. Both are functions of the state, so that a scheduler built from a
// snapshot has the same.
type outlook struct {
	known    []rota.Shape // of rota.Arrivals
	fleet    fleet
	machines []Machines // the policy was made with
	stale    bool       // known or fleet changed since
}

// Learn takes in what tasks typically ask for (Known of rota.Arrivals): at the place
// in the stream of changes at which it became known, or before Load. Config.Policy
// does without.
func (s *Scheduler) Learn(known []rota.Shape) {
	if s.cfg.Policy != nil {
		return
	}
	s.outlook.known = known
	s.outlook.machines = nil
	s.outlook.stale = true
}

// observeFleet keeps the count of what the nodes have.
func (s *Scheduler) observeFleet(before, after *rota.Node) {
	if s.cfg.Policy != nil {
		return
	}
	if before != nil {
		if slices.Equal(before.Capacity.GPUs, after.Capacity.GPUs) && before.Capacity.CPUMilli == after.Capacity.CPUMilli && before.Capacity.MemoryBytes == after.Capacity.MemoryBytes {
			return
		}
		s.outlook.fleet.add(&before.Capacity, -1)
	}
	s.outlook.fleet.add(&after.Capacity, 1)
	s.outlook.stale = s.outlook.stale || len(after.Capacity.GPUs) > 0 || before != nil
}

// adapt makes the policy anew if what it goes by is different. All that was rated
// before is rated again then, by each class when it is next looked at.
func (s *Scheduler) adapt() {
	if !s.outlook.stale {
		return
	}
	s.outlook.stale = false
	machines := s.outlook.fleet.list()
	if s.outlook.machines != nil && slices.Equal(machines, s.outlook.machines) {
		return
	}
	s.outlook.machines = machines
	s.own = Adapted(s.cfg.Weights, s.outlook.known, machines)
	s.policy = s.own
	for _, c := range s.inOrder {
		c.ranks.stale(s)
	}
}

// Adapted is the policy of a scheduler that knows these shapes and nodes with these
// machines.
func Adapted(w Weights, known []rota.Shape, machines []Machines) *LeastWaste {
	return NewLeastWaste(w, blend(w.Guess, known, Expect(machines)), machines)
}

// enough is how many arrivals make the guess about them superfluous, but for what
// Weights.Guess keeps of it.
const enough = 1024

// blend adds the guess to what is known: as it is for as long as little is known,
// and never less of it than the part that is to be kept.
func blend(keep int64, known, guess []rota.Shape) []rota.Shape {
	total, guessed := countOf(known), countOf(guess)
	if total >= enough*rota.ArrivalUnit && keep == 0 || guessed == 0 {
		return known
	}
	blended := make([]rota.Shape, 0, len(known)+len(guess))
	blended = append(append(blended, known...), guess...)
	want := uint64(weighted(total, keep))
	if want <= uint64(guessed) && total < enough*rota.ArrivalUnit {
		return blended
	}
	for i := len(known); i < len(blended); i++ {
		blended[i].Count = max(int64(divide(uint64(blended[i].Count), want, uint64(guessed))), 1)
	}
	return blended
}

func countOf(shapes []rota.Shape) int64 {
	total := int64(0)
	for i := range shapes {
		total += shapes[i].Count
	}
	return total
}
