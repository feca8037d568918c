package jobspecs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/rota-sched/rota"
)

// maxEdges bounds the dependencies of a run: a fan-out of 5,000 after another of
// 5,000 has 25 million. A noop task between the two makes it 10,000.
const maxEdges = 200_000

// expand makes a job of a job block: instances, dependencies, specs.
func (f *File) expand(j *job) {
	f.readJobAttributes(j)
	room := rota.MaxTasksPerRun
	for _, t := range j.tasks {
		f.fan(t, room)
		if room -= len(t.instances); room < 0 {
			f.tooMany(t.block.DefRange(), rota.MaxTasksPerRun-room)
			return
		}
		t.value = f.taskValue(t)
	}
	for _, t := range j.tasks {
		f.link(j, t)
	}
	f.findCycles(j)
	out := &rota.Job{Name: j.name, Priority: j.priority, OnTaskFailure: rota.FailureContinue, Tasks: make([]rota.NewTask, 0, rota.MaxTasksPerRun-room)}
	r := &reader{file: f, report: f.report, scope: &scope{}}
	if text, g := r.text(j.attrs["namespace"]); g == gotValue {
		out.Namespace = text
		if !rota.IsIdentifier(text) || len(text) > maxTypeBytes {
			r.bad(j.attrs["namespace"].expr.Range(), fmt.Sprintf("%q cannot name a namespace", shorten(text)), "A name is a letter or underscore, then letters, digits, underscores and dashes.")
		}
	}
	if word, g := r.word(j.attrs["on_task_failure"], onFailures, nil); g == gotValue {
		out.OnTaskFailure = rota.OnTaskFailure(word)
	}
	x := &expansion{file: f, job: j, out: out, specs: make(map[string]int)}
	for _, t := range j.tasks {
		x.template(t)
	}
	if f.inputs.Job == "" || f.inputs.Job == j.name {
		j.expanded = out
	}
}

func (f *File) readJobAttributes(j *job) {
	j.priority = defaultPriority
	r := &reader{file: f, report: f.report, scope: &scope{}}
	if n, g := r.integer(j.attrs["priority"], 0, 100); g == gotValue {
		j.priority = int(n)
	}
	if p := f.inputs.Priority; p != nil {
		if *p < 0 || *p > 100 {
			f.report.errorf(rangeAt(0, 0), "The priority given is out of range", "It is %d; want a whole number from 0 to 100.", *p)
		}
		j.priority = *p
	}
}

// expansion collects the tasks and specs of a job.
type expansion struct {
	file  *File
	job   *job
	out   *rota.Job
	specs map[string]int // by what they say
	edges int
}

// template adds all instances of a task. What does not differ between instances
// is worked out once.
func (x *expansion) template(t *template) {
	if t.driver == "" || x.edges > maxEdges {
		x.check(t, &scope{task: x.tasks})
		return
	}
	if len(t.instances) == 0 { // still look for mistakes
		x.check(t, &scope{task: x.tasks})
		return
	}
	shared := -1
	var edges []rota.Edge
	perInstance := t.perInstance()
	for i, in := range t.instances {
		sc := &scope{each: in.each, matrix: in.matrix, task: x.tasks, about: about(t, in)}
		if i == 0 || t.edgesPerInstance() {
			var ok bool
			if edges, ok = x.dependencies(t, sc); !ok {
				return
			}
		}
		if x.edges += len(edges); x.edges > maxEdges {
			x.file.report.errorf(t.block.DefRange(), "The run has too many dependencies", "More than %d. Let a task with driver = \"noop\" come between: it depends on the first ones, and the others depend on it.", maxEdges)
			return
		}
		if shared < 0 || perInstance {
			spec, ok := x.check(t, sc)
			if !ok {
				return // the other instances would say the same
			}
			shared = x.add(spec)
		}
		x.out.Tasks = append(x.out.Tasks, rota.NewTask{Key: in.key, Spec: shared, DependsOn: edges})
	}
}

func about(t *template, in *instance) string {
	if t.fanned() {
		return "for " + string(in.key)
	}
	return ""
}

func (t *template) perInstance() bool {
	for _, a := range t.attrs {
		if a.refs.perInstance() {
			return true
		}
	}
	return slices.ContainsFunc(t.constraints, func(c constraintBlock) bool {
		return slices.ContainsFunc(c.attrs(), func(a *attr) bool { return a.refs.perInstance() })
	})
}

func (t *template) edgesPerInstance() bool {
	return slices.ContainsFunc(t.needs, func(n need) bool { return n.key != nil })
}

