package jobspecs

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/rota-sched/rota"
)

// variable is a variable block and the value it has in this run.
type variable struct {
	name     string
	block    *hclsyntax.Block
	ty       cty.Type
	defaults *typeexpr.Defaults
	value    cty.Value // unknown while there is none
	given    bool
}

func (f *File) variableNames() []string { return sortedKeys(f.variables) }

func (f *File) declareVariables(body *hclsyntax.Body) {
	sh := fileShape.block("variable")
	for _, b := range body.Blocks {
		if b.Type != "variable" || len(b.Labels) != 1 {
			continue
		}
		name := b.Labels[0]
		checkWords(f.report, b.Body, sh, fmt.Sprintf("variable %q", name))
		if !rota.IsIdentifier(name) {
			continue
		}
		if first, again := f.variables[name]; again {
			f.report.errorf(b.LabelRanges[0], fmt.Sprintf("There is already a variable %q", name),
				"It stands on line %d. Give one of them another name.", first.block.TypeRange.Start.Line)
			continue
		}
		v := &variable{name: name, block: b, ty: cty.DynamicPseudoType}
		if a, ok := b.Body.Attributes["type"]; ok {
			f.variableType(v, a)
		}
		v.value = cty.UnknownVal(v.ty)
		f.variables[name] = v
		if a, ok := b.Body.Attributes["description"]; ok {
			f.staticText(f.newAttr("description", a, allowed{where: "a description"}))
		}
	}
}

func (f *File) variableType(v *variable, a *hclsyntax.Attribute) {
	e := a.Expr
	if text, ok := literal(e); ok && text.Type() == cty.String && !text.IsNull() && isJSON(f.report.file) {
		e = parseTypeText(text.AsString(), e)
	}
	ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(e)
	if diags.HasErrors() {
		f.report.error(a.Expr.Range(), "This is not a type",
			"Types are string, number, bool, any, list(TYPE), set(TYPE), map(TYPE), tuple([TYPE, ...]) and object({NAME = TYPE, ...}), without quotes. "+diags[0].Detail)
		return
	}
	v.ty, v.defaults = ty, defaults
}

func parseTypeText(text string, otherwise hclsyntax.Expression) hclsyntax.Expression {
	if nestsTooDeep([]byte(text), hclsyntax.LexExpression) {
		return otherwise
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), "", hcl.InitialPos)
	if diags.HasErrors() {
		return otherwise
	}
	return e
}

// valueVariables gives every variable its value: the one handed in, else its
// default.
func (f *File) valueVariables() {
	for _, name := range sortedKeys(f.inputs.Variables) {
		if f.variables[name] == nil && name != rota.EventVariable {
			f.report.errorf(rangeAt(0, 0), fmt.Sprintf("There is no variable %q", name), "A value was given for it. %s",
				sentences(didYouMean(name, f.variableNames()), "The file declares: "+orNone(few(f.variableNames()))+"."))
		}
	}
	for _, name := range f.variableNames() {
		v := f.variables[name]
		if raw, ok := f.inputs.Variables[name]; ok {
			f.givenValue(v, raw)
			f.checkDefault(v)
			continue
		}
		if f.checkDefault(v) {
			continue
		}
		severity := rota.SeverityError
		if f.inputs.AllowMissing {
			severity = rota.SeverityWarning
		}
		f.report.add(severity, v.block.DefRange(), fmt.Sprintf("The variable %q has no value", name),
			fmt.Sprintf("It has no default: give one with --var %s=VALUE when the job is run.", name))
	}
}

// checkDefault evaluates a variable's default, and takes it as the value if none
// was given. It reports whether there is a default.
func (f *File) checkDefault(v *variable) bool {
	a, ok := v.block.Body.Attributes["default"]
	if !ok {
		return false
	}
	d := f.newAttr("default", a, allowed{where: "a default"})
	if len(d.refs.vars)+len(d.refs.locals) > 0 || d.refs.event {
		f.report.error(a.Expr.Range(), "A default cannot mention variables, locals or the event", "It must stand for itself. Use locals for values made of others.")
		return true
	}
	value, ok := f.value(f.report, d, &scope{})
	if !ok {
		return true
	}
	value, err := v.convert(value)
	if err != nil {
		f.report.errorf(a.Expr.Range(), fmt.Sprintf("The default of variable %q has the wrong type", v.name), "%s.", capital(err.Error()))
		return true
	}
	if !v.given {
		v.value, v.given = value, true
	}
	return true
}

func (v *variable) convert(value cty.Value) (cty.Value, error) {
	if v.defaults != nil && !value.IsNull() {
		value = v.defaults.Apply(value)
	}
	converted, err := convert.Convert(value, v.ty)
	if err != nil || v.ty.HasDynamicTypes() && !converted.IsWhollyKnown() {
		return converted, err
	}
	if v.ty.HasDynamicTypes() {
		return throughJSON(converted)
	}
	return converted, nil
}

// throughJSON makes a value what it becomes when it is stored with the run and
// read again, so that the second reading means the same as the first.
func throughJSON(v cty.Value) (cty.Value, error) {
	raw, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return v, err
	}
	return fromJSON(raw)
}

