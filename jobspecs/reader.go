package jobspecs

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/rota-sched/rota"
)

// reader evaluates the attributes of one instance of a task. What is null counts
// as not written; what is unknown because other tasks have not run is noted as
// late; what is wrong is reported.
type reader struct {
	file   *File
	report *report
	scope  *scope
	late   []string
	final  bool // every value must be known now
	failed bool
}

// got says what became of an attribute.
type got int

const (
	gotNothing got = iota // not written, or null
	gotValue
	gotUnknown // late, or it depends on a variable without a value
	gotError   // reported
)

// read evaluates an attribute as a value of the wanted type.
func (r *reader) read(a *attr, want cty.Type) (cty.Value, got) {
	if a == nil {
		return cty.NilVal, gotNothing
	}
	v, ok := r.file.value(r.report, a, r.scope)
	if !ok {
		r.failed = true
		return cty.NilVal, gotError
	}
	if want != cty.DynamicPseudoType && !v.Type().Equals(want) {
		converted, err := convert.Convert(v, want)
		if err != nil {
			r.bad(a.expr.Range(), fmt.Sprintf("%q has the wrong type", a.name), typeWords(err, want))
			return cty.NilVal, gotError
		}
		v = converted
	}
	if v.IsNull() {
		return cty.NilVal, gotNothing
	}
	if !v.IsWhollyKnown() {
		return cty.NilVal, r.unknown(a)
	}
	return v, gotValue
}

func (r *reader) unknown(a *attr) got {
	if r.final {
		r.bad(a.expr.Range(), fmt.Sprintf("%q is not known", a.name), "A value it needs does not exist.")
		return gotError
	}
	if a.refs.late() && !slices.Contains(r.late, a.name) {
		r.late = append(r.late, a.name)
	}
	return gotUnknown
}

// typeWords says which type was wanted, and how to write it where people slip.
func typeWords(err error, want cty.Type) string {
	words := capital(err.Error()) + "."
	switch {
	case want.IsListType():
		return words + ` Write a list: ["...", "..."].`
	case want.IsMapType():
		return words + ` Write a map: { NAME = "..." }.`
	}
	return words
}

func (r *reader) bad(at hcl.Range, summary, detail string) {
	r.failed = true
	r.report.error(at, summary, sentences(detail, inParentheses(r.scope.about)))
}

func (r *reader) text(a *attr) (string, got) {
	v, g := r.read(a, cty.String)
	if g != gotValue {
		return "", g
	}
	return v.AsString(), g
}

func (r *reader) bool(a *attr) (bool, got) {
	v, g := r.read(a, cty.Bool)
	return g == gotValue && v.True(), g
}

// integer reads a whole number from low to high.
func (r *reader) integer(a *attr, low, high int64) (int64, got) {
	v, g := r.read(a, cty.Number)
	if g != gotValue {
		return 0, g
	}
	f := v.AsBigFloat()
	n, accuracy := f.Int64()
	if !f.IsInt() || accuracy != 0 || n < low || n > high {
		r.bad(a.expr.Range(), fmt.Sprintf("%q is out of range", a.name), fmt.Sprintf("It is %s; want a whole number from %d to %d.", shorten(numberText(v)), low, high))
		return 0, gotError
	}
	return n, g
}

// milli reads a number as thousandths, cutting off what is below.
func (r *reader) milli(a *attr) (int64, got) {
	v, g := r.read(a, cty.Number)
	if g != gotValue {
		return 0, g
	}
	n, err := rota.ScaleDecimal(numberText(v), 1000)
	if err != nil {
		r.bad(a.expr.Range(), fmt.Sprintf("%q is out of range", a.name), fmt.Sprintf("It is %s: %v.", shorten(numberText(v)), err))
		return 0, gotError
	}
	return n, g
}

// parsed reads a text, or a number, and lets parse make a value of it.
func parsed[T any](r *reader, a *attr, parse func(string) (T, error)) (T, got) {
	var none T
	v, g := r.read(a, cty.DynamicPseudoType)
	if g != gotValue {
		return none, g
	}
	var text string
	switch v.Type() {
	case cty.String:
		text = v.AsString()
	case cty.Number:
		text = numberText(v)
	default:
		r.bad(a.expr.Range(), fmt.Sprintf("%q has the wrong type", a.name), "A text or a number is required, not "+v.Type().FriendlyName()+".")
		return none, gotError
	}
	x, err := parse(text)
	if err != nil {
		r.bad(a.expr.Range(), fmt.Sprintf("%q cannot be read", a.name), capital(err.Error())+".")
		return none, gotError
	}
	return x, g
}

