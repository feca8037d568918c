package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/rota-sched/rota"
)

// what a client does.
type what string

const (
	doSubmit   what = "submit"
	doCancel   what = "cancel"
	doReadRun  what = "read run"
	doDrain    what = "drain"
	doReadNode what = "read node"
)

// call is one operation of a client.
type call struct {
	client   int
	in       input
	out      output
	from, to moment
	ended    bool
}

type input struct {
	what   what
	about  string // the key or the node: each has its own model
	run    rota.RunID
	digest string
	drain  bool
}

type output struct {
	kind   rota.Kind
	run    rota.RunID // submit: what it was told
	found  bool
	status rota.RunStatus
	drain  bool
}

func (k *call) String() string {
	s := fmt.Sprintf("%s %s", k.in.what, k.in.about)
	switch k.in.what {
	case doSubmit:
		s += fmt.Sprintf(" as %s (%s): %s", k.in.run, k.in.digest, k.out.run)
	case doCancel:
		s += " " + string(k.in.run) + ":"
	case doReadRun:
		s += fmt.Sprintf(" %s: found %v, %s", k.in.run, k.out.found, k.out.status)
	case doDrain:
		s += fmt.Sprintf(" %v:", k.in.drain)
	case doReadNode:
		s += fmt.Sprintf(": found %v, draining %v", k.out.found, k.out.drain)
	}
	return fmt.Sprintf("%s %s [%s, %s]", s, k.out.kind, strings.TrimSpace(k.from.String()), strings.TrimSpace(k.to.String()))
}

// open reports whether the operation may yet take effect, as far as its client
// knows.
func (k *call) open() bool {
	return !k.ended || k.out.kind == rota.KindUnknown || k.out.kind == rota.KindUnavailable || k.out.kind == rota.KindOverloaded
}

// nothing reports whether the operation changed nothing and says nothing.
func (k *call) nothing() bool {
	read := k.in.what == doReadRun || k.in.what == doReadNode
	return k.out.kind == rota.KindNoLeader || read && (k.open() || k.out.kind != rota.KindNone)
}

// one is the model of what is known of one key or one node.
type one struct {
	run    rota.RunID // under the key; empty: none
	digest string
	over   bool // the run has ended: so it stays
	status rota.RunStatus
	there  bool // the node is known: so it stays
	drain  bool
}

// step is one thing after the other. Runs end, and nodes come, by themselves:
// whoever sees it first pins it.
func (o one) step(in input, out output, open bool) (bool, one) {
	switch in.what {
	case doSubmit:
		return o.submit(in, out, open)
	case doCancel:
		mine := o.run == in.run
		switch {
		case open || out.kind == rota.KindEnded:
			o.over = o.over || mine
			return open || mine, o
		case out.kind == rota.KindNotFound:
			return !mine, o
		}
		ok := mine && !o.over
		o.over = true
		return ok, o
	case doReadRun:
		if out.found != (o.run == in.run) {
			return false, o
		}
		if !out.found {
			return true, o
		}
		if !out.status.Terminal() {
			return !o.over, o
		}
		ok := o.status == 0 || o.status == out.status
		o.over, o.status = true, out.status
		return ok, o
	case doDrain:
		if !open && out.kind == rota.KindNotFound {
			return !o.there, o
		}
		o.there, o.drain = o.there || !open, in.drain
		return true, o
	case doReadNode:
		if !out.found {
			return !o.there, o
		}
		o.there = true
		return out.drain == o.drain, o
	}
	return false, o
}

func (o one) submit(in input, out output, open bool) (bool, one) {
	if o.run == "" {
		o.run, o.digest = in.run, in.digest
		return open || out.kind == rota.KindNone && out.run == in.run, o
	}
	switch {
	case open:
		return true, o
	case out.kind == rota.KindConflict:
		return o.digest != in.digest, o
	}
	return out.kind == rota.KindNone && o.digest == in.digest && out.run == o.run, o
}

// judge says which key or node's history no order explains; empty: none.
func (c *clients) judge() string {
	about := map[string][]*call{}
	var names []string
	for _, k := range c.history {
		if k.nothing() {
			continue
		}
		if about[k.in.about] == nil {
			names = append(names, k.in.about)
		}
		about[k.in.about] = append(about[k.in.about], k)
	}
	slices.Sort(names)
	for _, name := range names {
		if !explained(about[name]) {
			lines := []string{fmt.Sprintf("what clients saw of %s has no order that explains it:", name)}
			for _, k := range about[name] {
				lines = append(lines, fmt.Sprintf("client %d: %s", k.client, k))
			}
			return strings.Join(lines, "\n  ")
		}
	}
	return ""
}

func explained(calls []*call) bool {
	var history []porcupine.Operation
	for _, k := range calls {
		to := int64(k.to)
		if k.open() {
			to = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: k.client, Input: k, Call: int64(k.from), Return: to})
	}
	return porcupine.CheckOperations(porcupine.Model{
		Init: func() any { return one{} },
		Step: func(state, in, _ any) (bool, any) {
			o, k := state.(one), in.(*call) //nolint:forcetypeassert // nothing else is put in
			ok, next := o.step(k.in, k.out, k.open())
			return ok, next
		},
	}, history)
}
