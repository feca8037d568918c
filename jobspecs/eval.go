package jobspecs

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// scope is what the expressions of one task's instance see beyond variables and
// locals. The zero scope sees nothing else.
type scope struct {
	each, matrix cty.Value // NilVal: none
	run          cty.Value // NilVal: not known yet
	// task gives the value of task.LABEL for the given mentions of it.
	task func(label string, mentions []taskRef) cty.Value
	// about is added to what goes wrong, to say which instance it was.
	about string
}

// value evaluates an attribute. ok is false if that failed, which is reported.
func (f *File) value(r *report, a *attr, sc *scope) (v cty.Value, ok bool) {
	if v, ok := literal(a.expr); ok {
		return v, true
	}
	if a.refs.broken {
		return cty.DynamicVal, false
	}
	if a.constant != cty.NilVal {
		return a.constant, true
	}
	v, ok = f.evaluate(r, a.expr, &a.refs, sc)
	if ok && !f.frozen && !a.refs.late() && !a.refs.perInstance() {
		a.constant = v
	}
	if !ok {
		a.refs.markBroken(f.frozen, a.refs.perInstance())
	}
	return v, ok
}

// markBroken keeps a failed constant expression from being tried again for every
// instance; a file that is in use is not written to.
func (r *refs) markBroken(frozen, perInstance bool) {
	if !frozen && !perInstance {
		r.broken = true
	}
}

// evaluate works out an expression in a context that holds only what it mentions:
// one big context makes 2,000 tasks eight times as slow. (Source: JOBSPEC.md,
// section 5.)
func (f *File) evaluate(r *report, e hclsyntax.Expression, refs *refs, sc *scope) (v cty.Value, ok bool) {
	ctx := f.context(refs, sc)
	if refs.heavy {
		if why := tooMuchWork(e, ctx); why != "" {
			r.error(e.Range(), "This expression takes too long", sentences(why, inParentheses(sc.about)))
			return cty.DynamicVal, false
		}
	}
	v, diags := safely(e, ctx)
	if diags.HasErrors() {
		for _, d := range diags {
			if d.Severity == hcl.DiagError {
				if refs.event && f.event.IsNull() && strings.Contains(d.Summary, "null value") {
					d.Summary, d.Detail = "The run was started without data", noEventDetail
				}
				explain(r, e, d, sc)
			}
		}
		return cty.DynamicVal, false
	}
	return v, true
}

// safely turns a panic of the expression library into a diagnostic: a job file
// must never end the process that reads it.
func safely(e hclsyntax.Expression, ctx *hcl.EvalContext) (v cty.Value, diags hcl.Diagnostics) {
	defer func() {
		if p := recover(); p != nil {
			at := e.Range()
			v, diags = cty.DynamicVal, hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "This expression cannot be evaluated", Subject: &at,
				Detail: fmt.Sprintf("The expression library gave up: %v. Write it in another way.", p),
			}}
		}
	}()
	return e.Value(ctx)
}

func (f *File) context(refs *refs, sc *scope) *hcl.EvalContext {
	ctx := &hcl.EvalContext{Variables: make(map[string]cty.Value, 4)}
	if refs.calls {
		ctx.Functions = f.functions
	}
	if len(refs.vars) > 0 {
		m := make(map[string]cty.Value, len(refs.vars))
		for _, name := range refs.vars {
			m[name] = f.variables[name].value
		}
		ctx.Variables["var"] = cty.ObjectVal(m)
	}
	if len(refs.locals) > 0 {
		m := make(map[string]cty.Value, len(refs.locals))
		for _, name := range refs.locals {
			m[name] = f.locals[name].value
		}
		ctx.Variables["local"] = cty.ObjectVal(m)
	}
	if refs.event {
		ctx.Variables["event"] = f.event
	}
	if refs.each {
		ctx.Variables["each"] = orUnknown(sc.each)
	}
	if refs.matrix {
		ctx.Variables["matrix"] = orUnknown(sc.matrix)
	}
	if refs.run {
		id := sc.run
		if id == cty.NilVal {
			id = cty.UnknownVal(cty.String).RefineNotNull()
		}
		ctx.Variables["run"] = cty.ObjectVal(map[string]cty.Value{"id": id})
	}
	if len(refs.tasks) > 0 {
		ctx.Variables["task"] = taskObject(refs.tasks, sc)
	}
	return ctx
}

func orUnknown(v cty.Value) cty.Value {
	if v == cty.NilVal {
		return cty.DynamicVal
	}
	return v
}

// taskObject is the value of "task" with the tasks that are mentioned.
func taskObject(mentions []taskRef, sc *scope) cty.Value {
	m := make(map[string]cty.Value, len(mentions))
	for i, ref := range mentions {
		if _, done := m[ref.label]; done {
			continue
		}
		var same []taskRef
		for _, other := range mentions[i:] {
			if other.label == ref.label {
				same = append(same, other)
			}
		}
		m[ref.label] = sc.task(ref.label, same)
	}
	return cty.ObjectVal(m)
}

// explain reports an error of the expression library in this language's words.
func explain(r *report, e hclsyntax.Expression, d *hcl.Diagnostic, sc *scope) {
	at := e.Range()
	if d.Subject != nil && d.Subject.End.Byte > 0 {
		at = *d.Subject
	}
	summary, detail := d.Summary, positions.ReplaceAllString(d.Detail, "line $1")
	switch {
	case strings.Contains(detail, "The expression result is null"):
		summary = "A null value in a text"
		detail = "The value inserted here is null, and null is no text. Give it a default with coalesce(VALUE, \"...\"), or choose with CONDITION ? A : B."
	case summary == "Unsupported attribute" && strings.Contains(detail, `named "artifact"`):
		notBuilt(r, at, `"artifact"`)
		return
	case summary == "Unsupported attribute" && strings.Contains(detail, `named "output"`):
		detail += " A task has an output only if it declares one: add output {} to it."
	}
	r.error(at, summary, sentences(detail, inParentheses(sc.about)))
}

func inParentheses(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}