func (r *reader) duration(a *attr) (time.Duration, got) {
	return parsed(r, a, parseDuration)
}

func (r *reader) size(a *attr) (int64, got) {
	return parsed(r, a, rota.ParseSize)
}

// word reads one of several words; some belong to the language but come later.
func (r *reader) word(a *attr, words, later []string) (string, got) {
	text, g := r.text(a)
	if g != gotValue || slices.Contains(words, text) {
		return text, g
	}
	r.failed = true
	if slices.Contains(later, text) {
		notBuilt(r.report, a.expr.Range(), fmt.Sprintf("%s = %q", a.name, text))
		return "", gotError
	}
	r.bad(a.expr.Range(), fmt.Sprintf("%q is no %s", text, a.name), sentences(didYouMean(text, append(slices.Clone(words), later...)), "Choose "+oneOf(words)+"."))
	return "", gotError
}

// texts reads a list of texts. Elements that are numbers or bools are written out.
func (r *reader) texts(a *attr) ([]string, got) {
	if a == nil {
		return nil, gotNothing
	}
	if words, ok := literalTexts(a.expr); ok {
		return words, gotValue
	}
	v, g := r.read(a, cty.DynamicPseudoType)
	if g != gotValue {
		return nil, g
	}
	ty := v.Type()
	if !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType() {
		r.bad(a.expr.Range(), fmt.Sprintf("%q must be a list", a.name), "It is "+article(ty)+`. Write a list of texts: ["...", "..."].`+shellHint(a, v))
		return nil, gotError
	}
	out := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, element := it.Element()
		text, err := convert.Convert(element, cty.String)
		switch {
		case err != nil:
			r.bad(elementRange(a.expr, len(out)), fmt.Sprintf("Element %d of %q is no text", len(out)+1, a.name), "It is "+article(element.Type())+". Write a text, a number or a bool; jsonencode(VALUE) makes a text of anything.")
			return nil, gotError
		case text.IsNull():
			r.bad(elementRange(a.expr, len(out)), fmt.Sprintf("Element %d of %q is null", len(out)+1, a.name), "Leave it out, or give it a default with coalesce(VALUE, \"...\").")
			return nil, gotError
		}
		out = append(out, text.AsString())
	}
	return out, gotValue
}

// literalTexts reads a list of quoted texts without evaluating it.
func literalTexts(e hclsyntax.Expression) ([]string, bool) {
	tuple, ok := e.(*hclsyntax.TupleConsExpr)
	if !ok {
		return nil, false
	}
	words := make([]string, len(tuple.Exprs))
	for i, part := range tuple.Exprs {
		v, ok := literal(part)
		if !ok || v.Type() != cty.String || v.IsNull() {
			return nil, false
		}
		words[i] = v.AsString()
	}
	return words, true
}

func shellHint(a *attr, v cty.Value) string {
	if a.name == "command" && v.Type() == cty.String {
		return ` A command is run without a shell: write each word by itself, or ask for a shell with ["sh", "-c", "..."].`
	}
	return ""
}

func article(ty cty.Type) string {
	name := ty.FriendlyName()
	switch name[0] {
	case 'a', 'e', 'i', 'o', 'u':
		return "an " + name
	}
	return "a " + name
}

func elementRange(e hclsyntax.Expression, i int) hcl.Range {
	if tuple, ok := e.(*hclsyntax.TupleConsExpr); ok && i < len(tuple.Exprs) {
		return tuple.Exprs[i].Range()
	}
	return e.Range()
}

// pick is the first attribute that is written and not null.
func (r *reader) pick(a, otherwise *attr) *attr {
	if a == nil {
		return otherwise
	}
	if otherwise == nil {
		return a
	}
	if v, ok := r.file.value(r.report, a, r.scope); ok && v.IsNull() {
		return otherwise
	}
	return a
}