// fromJSON reads any JSON text into the value it looks like.
func fromJSON(raw []byte) (cty.Value, error) {
	if _, deep := jsonNestsTooDeep(raw); deep {
		return cty.NilVal, fmt.Errorf("it is nested more than %d levels deep", maxNesting)
	}
	if !json.Valid(raw) {
		return cty.NilVal, fmt.Errorf("it is not JSON")
	}
	ty, err := ctyjson.ImpliedType(raw)
	if err != nil {
		return cty.NilVal, err
	}
	return ctyjson.Unmarshal(raw, ty)
}

// givenValue takes a value from outside. Where it is wrong the variable's own line
// is the place to look at.
func (f *File) givenValue(v *variable, raw json.RawMessage) {
	v.given = true
	at, summary := v.block.DefRange(), fmt.Sprintf("The value given for variable %q is wrong", v.name)
	if len(raw) > rota.MaxSpecValues {
		f.report.errorf(at, summary, "It has %d bytes, the limit is %d.", len(raw), rota.MaxSpecValues)
		return
	}
	value, err := fromJSON(raw)
	if err != nil {
		f.report.errorf(at, summary, "%s.", capital(err.Error()))
		return
	}
	isText := !value.IsNull() && value.Type() == cty.String
	if isText && v.ty != cty.String && v.ty != cty.DynamicPseudoType {
		if value, err = literalText(value.AsString()); err != nil {
			f.report.errorf(at, summary, "It is no %s: %v.", v.ty.FriendlyNameForConstraint(), err)
			return
		}
	}
	value, err = v.convert(value)
	if err != nil {
		f.report.errorf(at, summary, "%s.", capital(err.Error()))
		return
	}
	v.value = value
}

// literalText reads a text such as 5, true or ["a", "b"] as a value.
func literalText(text string) (cty.Value, error) {
	if nestsTooDeep([]byte(text), hclsyntax.LexExpression) {
		return cty.NilVal, fmt.Errorf("it is too deeply nested")
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), "", hcl.InitialPos)
	if diags.HasErrors() || len(e.Variables()) > 0 {
		return cty.NilVal, fmt.Errorf("%q is no literal of the language, such as 5, true or [\"a\", \"b\"]", shorten(text))
	}
	v, diags := safely(e, &hcl.EvalContext{})
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf("%s", diags[0].Detail)
	}
	return v, nil
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}

// checkVariables tests the validation blocks.
func (f *File) checkVariables() {
	sh := fileShape.block("variable").block("validation")
	for _, name := range f.variableNames() {
		v := f.variables[name]
		for _, b := range v.block.Body.Blocks {
			if b.Type == "validation" {
				checkWords(f.report, b.Body, sh, "a validation")
				f.validate(v, b)
			}
		}
	}
}

func (f *File) validate(v *variable, b *hclsyntax.Block) {
	ca, ok := b.Body.Attributes["condition"]
	ma, ok2 := b.Body.Attributes["error_message"]
	if !ok || !ok2 {
		f.report.errorf(b.TypeRange, "A validation needs a condition and an error_message", "Write: condition = var.%s ..., error_message = \"...\"", v.name)
		return
	}
	condition := f.newAttr("condition", ca, allowed{where: "a validation"})
	message := f.newAttr("error_message", ma, allowed{where: "a validation"})
	if !slices.Contains(condition.refs.vars, v.name) && !condition.refs.broken {
		f.report.errorf(ca.Expr.Range(), "The condition does not look at the variable", "It must mention var.%s.", v.name)
		return
	}
	words, ok := f.staticText(message)
	value, ok2 := f.value(f.report, condition, &scope{})
	if !ok || !ok2 || !value.IsKnown() {
		return
	}
	result, err := convert.Convert(value, cty.Bool)
	if err != nil || result.IsNull() {
		f.report.error(ca.Expr.Range(), "The condition is no bool", "A condition is true or false.")
		return
	}
	if result.IsKnown() && result.False() {
		f.report.errorf(ca.Expr.Range(), fmt.Sprintf("The variable %q is not valid", v.name), "%s", words)
	}
}

// staticText evaluates an attribute that is a text known from the start.
func (f *File) staticText(a *attr) (string, bool) {
	v, ok := f.value(f.report, a, &scope{})
	if !ok || !v.IsKnown() {
		return "", ok
	}
	text, err := convert.Convert(v, cty.String)
	if err != nil || text.IsNull() {
		f.report.errorf(a.expr.Range(), fmt.Sprintf("%q must be a text", a.name), "Write it in quotes.")
		return "", false
	}
	return text.AsString(), true
}

// Variables gives the values that were used, as JSON and sorted by name: parsing
// the same source again with them gives the same jobs. The data that the run was
// started with is the first of them, under rota.EventVariable.
func (f *File) Variables(string) []rota.Variable {
	out := make([]rota.Variable, 0, len(f.variables)+1)
	if raw, ok := f.inputs.Variables[rota.EventVariable]; ok {
		out = append(out, rota.Variable{Name: rota.EventVariable, Value: raw})
	}
	for _, name := range f.variableNames() {
		v := f.variables[name]
		if !v.given || !v.value.IsWhollyKnown() {
			continue
		}
		raw, err := ctyjson.Marshal(v.value, v.value.Type())
		if err != nil {
			continue // a value that came from JSON or a literal can always be written
		}
		out = append(out, rota.Variable{Name: name, Value: raw})
	}
	return out
}
