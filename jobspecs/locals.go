package jobspecs

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/rota-sched/rota"
)

// local is a named value of the file.
type local struct {
	attr  *attr
	value cty.Value
}

func (f *File) localNames() []string { return sortedKeys(f.locals) }

func (f *File) declareLocals(body *hclsyntax.Body) {
	var found []*hclsyntax.Attribute
	for _, b := range body.Blocks {
		if b.Type != "locals" {
			continue
		}
		checkWords(f.report, b.Body, fileShape.block("locals"), "locals")
		for _, a := range inOrder(b.Body.Attributes) {
			if first, again := f.locals[a.Name]; again {
				f.report.errorf(a.NameRange, fmt.Sprintf("There is already a local %q", a.Name), "It stands on line %d.", first.attr.at.Start.Line)
				continue
			}
			f.locals[a.Name] = &local{attr: &attr{name: a.Name, expr: a.Expr, at: a.NameRange}, value: cty.DynamicVal}
			found = append(found, a)
		}
	}
	for _, a := range found { // all names are known now
		f.scan(a.Expr, allowed{where: "locals"}, &f.locals[a.Name].attr.refs)
	}
}

// valueLocals evaluates the locals in the order of what they mention.
func (f *File) valueLocals() {
	names := f.localNames()
	open := make(map[string]int, len(names))
	users := make(map[string][]string, len(names))
	var ready []string
	for _, name := range names {
		l := f.locals[name]
		open[name] = len(l.attr.refs.locals)
		for _, other := range l.attr.refs.locals {
			users[other] = append(users[other], name)
		}
		if open[name] == 0 {
			ready = append(ready, name)
		}
	}
	for len(ready) > 0 {
		name := ready[0]
		ready = ready[1:]
		delete(open, name)
		f.valueLocal(f.locals[name])
		for _, user := range users[name] {
			if open[user]--; open[user] == 0 {
				ready = append(ready, user)
			}
		}
	}
	f.localCycle(open)
}

func (f *File) valueLocal(l *local) {
	v, ok := f.value(f.report, l.attr, &scope{})
	if !ok {
		return
	}
	if why := tooBig(v, rota.MaxSourceBytes); why != "" {
		f.report.errorf(l.attr.expr.Range(), fmt.Sprintf("The local %q is too large", l.attr.name), "%s", why)
		return
	}
	l.value = v
}

// localCycle reports one circle among the locals that were never ready.
func (f *File) localCycle(open map[string]int) {
	if len(open) == 0 {
		return
	}
	at := sortedKeys(open)[0]
	var path []string
	for !slices.Contains(path, at) {
		path = append(path, at)
		for _, next := range f.locals[at].attr.refs.locals {
			if _, still := open[next]; still {
				at = next
				break
			}
		}
	}
	path = path[slices.Index(path, at):]
	words := ""
	for _, name := range path {
		words += fmt.Sprintf("local.%s (line %d) -> ", name, f.locals[name].attr.at.Start.Line)
	}
	f.report.errorf(f.locals[path[0]].attr.expr.Range(), "Locals form a cycle", "%slocal.%s. None of them can be worked out first.", words, path[0])
}

// tooBig says why a value is too large to work with; empty if it is not.
func tooBig(v cty.Value, limit int) string {
	left := limit
	switch measure(v, 0, &left) {
	case measuredDeep:
		return fmt.Sprintf("It is nested more than %d levels deep.", maxNesting)
	case measuredLong:
		return fmt.Sprintf("It has more than %d bytes.", limit)
	default:
		return ""
	}
}

type measured int

const (
	measuredFine measured = iota
	measuredLong
	measuredDeep
)

// measure takes the size of a value, in bytes as JSON would roughly have them,
// from what is left.
func measure(v cty.Value, depth int, left *int) measured {
	*left -= 2
	if depth > maxNesting {
		return measuredDeep
	}
	if v.IsNull() || !v.IsKnown() {
		return measuredFine
	}
	switch ty := v.Type(); {
	case ty == cty.String:
		*left -= len(v.AsString())
	case ty.IsObjectType(), ty.IsMapType(), ty.IsTupleType(), ty.IsListType(), ty.IsSetType():
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			if key.Type() == cty.String && !ty.IsSetType() {
				*left -= len(key.AsString()) + 3
			}
			if m := measure(element, depth+1, left); m != measuredFine {
				return m
			}
			if *left < 0 {
				return measuredLong
			}
		}
	default:
		*left -= 3
	}
	if *left < 0 {
		return measuredLong
	}
	return measuredFine
}
