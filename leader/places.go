package leader

import "github.com/rota-sched/rota"

// places are the operations with placements that are under way.
type places struct {
	out int
	// answered have their result, but their entry was not seen yet: the scheduler
	// judges a refusal by the records after it.
	answered []answeredPlaces
}

type answeredPlaces struct {
	placements []rota.NewPlacement
	done       ProposalDone
}

// drivePlaces proposes what the scheduler decides. It is called after every event,
// which costs nothing where nothing changed, and never polls.
func (c *Core) drivePlaces(now Now) {
	p := &c.places
	for len(p.answered) > 0 && p.answered[0].done.Result.Index <= c.applied {
		c.refusals(p.answered[0])
		p.answered = p.answered[1:]
	}
	for p.out < c.cfg.PlacesInFlight {
		placements := c.scheduler.Plan(now.At, c.cfg.MaxPlacements)
		if len(placements) == 0 {
			return
		}
		p.out++
		c.propose(rota.Place{Placements: placements}, func(d ProposalDone, _ Now) {
			p.out--
			p.answered = append(p.answered, answeredPlaces{placements, d})
		})
	}
}

// refusals tells the scheduler what was not granted. What was granted it learned
// from the changes.
func (c *Core) refusals(a answeredPlaces) {
	for i, p := range a.placements {
		kind := a.done.Result.Kind
		switch {
		case a.done.Failed:
			kind = rota.KindUnknown
		case kind == rota.KindNone && i < len(a.done.Result.Items):
			kind = a.done.Result.Items[i]
		}
		if kind != rota.KindNone {
			c.scheduler.Refused(p, kind)
		}
	}
}
