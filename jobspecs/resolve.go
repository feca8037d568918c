package jobspecs

import (
	"encoding/json"
	"fmt"

	"github.com/zclconf/go-cty/cty"

	"github.com/rota-sched/rota"
)

// TaskValue is what expressions may know of a task that has ended.
type TaskValue struct {
	Key       rota.TaskKey
	Status    rota.Status
	Output    json.RawMessage // JSON; a text output is a JSON string
	HasOutput bool
	ExitCode  int
	Attempts  int
	Node      string
	Cost      rota.MicroUSD
}

// Resolve evaluates the late expressions of a task now that what it depends on has
// ended: its finished spec, or that it is to be skipped because when is false, or
// diagnostics with the place of what failed. look gives the ended tasks of the
// run; what it does not know is an error. The file must have been parsed with the
// run's variables.
func (f *File) Resolve(jobName string, key rota.TaskKey, run rota.RunID, look func(rota.TaskKey) (TaskValue, bool)) (spec *rota.TaskSpec, skip bool, ds rota.Diagnostics) {
	r := newReport(f.report.file, f.report.text)
	j, t, in := f.find(jobName, key)
	if in == nil {
		r.error(rangeAt(0, 0), fmt.Sprintf("There is no task %q in job %q", key, jobName), "The job file, or the variables it was read with, are not those of the run.")
		return nil, false, r.done()
	}
	past := &past{file: f, job: j, report: r, task: t, look: look}
	sc := &scope{each: in.each, matrix: in.matrix, run: cty.StringVal(string(run)), about: about(t, in)}
	sc.task = func(label string, mentions []taskRef) cty.Value { return past.value(label, mentions, sc) }
	b := &specBuilder{reader: &reader{file: f, report: r, scope: sc, final: true}, job: j, task: t}
	b.build()
	if b.failed || r.failed() {
		return nil, false, r.done()
	}
	if b.skip {
		return nil, true, nil
	}
	b.spec.Late = nil
	return b.spec, false, r.done()
}

func (f *File) find(jobName string, key rota.TaskKey) (*job, *template, *instance) {
	for _, j := range f.jobs {
		if j.name != jobName {
			continue
		}
		t, ok := j.byLabel[key.Label()]
		if !ok {
			return nil, nil, nil
		}
		for _, in := range t.instances {
			if in.key == key {
				return j, t, in
			}
		}
	}
	return nil, nil, nil
}

// past gives the tasks that have ended as values.
type past struct {
	file   *File
	job    *job
	report *report
	task   *template // that asks
	look   func(rota.TaskKey) (TaskValue, bool)
}

// value is task.LABEL with the instances that are mentioned.
func (p *past) value(label string, mentions []taskRef, sc *scope) cty.Value {
	t := p.job.byLabel[label]
	if t == nil {
		return cty.DynamicVal
	}
	if !t.fanned() {
		return p.one(t, t.instances[0])
	}
	all := make(map[string]cty.Value)
	for _, in := range p.mentioned(t, mentions, sc) {
		all[in.name] = p.one(t, in)
	}
	return cty.ObjectVal(all)
}

// mentioned narrows a fan-out to the instances an expression names, if it names
// them: the others may not have ended yet.
func (p *past) mentioned(t *template, mentions []taskRef, sc *scope) []*instance {
	x := &expansion{file: &File{report: p.report, frozen: true}, job: p.job}
	var out []*instance
	for i := range mentions {
		ref := &mentions[i]
		switch {
		case ref.key != nil:
			found, ok := x.indexed(need{on: t, key: ref.key, at: ref.at}, sc)
			if !ok {
				return nil
			}
			out = append(out, found...)
		case !ref.loose && len(ref.steps) > 0:
			name, ok := instanceName(ref.steps[0])
			if !ok || t.byKey[name] == nil {
				return t.instances
			}
			out = append(out, t.byKey[name])
		default:
			return t.instances
		}
	}
	return out
}

// one is a task that has ended. Without a delivered output its output is null.
func (p *past) one(t *template, in *instance) cty.Value {
	v, ok := p.look(in.key)
	if !ok {
		p.report.error(p.task.block.DefRange(), fmt.Sprintf("Task %q has not ended", in.key), "Its values are not known yet. This is a defect of Rota, not of the job file.")
		return cty.DynamicVal
	}
	attrs := map[string]cty.Value{
		"status":    cty.StringVal(v.Status.String()),
		"exit_code": cty.NumberIntVal(int64(v.ExitCode)),
		"attempts":  cty.NumberIntVal(int64(v.Attempts)),
		"node":      cty.StringVal(v.Node),
		"cost":      cty.NumberIntVal(int64(v.Cost)),
	}
	switch t.output {
	case rota.OutputText:
		attrs["output"] = p.output(v, cty.String)
	case rota.OutputJSON:
		attrs["output"] = p.output(v, cty.DynamicPseudoType)
	}
	return cty.ObjectVal(attrs)
}

func (p *past) output(v TaskValue, want cty.Type) cty.Value {
	if !v.HasOutput || v.Status != rota.StatusDelivered {
		return cty.NullVal(want)
	}
	value, err := fromJSON(v.Output)
	if err == nil && want == cty.String && value.Type() != cty.String {
		err = fmt.Errorf("it is %s, not a text", value.Type().FriendlyName())
	}
	if err != nil {
		p.report.errorf(p.task.block.DefRange(), fmt.Sprintf("The output of task %q cannot be read", v.Key), "%s.", capital(err.Error()))
		return cty.NullVal(want)
	}
	return value
}
