package sim

import (
	"fmt"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/fsm"
)

// clients do a few things at the same time and write down what they saw: submit
// under keys that they share, cancel, drain, and read. What they saw must be what
// one server, doing one thing after the other, could have said.
type clients struct {
	w       *World
	minted  int
	known   []named // runs that somebody was told of, or minted
	history []*call
	busy    int
}

// named is a run with the key under which it was submitted.
type named struct {
	run rota.RunID
	key string
}

const (
	clientsAtWork = 3
	clientKeys    = 4
	clientPatient = 2 * time.Second
)

func (c *clients) begin() {
	for id := range clientsAtWork {
		c.w.after(c.w.between(3*time.Second, 6*time.Second), func() { c.work(id) })
	}
}

func (c *clients) idle() bool { return c.busy == 0 }

// work does one thing, and the next some time after its end.
func (c *clients) work(id int) {
	if c.w.left() == 0 {
		return
	}
	c.busy++
	next := func() {
		c.busy--
		c.w.after(c.w.between(20*time.Millisecond, 3*time.Second), func() { c.work(id) })
	}
	switch n := c.w.rng.IntN(20); {
	case n < 5 || len(c.known) == 0:
		c.submit(id, fmt.Sprintf("k%d", c.w.rng.IntN(clientKeys)), next)
	case n < 7:
		c.cancel(id, c.known[c.w.rng.IntN(len(c.known))], next)
	case n < 12:
		c.readRun(id, c.known[c.w.rng.IntN(len(c.known))], c.w.people.somebody(), c.w.anyServer(), next)
	case n < 15:
		c.drain(id, c.w.anyMachine().id, c.w.chance(40), func(error) { next() })
	default:
		c.readNode(id, c.w.anyMachine().id, c.w.people.somebody(), c.w.anyServer(), next)
	}
}

// besiege reads some of everything through one server, all at once.
func (c *clients) besiege(s *machine) {
	p := &program{m: s}
	for range 3 {
		c.readNode(clientsAtWork, c.w.anyMachine().id, p, s, func() {})
		if n := len(c.known); n > 0 {
			c.readRun(clientsAtWork, c.known[max(0, n-1-c.w.rng.IntN(4))], p, s, func() {})
		}
	}
}

// call begins an operation; the function that it returns ends it.
func (c *clients) call(id int, in input) func(output) {
	k := &call{client: id, in: in, from: c.w.now}
	c.history = append(c.history, k)
	c.w.check.calls++
	return func(out output) {
		k.to, k.out, k.ended = c.w.now, out, true
		c.w.tell("client %d: %s", id, k)
	}
}

// submit submits a run under a key that others use too; the receiving server mints
// the run's ID.
func (c *clients) submit(id int, key string, next func()) {
	c.minted++
	run := rota.RunID(fmt.Sprintf("01JC%022d", c.minted))
	digest := "d-" + key
	if c.w.chance(10) {
		digest += "-other"
	}
	lasts := c.w.between(5*time.Millisecond, 4*time.Second)
	op := rota.SubmitRun{
		Run: run, Job: "client", Hash: "h2", Filename: "client.hcl", Source: []byte("job"), Digest: digest, Total: 1,
		Specs: []*rota.TaskSpec{{
			Driver: rota.DriverExec, Command: behave(lasts, 0, false, false), Resources: rota.Resources{CPUMilli: 100}, Retry: rota.Retry{MaxAttempts: 3},
		}},
		Tasks: []rota.NewTask{{Key: "only"}},
	}
	c.known = append(c.known, named{run, key})
	end := c.call(id, input{what: doSubmit, about: key, run: run, digest: digest})
	cmd := rota.Command{RequestID: key, Namespace: "default", Principal: "client", Op: op}
	c.w.commandOnce(c.w.people.somebody(), cmd, clientPatient, func(res rota.Result, err error) {
		end(output{run: res.Run, kind: rota.KindOf(err)})
		next()
	})
}

func (c *clients) cancel(id int, n named, next func()) {
	end := c.call(id, input{what: doCancel, about: n.key, run: n.run})
	c.w.commandOnce(c.w.people.somebody(), rota.Command{Op: rota.CancelRun{Run: n.run, Reason: "a client's"}}, clientPatient, func(_ rota.Result, err error) {
		end(output{kind: rota.KindOf(err)})
		next()
	})
}

// drain, or the end of it.
func (c *clients) drain(id int, node rota.NodeID, on bool, done func(error)) {
	end := c.call(id, input{what: doDrain, about: string(node), drain: on})
	c.w.commandOnce(c.w.people.somebody(), rota.Command{Op: rota.MarkNode{Node: node, Drain: &on}}, clientPatient, func(_ rota.Result, err error) {
		end(output{kind: rota.KindOf(err)})
		done(err)
	})
}

func (c *clients) readRun(id int, n named, p *program, at *machine, next func()) {
	end := c.call(id, input{what: doReadRun, about: n.key, run: n.run})
	c.w.read(p, at, clientPatient, func(s *fsm.Snapshot) any {
		if r, ok := s.Run(n.run); ok {
			return output{found: true, status: r.Status}
		}
		return output{}
	}, ended(end, next))
}

func (c *clients) readNode(id int, node rota.NodeID, p *program, at *machine, next func()) {
	end := c.call(id, input{what: doReadNode, about: string(node)})
	c.w.read(p, at, clientPatient, func(s *fsm.Snapshot) any {
		if n, ok := s.Node(node); ok {
			return output{found: true, drain: n.Draining}
		}
		return output{}
	}, ended(end, next))
}

func ended(end func(output), next func()) func(any, error) {
	return func(v any, err error) {
		out, _ := v.(output)
		out.kind = rota.KindOf(err)
		end(out)
		next()
	}
}

// undrainAll ends every drain, after the faults; what was asked long ago may still
// arrive.
func (c *clients) undrainAll() {
	if c.w.check.now == nil || c.busy > 0 {
		return
	}
	for n := range c.w.check.now.Nodes() {
		if n.Draining {
			c.busy++
			c.undrain(n.ID)
		}
	}
}

func (c *clients) undrain(node rota.NodeID) {
	c.drain(clientsAtWork, node, false, func(err error) {
		switch rota.KindOf(err) {
		case rota.KindNone, rota.KindNotFound:
			c.busy--
		default:
			c.w.after(300*time.Millisecond, func() { c.undrain(node) })
		}
	})
}