// check works out the spec of one instance.
func (x *expansion) check(t *template, sc *scope) (*rota.TaskSpec, bool) {
	b := &specBuilder{reader: &reader{file: x.file, report: x.file.report, scope: sc}, job: x.job, task: t}
	b.build()
	return b.spec, !b.failed
}

// add finds an equal spec, or adds this one.
func (x *expansion) add(s *rota.TaskSpec) int {
	key := fingerprint(s)
	if i, ok := x.specs[key]; ok {
		return i
	}
	x.out.Specs = append(x.out.Specs, s)
	x.specs[key] = len(x.out.Specs) - 1
	return x.specs[key]
}

// tasks gives what is known of another task at submit: types only.
func (x *expansion) tasks(label string, _ []taskRef) cty.Value {
	if t, ok := x.job.byLabel[label]; ok {
		return t.value
	}
	return cty.DynamicVal
}

// taskValue is a task as expressions see it before it ran.
func (f *File) taskValue(t *template) cty.Value {
	one, ok := f.unknown[t.output]
	if !ok {
		one = cty.UnknownVal(taskType(t.output)).RefineNotNull()
		f.unknown[t.output] = one
	}
	switch {
	case !t.fanned():
		return one
	case t.unknown:
		return cty.DynamicVal
	}
	all := make(map[string]cty.Value, len(t.instances))
	for _, in := range t.instances {
		all[in.name] = one
	}
	return cty.ObjectVal(all)
}

func taskType(output rota.OutputType) cty.Type {
	attrs := map[string]cty.Type{
		"status": cty.String, "exit_code": cty.Number, "attempts": cty.Number, "node": cty.String, "cost": cty.Number,
	}
	switch output {
	case rota.OutputText:
		attrs["output"] = cty.String
	case rota.OutputJSON:
		attrs["output"] = cty.DynamicPseudoType
	}
	return cty.Object(attrs)
}

// dependencies works out the edges of one instance, sorted by key. A list like
// after_any replaces what a mention alone would mean.
func (x *expansion) dependencies(t *template, sc *scope) ([]rota.Edge, bool) {
	if len(t.needs) == 0 {
		return nil, true
	}
	kinds := make(map[rota.TaskKey]need, len(t.needs))
	ok := true
	for _, n := range t.needs {
		targets, found := x.targets(n, sc)
		ok = ok && found
		for _, in := range targets {
			ok = x.merge(kinds, in.key, n) && ok
		}
	}
	edges := make([]rota.Edge, 0, len(kinds))
	for key, n := range kinds { // order: sorted below
		edges = append(edges, rota.Edge{On: key, Kind: n.kind})
	}
	slices.SortFunc(edges, func(a, b rota.Edge) int { return strings.Compare(string(a.On), string(b.On)) })
	return edges, ok
}

func (x *expansion) merge(kinds map[rota.TaskKey]need, key rota.TaskKey, n need) bool {
	old, again := kinds[key]
	switch {
	case !again, !old.explicit && n.explicit:
		kinds[key] = n
	case old.explicit && n.explicit && old.kind != n.kind:
		x.file.report.errorf(n.at, fmt.Sprintf("Task %q stands in two lists", key.Label()), "depends_on, after_any and after_failure contradict each other for one task: keep one (the other is on line %d).", old.at.Start.Line)
		return false
	}
	return true
}

func (x *expansion) targets(n need, sc *scope) ([]*instance, bool) {
	switch {
	case n.on.unknown:
		return nil, true
	case n.fixed != "":
		return []*instance{n.on.byKey[n.fixed]}, true
	case n.key != nil:
		return x.indexed(n, sc)
	}
	return n.on.instances, true
}

// indexed evaluates the index of task.a[each.key].
func (x *expansion) indexed(n need, sc *scope) ([]*instance, bool) {
	v, ok := x.file.evaluate(x.file.report, n.key, &refs{each: true, matrix: true}, sc)
	if !ok {
		return nil, false
	}
	text, err := convert.Convert(v, cty.String)
	if err != nil || text.IsNull() || !text.IsKnown() {
		x.file.report.error(n.key.Range(), "The index is no text", "An instance is named by each.key, or by the axis values joined with commas.")
		return nil, false
	}
	in, ok := n.on.byKey[text.AsString()]
	if !ok {
		x.file.report.error(n.at, fmt.Sprintf("Task %q has no instance %q", n.on.label, text.AsString()), sentences(instanceHint(n.on, text.AsString()), inParentheses(sc.about)))
		return nil, false
	}
	return []*instance{in}, true
}

// edgeText writes where a dependency stands.
func edgeText(file string, r *report, at hcl.Range) string {
	p := r.position(at.Start.Byte)
	return fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
}
