package jobspecs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/rota-sched/rota"
)

// fan works out the instances of a task. room is how many tasks the run may still
// have.
func (f *File) fan(t *template, room int) {
	switch {
	case t.forEach != nil && t.matrix != nil:
		f.report.error(t.forEach.at, "for_each and matrix stand together", "A task is fanned out by one of them. Make for_each's values an axis of the matrix.")
	case t.forEach != nil:
		f.fanEach(t, room)
	case t.matrix != nil:
		f.fanMatrix(t, room)
	default:
		t.instances = []*instance{{key: rota.TaskKey(t.label)}}
		return
	}
	t.byKey = make(map[string]*instance, len(t.instances))
	for _, in := range t.instances {
		t.byKey[in.name] = in
	}
}

// addInstance makes one instance; it reports false when the key cannot be.
func (f *File) addInstance(t *template, at hcl.Range, in *instance, values ...string) bool {
	key, err := rota.MakeKey(t.label, values...)
	if err != nil {
		f.report.error(at, "A task key cannot be made", capital(err.Error())+".")
		return false
	}
	in.key, in.name = key, strings.Join(values, ",")
	t.instances = append(t.instances, in)
	return true
}

func (f *File) fanEach(t *template, room int) {
	a, at := t.forEach, t.forEach.expr.Range()
	v, ok := f.value(f.report, a, &scope{})
	if !ok {
		return
	}
	ty := v.Type()
	switch {
	case ty == cty.DynamicPseudoType && !v.IsNull() || !v.IsKnown() && !ty.IsTupleType() && !ty.IsListType():
		t.unknown = true
	case v.IsNull():
		f.report.error(at, "for_each is null", "Give it a map or a set of strings; an empty one, {}, makes no task.")
	case ty.IsTupleType() || ty.IsListType():
		f.report.error(at, "for_each is a list", "A position in a list is no lasting name for a task. Give it a set of strings, toset([...]), or a map.")
	case ty.IsSetType() && !ty.ElementType().Equals(cty.String) && v.LengthInt() > 0:
		f.report.errorf(at, "for_each is a set of something else", "Its elements must be strings, but are of type %s. Write toset([for x in ... : tostring(x)]).", ty.ElementType().FriendlyName())
	case ty.IsSetType(), ty.IsMapType(), ty.IsObjectType():
		f.fanElements(t, v, room)
	default:
		f.report.errorf(at, "for_each is neither map nor set", "It is %s. Give it a map, or a set of strings: toset([...]).", article(ty))
	}
}

func (f *File) fanElements(t *template, v cty.Value, room int) {
	at := t.forEach.expr.Range()
	if n := v.LengthInt(); n > room {
		f.tooMany(at, n)
		return
	}
	isSet := v.Type().IsSetType()
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		if !key.IsKnown() {
			t.unknown = true
			continue
		}
		if key.IsNull() {
			f.report.error(at, "for_each holds null", "Take it out: toset([for x in ... : x if x != null]).")
			return
		}
		name := key.AsString()
		if name == "" {
			f.report.error(at, "for_each holds an empty string", "It would be the name of a task. Take it out, or use another key.")
			return
		}
		if isSet {
			element = key
		}
		in := &instance{each: cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(name), "value": element})}
		if !f.addInstance(t, at, in, name) {
			return
		}
	}
}

func (f *File) tooMany(at hcl.Range, n int) {
	f.report.errorf(at, "The run has too many tasks", "%d tasks here, the limit is %d a run in all. Let a task handle several items, or start several runs.", n, rota.MaxTasksPerRun)
}

// axis is one axis of a matrix.
type axis struct {
	name   string
	values []cty.Value
	texts  []string
}

func (f *File) fanMatrix(t *template, room int) {
	var axes []axis
	size := 1
	for _, name := range t.axes {
		ax, ok := f.readAxis(t, t.matrix.Body.Attributes[name])
		if !ok {
			return
		}
		axes = append(axes, ax)
		if size *= len(ax.values); size > room {
			f.tooMany(t.matrix.TypeRange, size)
			return
		}
	}
	if len(axes) == 0 {
		f.report.error(t.matrix.TypeRange, "The matrix has no axis", `Write: matrix { NAME = ["...", "..."] }`)
		return
	}
	exclude, ok := f.readCombinations(t, "exclude", false)
	include, ok2 := f.readCombinations(t, "include", true)
	if !ok || !ok2 || t.unknown {
		return
	}
	combination := make([]int, len(axes))
	for range size {
		f.addCombination(t, axes, combination, exclude)
		for i := len(combination) - 1; i >= 0; i-- {
			if combination[i]++; combination[i] < len(axes[i].values) {
				break
			}
			combination[i] = 0
		}
	}
	f.addIncluded(t, axes, include)
}

