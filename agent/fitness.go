package agent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rota-sched/rota"
)

// How a node that could not start something comes back: after as many good probes
// in a row, one every probeEvery. One that fails again soon needs twice as many.
const (
	probeEvery  = 5 * time.Second
	probesFirst = 3
	probesMost  = 60
	relapse     = 10 * time.Minute
	tellAgain   = time.Second
)

// fitness is whether the node can start attempts, by what it sees itself, and what
// of that the cluster knows. It is apart from a drain, which is a person's.
type fitness struct {
	failed   string // why a start or probe failed
	unreaped []Ref  // of which something lives that cannot be killed

	probeAt BootTime // zero: none is due
	probing bool
	good    int // probes in a row
	need    int
	wellAt  BootTime // when failed was last cleared

	told   string // what the cluster has taken in
	sure   bool   // told is what it knows of this session
	saying bool   // an answer is awaited
	sayAt  BootTime
}

// why is the reason to start nothing, in one line; empty: there is none.
func (f *fitness) why() string {
	if len(f.unreaped) == 0 {
		return f.failed
	}
	r := f.unreaped[0]
	s := fmt.Sprintf("attempt %s#%d cannot be killed", r.Task, r.Fence.Attempt())
	if n := len(f.unreaped) - 1; n > 0 {
		s += fmt.Sprintf(", and %d more", n)
	}
	if f.failed != "" {
		s += "; " + f.failed
	}
	return clip(s, MaxMessageBytes)
}

// known reports whether the cluster knows that the node takes nothing.
func (f *fitness) known() bool { return f.sure && f.told != "" }

// begin starts with a session: a new one is fit in the cluster's eyes, of an
// adopted one that is not known. Either way the node looks.
func (f *fitness) begin(adopted bool, now BootTime) {
	f.told, f.sure, f.saying, f.sayAt = "", !adopted, false, now
	if !f.probing {
		f.probeAt = now
	}
}

func (f *fitness) wake() BootTime {
	w := f.probeAt
	if f.sayAt != 0 && (w == 0 || f.sayAt < w) {
		w = f.sayAt
	}
	return w
}

// keepFit probes when it is due and tells the cluster what it does not know.
func (c *Core) keepFit(now BootTime) {
	f := &c.fit
	f.unreaped = slices.DeleteFunc(f.unreaped, func(r Ref) bool {
		a := c.attempts[r]
		return a == nil || a.state != attemptUnreaped
	})
	if f.probeAt != 0 && now >= f.probeAt {
		f.probeAt, f.probing = 0, true
		c.do(Probe{})
	}
	why := f.why()
	switch {
	case f.saying || f.sure && why == f.told || !f.sure && why == "" && f.probing:
		f.sayAt = 0
	case now < f.sayAt:
	default:
		f.saying, f.sayAt = true, 0
		c.do(TellFitness{Session: c.lease.session, Why: why})
	}
}

// startFailed notes that the node could not start something.
func (c *Core) startFailed(why string, now BootTime) {
	f := &c.fit
	f.good = 0
	if !f.probing && f.probeAt == 0 {
		f.probeAt = now.Add(probeEvery)
	}
	if f.failed != "" {
		return // the first reason stays until it is over
	}
	if f.wellAt != 0 && now < f.wellAt.Add(relapse) {
		f.need = min(2*f.need, probesMost)
	} else {
		f.need = probesFirst
	}
	f.failed = why
	c.warn("the node cannot start attempts and takes nothing new", "why", why)
}

func (c *Core) probed(e Probed, now BootTime) {
	f := &c.fit
	f.probing = false
	if e.Err != nil {
		c.startFailed(e.Err.Error(), now)
		return
	}
	if f.failed == "" {
		return
	}
	if f.good++; f.good < f.need {
		f.probeAt = now.Add(probeEvery)
		return
	}
	c.say("the node can start attempts again", "was", f.failed)
	f.failed, f.wellAt = "", now
}

// fitnessTold takes the cluster's answer. A cluster that does not know the word yet
// is told again later; the attempts are given back all the same.
func (c *Core) fitnessTold(e FitnessTold, now BootTime) {
	f := &c.fit
	if c.phase != phaseHeld || e.Session != c.lease.session {
		return
	}
	f.saying = false
	if e.Err == nil {
		f.told, f.sure, f.sayAt = e.Why, true, now
		return
	}
	f.sayAt = now.Add(tellAgain)
	if rota.KindOf(e.Err) == rota.KindFormat && e.Why != "" {
		c.giveBackPending()
	}
}

// errHangs says that a probe has not come back.
var errHangs = errors.New("the disk does not answer")
