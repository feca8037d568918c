package jobspecs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/rota-sched/rota"
)

// need is one dependency of a task as the file writes it.
type need struct {
	on       *template
	kind     rota.EdgeKind
	explicit bool // in depends_on, after_any or after_failure
	at       hcl.Range
	// Which instances: key if it is set, the one that fixed names if that is set,
	// else all.
	key   hclsyntax.Expression
	fixed string
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// readDepList reads depends_on and its kin: a list of references to tasks.
func (f *File) readDepList(a *hclsyntax.Attribute, kind rota.EdgeKind, may allowed) depList {
	list := depList{name: a.Name, kind: kind, at: a.NameRange}
	if v, ok := literal(a.Expr); ok && v.IsNull() {
		return list
	}
	tuple, ok := a.Expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		f.report.errorf(a.Expr.Range(), fmt.Sprintf("%q must be a list of tasks", a.Name), "Write: %s = [task.NAME, ...]", a.Name)
		return list
	}
	for _, e := range tuple.Exprs {
		f.readDependency(&list, e, may)
	}
	return list
}

func (f *File) readDependency(list *depList, e hclsyntax.Expression, may allowed) {
	if v, ok := literal(e); ok {
		e = f.quotedReference(list.name, e, v)
		if e == nil {
			return
		}
	}
	var found refs
	f.scan(e, may, &found)
	if found.broken {
		return
	}
	plain := len(found.tasks) == 1
	switch x := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		plain = plain && len(x.Traversal) <= 3
	case *hclsyntax.IndexExpr:
	default:
		plain = false
	}
	if !plain {
		f.report.errorf(e.Range(), fmt.Sprintf("This is no reference to a task in %q", list.name), "Write only which task: task.NAME, or task.NAME[each.key] for one instance.")
		return
	}
	list.refs.tasks = append(list.refs.tasks, found.tasks...)
	list.refs.each = list.refs.each || found.each
	list.refs.matrix = list.refs.matrix || found.matrix
}

// quotedReference reads "task.a" where the syntax is JSON, which has only texts,
// and refuses it elsewhere.
func (f *File) quotedReference(name string, e hclsyntax.Expression, v cty.Value) hclsyntax.Expression {
	if v.IsNull() || v.Type() != cty.String {
		f.report.errorf(e.Range(), fmt.Sprintf("This is no reference to a task in %q", name), "Write: task.NAME")
		return nil
	}
	text := v.AsString()
	if !isJSON(f.report.file) {
		f.report.errorf(e.Range(), "References are not quoted", "Write %s = [%s] without quotes.", name, withTask(text))
		return nil
	}
	if inner, ok := strings.CutPrefix(text, "${"); ok {
		text = strings.TrimSuffix(inner, "}")
	}
	start := e.Range().Start
	start.Byte++
	start.Column++
	if nestsTooDeep([]byte(text), hclsyntax.LexExpression) {
		f.report.error(e.Range(), "Too deeply nested", tooDeepDetail)
		return nil
	}
	parsed, diags := hclsyntax.ParseExpression([]byte(text), f.report.file, start)
	if diags.HasErrors() {
		f.report.errorf(e.Range(), fmt.Sprintf("This is no reference to a task in %q", name), "Write: \"task.NAME\"")
		return nil
	}
	return parsed
}

func withTask(text string) string {
	if strings.HasPrefix(text, "task.") {
		return text
	}
	return "task." + text
}

// link finds the tasks that a task mentions and notes what it depends on.
func (f *File) link(j *job, t *template) {
	for _, a := range t.attrs {
		f.linkRefs(j, t, &a.refs, rota.EdgeDelivered, false)
	}
	for i := range t.constraints {
		for _, a := range t.constraints[i].attrs() {
			f.linkRefs(j, t, &a.refs, rota.EdgeDelivered, false)
		}
	}
	for i := range t.lists {
		f.linkRefs(j, t, &t.lists[i].refs, t.lists[i].kind, true)
	}
}

func (f *File) linkRefs(j *job, t *template, refs *refs, kind rota.EdgeKind, explicit bool) {
	for i := range refs.tasks {
		ref := &refs.tasks[i]
		n, ok := f.linkRef(j, ref, explicit)
		if !ok {
			refs.broken = true
			continue
		}
		n.kind, n.explicit = kind, explicit
		t.needs = append(t.needs, n)
	}
}

// linkRef checks one mention: that the task exists, that the index fits it, and
// that what is asked of it exists.
func (f *File) linkRef(j *job, ref *taskRef, explicit bool) (need, bool) {
	on, ok := j.byLabel[ref.label]
	if !ok {
		f.report.errorf(ref.at, fmt.Sprintf("There is no task %q in job %q", ref.label, j.name), "%s",
			sentences(didYouMean(ref.label, sortedKeys(j.byLabel)), "The job has: "+few(sortedKeys(j.byLabel))+"."))
		return need{}, false
	}
	n := need{on: on, at: ref.at, key: ref.key}
	steps := ref.steps
	if !on.fanned() {
		if ref.key != nil || ref.loose {
			f.report.errorf(ref.at, fmt.Sprintf("Task %q has no instances", ref.label), "It has neither for_each nor matrix: write task.%s without an index.", ref.label)
			return n, false
		}
		return n, f.checkSteps(on, steps, explicit, ref.at)
	}
	if ref.key == nil && !ref.loose && len(steps) > 0 {
		name, ok := instanceName(steps[0])
		if !ok {
			return n, true
		}
		if !on.unknown && on.byKey[name] == nil {
			f.report.errorf(ref.at, fmt.Sprintf("Task %q has no instance %q", ref.label, name), "%s", instanceHint(on, name))
			return n, false
		}
		n.fixed, steps = name, steps[1:]
	}
	return n, f.checkSteps(on, steps, explicit, ref.at)
}

// instanceName is the key of an instance in a step of a traversal.
func instanceName(s hcl.Traverser) (string, bool) {
	if name, ok := stepName(s); ok {
		return name, true
	}
	if index, ok := s.(hcl.TraverseIndex); ok {
		if v, err := convert.Convert(index.Key, cty.String); err == nil && v.IsKnown() && !v.IsNull() {
			return v.AsString(), true
		}
	}
	return "", false
}

func instanceHint(on *template, got string) string {
	names := make([]string, len(on.instances))
	for i, in := range on.instances {
		names[i] = in.name
	}
	return sentences(didYouMean(got, names), "It has: "+orNone(few(names))+".",
		fmt.Sprintf("task.%s is the map of all of them.", on.label))
}

// checkSteps looks at what is asked of a task: task.a.STEP.
func (f *File) checkSteps(on *template, steps hcl.Traversal, explicit bool, at hcl.Range) bool {
	if len(steps) == 0 || explicit {
		return true
	}
	name, ok := stepName(steps[0])
	switch {
	case !ok:
		return true // the evaluation says what is wrong with it
	case name == "artifact":
		notBuilt(f.report, at, fmt.Sprintf("task.%s.artifact", on.label))
		return false
	case name == "output" && on.output == "":
		f.report.errorf(at, fmt.Sprintf("Task %q declares no output", on.label), "Add output {} to it for its text, or output { type = \"json\" } for a value.")
		return false
	case !slices.Contains(taskAttributes, name):
		f.report.errorf(at, fmt.Sprintf("A task has no %q", name), "%s", sentences(didYouMean(name, taskAttributes), "It has: "+oneOf(taskAttributes)+"."))
		return false
	}
	return true
}
