package jobspecs

import (
	"cmp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// jsonTree turns a file in HCL's JSON syntax into the tree of the native syntax,
// so that everything after it knows one language only. JSON cannot tell blocks
// from attributes, so the shapes say which is which.
type jsonTree struct {
	report   *report
	filename string
}

func (t *jsonTree) body(b hcl.Body, sh *shape) *hclsyntax.Body {
	schema := &hcl.BodySchema{}
	for _, inner := range sh.blocks {
		header := hcl.BlockHeaderSchema{Type: inner.name}
		for range inner.labels {
			header.LabelNames = append(header.LabelNames, "name")
		}
		schema.Blocks = append(schema.Blocks, header)
	}
	content, rest, diags := b.PartialContent(schema)
	attrs, more := rest.JustAttributes()
	t.note(append(diags, more...))
	out := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: content.MissingItemRange, EndRange: content.MissingItemRange}
	list := make([]*hcl.Attribute, 0, len(attrs))
	for _, a := range attrs { // order: sorted below
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hcl.Attribute) int { return cmp.Compare(a.NameRange.Start.Byte, b.NameRange.Start.Byte) })
	for _, a := range list {
		out.Attributes[a.Name] = &hclsyntax.Attribute{
			Name: a.Name, Expr: t.expr(a.Expr, literalInJSON(sh, a.Name)),
			SrcRange: a.Range, NameRange: a.NameRange, EqualsRange: a.NameRange,
		}
	}
	for _, b := range content.Blocks {
		out.Blocks = append(out.Blocks, &hclsyntax.Block{
			Type: b.Type, Labels: b.Labels, Body: t.body(b.Body, sh.block(b.Type)),
			TypeRange: b.TypeRange, LabelRanges: b.LabelRanges, OpenBraceRange: b.DefRange, CloseBraceRange: b.DefRange,
		})
	}
	return out
}

// literalInJSON reports whether an attribute's strings are not templates but
// references and types, written as strings because JSON has nothing else.
func literalInJSON(sh *shape, name string) bool {
	switch name {
	case "depends_on", "after_any", "after_failure":
		return sh.name == "task"
	case "type":
		return sh.name == "variable"
	}
	return false
}

func (t *jsonTree) note(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity == hcl.DiagError && d.Subject != nil {
			t.report.error(*d.Subject, d.Summary, positions.ReplaceAllString(d.Detail, "line $1"))
		}
	}
}

// expr converts an expression: objects and lists by their parts, strings as the
// templates they are in this syntax.
func (t *jsonTree) expr(e hcl.Expression, literal bool) hclsyntax.Expression {
	at := e.Range()
	if pairs, diags := hcl.ExprMap(e); !diags.HasErrors() {
		object := &hclsyntax.ObjectConsExpr{SrcRange: at, OpenRange: e.StartRange()}
		for _, p := range pairs {
			object.Items = append(object.Items, hclsyntax.ObjectConsItem{KeyExpr: t.expr(p.Key, literal), ValueExpr: t.expr(p.Value, literal)})
		}
		return object
	}
	if list, diags := hcl.ExprList(e); !diags.HasErrors() {
		tuple := &hclsyntax.TupleConsExpr{SrcRange: at, OpenRange: e.StartRange()}
		for _, item := range list {
			tuple.Exprs = append(tuple.Exprs, t.expr(item, literal))
		}
		return tuple
	}
	v, diags := e.Value(nil) // without a context a string stays as it is
	t.note(diags)
	if literal || v.IsNull() || v.Type() != cty.String {
		return &hclsyntax.LiteralValueExpr{Val: v, SrcRange: at}
	}
	return t.template(v.AsString(), at)
}

func (t *jsonTree) template(text string, at hcl.Range) hclsyntax.Expression {
	fallback := &hclsyntax.LiteralValueExpr{Val: cty.StringVal(text), SrcRange: at}
	start := hcl.Pos{Line: at.Start.Line, Column: at.Start.Column + 1, Byte: at.Start.Byte + 1}
	if where, summary, detail := tooMuch([]byte(text), hclsyntax.LexTemplate); where >= 0 {
		t.report.error(at, summary, detail)
		return fallback
	}
	e, diags := hclsyntax.ParseTemplate([]byte(text), t.filename, start)
	if diags.HasErrors() {
		d := diags[0]
		summary, detail := syntaxWords([]byte(text), d, rangeAt(0, 0))
		if d.Subject == nil {
			d.Subject = &at
		}
		t.report.error(*d.Subject, summary, detail)
		return fallback
	}
	return e
}
