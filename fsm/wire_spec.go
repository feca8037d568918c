package fsm

import (
	"encoding/binary"
	"strings"

	"github.com/rota-sched/rota"
)

// minSpecBytes is the length of the shortest encoded spec.
const minSpecBytes = 20

// modernMark ends the driver's name in the encoding of a spec that needs
// rota.FormatPlacement; what is new of it is the only value of one more constraint, the
// last. A build that does not know the mark reads the same fields and a driver that it
// does not have, and refuses the spec as this one does until the format is active:
// neither halts, and their states stay equal.
const modernMark = "+placement"

func appendSpec(b []byte, s *rota.TaskSpec) []byte {
	modern, driver := s.Modern(), string(s.Driver)
	if modern {
		driver += modernMark
	}
	b = appendInt(appendText(appendText(b, s.Type), driver), s.Priority)
	b = appendPairs(appendTexts(b, s.Command), s.Env)
	b = appendBytes(appendText(b, s.Workdir), s.Input)
	b = appendResources(appendText(b, s.Output), &s.Resources)
	b = appendTexts(b, s.Capabilities)
	if modern {
		b = appendModern(b, s)
	} else {
		b = appendConstraints(b, s.Constraints)
	}
	b = appendRetry(b, &s.Retry)
	b = appendInt(appendInt(appendInt(b, s.Timeouts.ScheduleToStart), s.Timeouts.StartToClose), s.Timeouts.ScheduleToClose)
	b = appendInt(appendText(b, s.Stop.Signal), s.Stop.Grace)
	b = appendBool(appendText(b, s.Rerun), s.AllowFailure)
	return appendTexts(b, s.Late)
}

func appendModern(b []byte, s *rota.TaskSpec) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.Constraints)+1))
	for i := range s.Constraints {
		b = appendConstraint(b, &s.Constraints[i])
	}
	wishes := rota.Constraint{Attribute: modernMark, Values: []string{string(appendWishes(nil, s))}}
	return appendConstraint(b, &wishes)
}

func appendWishes(b []byte, s *rota.TaskSpec) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.Affinities)))
	for i := range s.Affinities {
		b = appendInt(appendConstraint(b, &s.Affinities[i].Constraint), s.Affinities[i].Weight)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Spreads)))
	for _, sp := range s.Spreads {
		b = appendInt(appendText(b, sp.Attribute), sp.Weight)
	}
	return appendBool(b, s.DistinctHosts)
}

// modern takes the wishes out of the last constraint.
func (r *reader) modern(s *rota.TaskSpec) {
	last := len(s.Constraints) - 1
	if last < 0 || s.Constraints[last].Attribute != modernMark || s.Constraints[last].Operator != "" || len(s.Constraints[last].Values) != 1 {
		r.fail("a spec without what its mark says")
		return
	}
	inner := &reader{b: []byte(s.Constraints[last].Values[0])}
	inner.wishes(s)
	if inner.end() != nil {
		r.fail("wishes that cannot be read")
	}
	if s.Constraints = s.Constraints[:last]; last == 0 {
		s.Constraints = nil
	}
}

func (r *reader) wishes(s *rota.TaskSpec) {
	s.Affinities = list(r, 4, func(r *reader) rota.Affinity { return rota.Affinity{Constraint: r.constraint(), Weight: r.int()} })
	s.Spreads = list(r, 2, func(r *reader) rota.Spread { return rota.Spread{Attribute: r.text(), Weight: r.int()} })
	s.DistinctHosts = r.bool()
}

func (r *reader) spec() *rota.TaskSpec {
	if r.seen == nil {
		return r.newSpec()
	}
	if spec, n := r.seen.find(r.b); spec != nil {
		r.b = r.b[n:]
		return spec
	}
	from := r.b
	spec := r.newSpec()
	if r.err == nil {
		r.seen.keep(from[:len(from)-len(r.b)], spec)
	}
	return spec
}

func (r *reader) newSpec() *rota.TaskSpec {
	s := r.plainSpec()
	driver, modern := strings.CutSuffix(string(s.Driver), modernMark)
	if modern {
		s.Driver = rota.Driver(driver)
		r.modern(s)
	}
	if r.err == nil && modern != s.Modern() {
		r.fail("a spec with a mark that is not its own")
	}
	return s
}

func (r *reader) plainSpec() *rota.TaskSpec {
	return &rota.TaskSpec{
		Type: r.text(), Driver: rota.Driver(r.text()), Priority: r.int(),
		Command: texts[string](r), Env: r.pairs(),
		Workdir: r.text(), Input: r.json(),
		Output: rota.OutputType(r.text()), Resources: r.resources(),
		Capabilities: texts[string](r),
		Constraints:  r.constraints(),
		Retry:        r.retry(),
		Timeouts:     rota.Timeouts{ScheduleToStart: r.duration(), StartToClose: r.duration(), ScheduleToClose: r.duration()},
		Stop:         rota.Stop{Signal: r.text(), Grace: r.duration()},
		Rerun:        rota.Rerun(r.text()), AllowFailure: r.bool(),
		Late: texts[string](r),
	}
}

func appendConstraints(b []byte, list []rota.Constraint) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		b = appendConstraint(b, &list[i])
	}
	return b
}

func appendConstraint(b []byte, c *rota.Constraint) []byte {
	return appendTexts(appendText(appendText(b, c.Attribute), c.Operator), c.Values)
}

func (r *reader) constraints() []rota.Constraint { return list(r, 3, (*reader).constraint) }

func (r *reader) constraint() rota.Constraint {
	return rota.Constraint{Attribute: r.text(), Operator: rota.Operator(r.text()), Values: texts[string](r)}
}

func appendRetry(b []byte, v *rota.Retry) []byte {
	b = appendText(appendInt(b, v.MaxAttempts), v.Backoff)
	b = appendInt(appendInt(appendInt(b, v.Initial), v.Max), v.MultiplierMilli)
	b = appendBool(b, v.Jitter)
	if v.On == nil { // unlike an empty list, the default
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(v.On))+1)
	for _, c := range v.On {
		b = append(b, byte(c))
	}
	return b
}

func (r *reader) retry() rota.Retry {
	v := rota.Retry{
		MaxAttempts: r.int(), Backoff: rota.Backoff(r.text()),
		Initial: r.duration(), Max: r.duration(), MultiplierMilli: r.int64(),
		Jitter: r.bool(),
	}
	n := r.uint()
	if n == 0 || r.err != nil {
		return v
	}
	if n-1 > uint64(len(r.b)) {
		r.fail("list longer than its bytes")
		return v
	}
	v.On = make([]rota.Cause, 0, n-1)
	for range n - 1 {
		v.On = append(v.On, rota.Cause(r.byte()))
	}
	return v
}

func appendSpecs(b []byte, specs []*rota.TaskSpec) []byte {
	b = binary.AppendUvarint(b, uint64(len(specs)))
	for _, s := range specs {
		b = appendSpec(b, orEmpty(s))
	}
	return b
}

func (r *reader) specs() []*rota.TaskSpec { return list(r, minSpecBytes, (*reader).spec) }

// orEmpty stands in for a missing spec, so that encoding cannot panic; the empty
// spec names no driver and is refused.
func orEmpty(s *rota.TaskSpec) *rota.TaskSpec {
	if s == nil {
		return &rota.TaskSpec{}
	}
	return s
}
