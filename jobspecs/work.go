package jobspecs

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxWork bounds what one expression may cost, in bytes looked at and perIteration
// for each step of a loop: a second or two. Nothing can stop an evaluation that has
// begun, and three loops within each other over a thousand elements take minutes,
// on the leading node if other tasks' outputs are what they loop over.
const (
	maxWork      = 200_000_000
	perIteration = 100
	manyNodes    = 64
)

// estimate is an upper bound, roughly, for one expression: the work to evaluate
// it, and the elements and bytes of its value.
type estimate struct{ work, elements, bytes float64 }

func (e estimate) plus(o estimate) estimate {
	return estimate{work: e.work + o.work, elements: e.elements + o.elements, bytes: e.bytes + o.bytes}
}

// each is what one element of the value is on average.
func (e estimate) each() estimate {
	n := max(1, e.elements)
	return estimate{work: 1, elements: max(1, e.bytes/n/2), bytes: e.bytes / n}
}

// tooMuchWork says why an expression is not worth beginning; empty if it is.
func tooMuchWork(e hclsyntax.Expression, ctx *hcl.EvalContext) string {
	w := &worker{ctx: ctx}
	if w.expr(e).work > maxWork || w.over {
		return fmt.Sprintf("Its loops, or the values it mentions, are too large: about %d steps is the limit. Let a task do the work.", maxWork/perIteration)
	}
	return ""
}

// worker estimates without evaluating.
type worker struct {
	ctx   *hcl.EvalContext
	bound []map[string]estimate // variables of for expressions, innermost last
	items []estimate            // what a splat goes over, innermost last
	known map[string]estimate   // of values that were measured, by how they are written
	spent float64
	over  bool
}

func (w *worker) expr(e hclsyntax.Expression) estimate {
	if w.over {
		return estimate{work: 1, elements: 1, bytes: 1}
	}
	switch e := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return w.traversal(e)
	case *hclsyntax.IndexExpr:
		collection := w.expr(e.Collection)
		one := collection.each() // an index does not look at the others
		one.work += w.expr(e.Key).work
		return one
	case *hclsyntax.ForExpr:
		return w.loop(e)
	case *hclsyntax.SplatExpr:
		source := w.expr(e.Source)
		w.items = append(w.items, source.each())
		item := w.expr(e.Each)
		w.items = w.items[:len(w.items)-1]
		return repeat(source, item)
	case *hclsyntax.AnonSymbolExpr:
		if len(w.items) > 0 {
			return w.items[len(w.items)-1]
		}
	case *hclsyntax.FunctionCallExpr:
		return w.call(e)
	case *hclsyntax.ConditionalExpr:
		return w.sum(e.Condition, e.TrueResult, e.FalseResult)
	case *hclsyntax.TemplateExpr:
		return w.sum(e.Parts...)
	case *hclsyntax.TupleConsExpr:
		out := w.sum(e.Exprs...)
		out.elements = float64(len(e.Exprs))
		return out
	case *hclsyntax.ObjectConsExpr:
		out := estimate{work: 1}
		for _, item := range e.Items {
			out = out.plus(w.expr(item.KeyExpr)).plus(w.expr(item.ValueExpr))
		}
		out.elements = float64(len(e.Items))
		return out
	}
	return w.other(e)
}

func (w *worker) other(e hclsyntax.Expression) estimate {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return estimate{work: 1, elements: 1, bytes: float64(textSize(e.Val))}
	case *hclsyntax.BinaryOpExpr:
		return estimate{work: w.sum(e.LHS, e.RHS).work, elements: 1, bytes: 8}
	case *hclsyntax.UnaryOpExpr:
		return estimate{work: w.expr(e.Val).work, elements: 1, bytes: 8}
	case *hclsyntax.ParenthesesExpr:
		return w.expr(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return w.expr(e.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		return w.expr(e.Tuple)
	case *hclsyntax.RelativeTraversalExpr:
		return w.expr(e.Source)
	case *hclsyntax.ObjectConsKeyExpr:
		return estimate{work: 1, elements: 1, bytes: 8}
	}
	return estimate{work: 1, elements: 1, bytes: 1}
}

func (w *worker) sum(list ...hclsyntax.Expression) estimate {
	out := estimate{work: 1}
	for _, e := range list {
		out = out.plus(w.expr(e))
	}
	return out
}

func repeat(over, item estimate) estimate {
	n := max(1, over.elements)
	return estimate{work: over.work + n*(perIteration+item.work), elements: n, bytes: n * (2 + item.bytes)}
}

func (w *worker) loop(e *hclsyntax.ForExpr) estimate {
	over := w.expr(e.CollExpr)
	w.bound = append(w.bound, map[string]estimate{e.ValVar: over.each(), e.KeyVar: {work: 1, elements: 1, bytes: 16}})
	item := w.expr(e.ValExpr)
	if e.KeyExpr != nil {
		item = item.plus(w.expr(e.KeyExpr))
	}
	if e.CondExpr != nil {
		item.work += w.expr(e.CondExpr).work
	}
	w.bound = w.bound[:len(w.bound)-1]
	return repeat(over, item)
}

func (w *worker) call(e *hclsyntax.FunctionCallExpr) estimate {
	out := w.sum(e.Args...)
	out.work += out.bytes
	switch e.Name {
	case "range":
		out.elements, out.bytes = 1024, 8*1024
	case "split", "flatten", "regexall", "jsondecode":
		out.elements = max(1, out.bytes)
	}
	return out
}

func (w *worker) traversal(e *hclsyntax.ScopeTraversalExpr) estimate {
	root := e.Traversal.RootName()
	for i := len(w.bound) - 1; i >= 0; i-- {
		if bound, ok := w.bound[i][root]; ok {
			return bound
		}
	}
	out, again := w.known[pathOf(e.Traversal)]
	if !again {
		out = w.measure(e.Traversal)
	}
	w.spent += out.work
	w.over = w.over || w.spent > maxWork
	return out
}

func (w *worker) measure(t hcl.Traversal) estimate {
	out := estimate{work: 1, elements: 1, bytes: 1}
	if v, diags := t.TraverseAbs(w.ctx); !diags.HasErrors() {
		out.bytes = float64(textSize(v))
		out.work += out.bytes
		if v.IsKnown() && !v.IsNull() && v.CanIterateElements() {
			out.elements = float64(v.LengthInt())
		}
	}
	if path := pathOf(t); path != "" {
		if w.known == nil {
			w.known = make(map[string]estimate)
		}
		w.known[path] = out
	}
	return out
}

// pathOf writes a traversal of names; empty if it holds anything else.
func pathOf(t hcl.Traversal) string {
	path := t.RootName()
	for _, step := range t[1:] {
		name, ok := step.(hcl.TraverseAttr)
		if !ok {
			return ""
		}
		path += "." + name.Name
	}
	return path
}

// loops reports whether an expression may cost more than its own length.
func loops(n hclsyntax.Node) bool {
	switch n.(type) {
	case *hclsyntax.ForExpr, *hclsyntax.SplatExpr:
		return true
	}
	return false
}