func (f *File) addCombination(t *template, axes []axis, at []int, exclude []map[string]cty.Value) {
	values, texts := make(map[string]cty.Value, len(axes)), make([]string, len(axes))
	for i, ax := range axes {
		values[ax.name], texts[i] = ax.values[at[i]], ax.texts[at[i]]
	}
	for _, pattern := range exclude {
		matches := true
		for name, v := range pattern { // order: every pair must match
			matches = matches && axisText(v) == axisText(values[name])
		}
		if matches {
			return
		}
	}
	f.addInstance(t, t.matrix.TypeRange, &instance{matrix: cty.ObjectVal(values)}, texts...)
}

func (f *File) addIncluded(t *template, axes []axis, include []map[string]cty.Value) {
	for _, values := range include {
		texts := make([]string, len(axes))
		for i, ax := range axes {
			texts[i] = axisText(values[ax.name])
		}
		joined := strings.Join(texts, ",")
		if !slices.ContainsFunc(t.instances, func(in *instance) bool { return in.name == joined }) {
			f.addInstance(t, t.matrix.TypeRange, &instance{matrix: cty.ObjectVal(values)}, texts...)
		}
	}
}

// axisText is an axis value as part of a key; it is a string, number or bool.
func axisText(v cty.Value) string {
	text, err := convert.Convert(v, cty.String)
	if err != nil || text.IsNull() || !text.IsKnown() {
		return ""
	}
	return text.AsString()
}

// matrixValue evaluates an attribute of the matrix block as a list.
func (f *File) matrixValue(t *template, a *hclsyntax.Attribute) ([]cty.Value, bool) {
	v, ok := f.value(f.report, f.earlyAttr("matrix."+a.Name, a, allowed{where: "matrix"}), &scope{})
	if !ok {
		return nil, false
	}
	ty := v.Type()
	switch {
	case !v.IsNull() && !v.IsKnown():
		t.unknown = true
		return nil, true
	case v.IsNull() || !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType():
		f.report.errorf(a.Expr.Range(), fmt.Sprintf("%q of the matrix must be a list", a.Name), `Write: %s = ["...", "..."]`, a.Name)
		return nil, false
	}
	return v.AsValueSlice(), true
}

func (f *File) readAxis(t *template, a *hclsyntax.Attribute) (axis, bool) {
	ax := axis{name: a.Name}
	values, ok := f.matrixValue(t, a)
	if !ok {
		return ax, false
	}
	for i, v := range values {
		text, err := convert.Convert(v, cty.String)
		at := elementRange(a.Expr, i)
		switch {
		case err != nil:
			f.report.errorf(at, fmt.Sprintf("A value of axis %q is no text", a.Name), "It is %s. An axis holds texts, numbers and bools.", article(v.Type()))
			return ax, false
		case text.IsNull():
			f.report.errorf(at, fmt.Sprintf("A value of axis %q is null", a.Name), "Take it out.")
			return ax, false
		case !text.IsKnown():
			t.unknown = true
			continue
		case text.AsString() == "":
			f.report.errorf(at, fmt.Sprintf("A value of axis %q is empty", a.Name), "It would be part of a task's name. Take it out, or use another value.")
			return ax, false
		case slices.Contains(ax.texts, text.AsString()):
			f.report.errorf(at, fmt.Sprintf("Axis %q holds %q twice", a.Name, text.AsString()), "Take one of them out.")
			return ax, false
		}
		ax.values, ax.texts = append(ax.values, v), append(ax.texts, text.AsString())
	}
	return ax, true
}

// readCombinations reads include or exclude: a list of objects by axis. With whole
// each must name every axis.
func (f *File) readCombinations(t *template, name string, whole bool) ([]map[string]cty.Value, bool) {
	a, ok := t.matrix.Body.Attributes[name]
	if !ok {
		return nil, true
	}
	values, ok := f.matrixValue(t, a)
	if !ok {
		return nil, false
	}
	out := make([]map[string]cty.Value, 0, len(values))
	for i, v := range values {
		at := elementRange(a.Expr, i)
		if !v.IsWhollyKnown() {
			t.unknown = true
			continue
		}
		if v.IsNull() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
			f.report.errorf(at, fmt.Sprintf("%q of the matrix must be a list of objects", name), `Write: %s = [{ %s = "..." }]`, name, t.axes[0])
			return nil, false
		}
		m := v.AsValueMap()
		if !f.checkCombination(at, name, m, t.axes, whole) {
			return nil, false
		}
		out = append(out, m)
	}
	return out, true
}

func (f *File) checkCombination(at hcl.Range, name string, m map[string]cty.Value, axes []string, whole bool) bool {
	for _, key := range sortedKeys(m) {
		if !slices.Contains(axes, key) {
			f.report.errorf(at, fmt.Sprintf("%q names no axis %q", name, key), "%s", sentences(didYouMean(key, axes), "The matrix has: "+few(axes)+"."))
			return false
		}
		if axisText(m[key]) == "" {
			f.report.errorf(at, fmt.Sprintf("%q gives no value for %q", name, key), "Values are texts, numbers and bools.")
			return false
		}
	}
	if len(m) == 0 || whole && len(m) < len(axes) {
		f.report.errorf(at, fmt.Sprintf("An entry of %q is incomplete", name), "It must name: %s.", strings.Join(axes, ", "))
		return false
	}
	return true
}
