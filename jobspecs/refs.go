package jobspecs

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// attr is one attribute of a job file with what its expression mentions.
type attr struct {
	name string // as Late calls it: command, retry.max_attempts, input.x
	expr hclsyntax.Expression
	at   hcl.Range // of the name
	refs refs

	// constant is the value of an expression that is the same for every instance;
	// NilVal until it was evaluated. Only written while the file is parsed.
	constant cty.Value
}

// refs is what an expression mentions.
type refs struct {
	vars, locals      []string
	tasks             []taskRef
	each, matrix, run bool
	event             bool
	calls             bool // it calls functions
	heavy             bool // it has loops or very many parts: its cost is estimated first
	broken            bool // it was refused already; there is no use in evaluating it
}

// late reports whether the expression can have a value only while the run goes.
func (r *refs) late() bool { return len(r.tasks) > 0 || r.run }

// perInstance reports whether the value may differ between instances of a task.
func (r *refs) perInstance() bool { return r.each || r.matrix }

// taskRef is one mention of another task.
type taskRef struct {
	label string
	steps hcl.Traversal        // what follows task.LABEL in the expression
	key   hclsyntax.Expression // an index that only needs each, matrix and constants; nil: none
	loose bool                 // an index that needs more: it may be any instance
	at    hcl.Range
}

// allowed says which names an expression may mention besides var and local.
type allowed struct {
	tasks, each, matrix bool
	axes                []string // of the matrix
	where               string   // what the expression belongs to, for messages
}

// newAttr notes an attribute and looks through its expression.
func (f *File) newAttr(name string, a *hclsyntax.Attribute, may allowed) *attr {
	out := &attr{name: name, expr: a.Expr, at: a.NameRange}
	f.scan(a.Expr, may, &out.refs)
	return out
}

// scan finds what an expression mentions and reports what it may not.
func (f *File) scan(e hclsyntax.Expression, may allowed, into *refs) {
	if _, ok := literal(e); ok {
		return
	}
	w := &refWalker{file: f, may: may, refs: into}
	if tuple, ok := e.(*hclsyntax.TupleConsExpr); ok { // a command: most of its words are literals
		for _, part := range tuple.Exprs {
			if _, ok := literal(part); !ok {
				hclsyntax.Walk(part, w) //nolint:errcheck // the walker returns none
			}
		}
		return
	}
	hclsyntax.Walk(e, w) //nolint:errcheck // the walker returns none
}

// literal gives the value of the commonest expressions without evaluating them.
func literal(e hclsyntax.Expression) (cty.Value, bool) {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return e.Val, true
	case *hclsyntax.TemplateExpr:
		if len(e.Parts) == 1 {
			if part, ok := e.Parts[0].(*hclsyntax.LiteralValueExpr); ok && part.Val.Type() == cty.String {
				return part.Val, true
			}
		}
		if len(e.Parts) == 0 {
			return cty.StringVal(""), true
		}
	}
	return cty.NilVal, false
}

// refWalker goes through an expression's tree.
type refWalker struct {
	file   *File
	may    allowed
	refs   *refs
	locals []map[string]struct{} // names bound by for expressions
	depth  int
	nodes  int
	// indexed are the traversals that were already noted together with their index.
	indexed map[*hclsyntax.ScopeTraversalExpr]bool
	// after is what follows an index: task.a[each.key].output.
	after map[*hclsyntax.IndexExpr]hcl.Traversal
}

func (w *refWalker) Enter(n hclsyntax.Node) hcl.Diagnostics {
	w.depth++
	w.nodes++
	w.refs.heavy = w.refs.heavy || w.nodes > manyNodes || loops(n)
	if w.depth > maxNesting && !w.refs.broken {
		w.bad(n.Range(), "Too deeply nested", "%s", tooDeepDetail)
	}
	switch n := n.(type) {
	case hclsyntax.ChildScope:
		w.locals = append(w.locals, n.LocalNames)
	case *hclsyntax.RelativeTraversalExpr:
		if index, ok := n.Source.(*hclsyntax.IndexExpr); ok {
			if w.after == nil {
				w.after = make(map[*hclsyntax.IndexExpr]hcl.Traversal, 1)
			}
			w.after[index] = n.Traversal
		}
	case *hclsyntax.IndexExpr:
		w.index(n)
	case *hclsyntax.ScopeTraversalExpr:
		if !w.indexed[n] {
			w.traversal(n)
		}
	case *hclsyntax.FunctionCallExpr:
		w.call(n)
	}
	return nil
}

func (w *refWalker) Exit(n hclsyntax.Node) hcl.Diagnostics {
	w.depth--
	if _, ok := n.(hclsyntax.ChildScope); ok {
		w.locals = w.locals[:len(w.locals)-1]
	}
	return nil
}

func (w *refWalker) bad(at hcl.Range, summary, detail string, args ...any) {
	w.refs.broken = true
	w.file.report.errorf(at, summary, detail, args...)
}

func (w *refWalker) bound(name string) bool {
	return slices.ContainsFunc(w.locals, func(names map[string]struct{}) bool {
		_, ok := names[name]
		return ok
	})
}

// index notes task.a[KEY] as one mention, if that is what it is.
func (w *refWalker) index(n *hclsyntax.IndexExpr) {
	source, ok := n.Collection.(*hclsyntax.ScopeTraversalExpr)
	if !ok || source.Traversal.RootName() != "task" || w.bound("task") || len(source.Traversal) != 2 {
		return
	}
	label, ok := stepName(source.Traversal[1])
	if !ok || !w.mayMention(source) {
		return
	}
	if w.indexed == nil {
		w.indexed = make(map[*hclsyntax.ScopeTraversalExpr]bool, 1)
	}
	w.indexed[source] = true
	ref := taskRef{label: label, steps: w.after[n], at: source.SrcRange}
	if w.fixedKey(n.Key) {
		ref.key = n.Key
	} else {
		ref.loose = true
	}
	w.refs.tasks = append(w.refs.tasks, ref)
}

// fixedKey reports whether an index is made only of each.key, matrix.* and
// constants. (Source: JOBSPEC.md, section 1.3.)
func (w *refWalker) fixedKey(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.ParenthesesExpr:
		return w.fixedKey(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return w.fixedKey(e.Wrapped)
	case *hclsyntax.TemplateExpr:
		for _, part := range e.Parts {
			if !w.fixedKey(part) {
				return false
			}
		}
		return true
	case *hclsyntax.ScopeTraversalExpr:
		t := e.Traversal
		if len(t) != 2 || w.bound(t.RootName()) {
			return false
		}
		name, _ := stepName(t[1])
		return t.RootName() == "matrix" || t.RootName() == "each" && name == "key"
	}
	return false
}

// traversal notes var.x, local.x, task.x and so on.
func (w *refWalker) traversal(e *hclsyntax.ScopeTraversalExpr) {
	t := e.Traversal
	root := t.RootName()
	if w.bound(root) || !w.mayMention(e) {
		return
	}
	if root == "event" { // any value: it may stand by itself
		w.refs.event = true
		return
	}
	name := ""
	if len(t) > 1 {
		name, _ = stepName(t[1])
	}
	if name == "" {
		w.bad(e.SrcRange, fmt.Sprintf("%q needs a name after it", root), "Write %s.NAME.", root)
		return
	}
	switch root {
	case "var":
		w.variable(e, name)
	case "local":
		w.local(e, name)
	case "task":
		w.refs.tasks = append(w.refs.tasks, taskRef{label: name, steps: t[2:], at: e.SrcRange})
	case "each":
		w.refs.each = true
		if name != "key" && name != "value" {
			w.bad(e.SrcRange, fmt.Sprintf("There is no each.%s", name), "%s", sentences(didYouMean(name, []string{"key", "value"}), "It has each.key and each.value."))
		}
	case "matrix":
		w.refs.matrix = true
		if axes := w.may.axes; !slices.Contains(axes, name) {
			w.bad(e.SrcRange, fmt.Sprintf("The matrix has no axis %q", name), "%s", sentences(didYouMean(name, axes), "It has: "+few(axes)+"."))
		}
	case "run":
		w.refs.run = true
		if name != "id" {
			w.bad(e.SrcRange, fmt.Sprintf("There is no run.%s", name), "It has run.id.")
		}
	}
}

func (w *refWalker) variable(e *hclsyntax.ScopeTraversalExpr, name string) {
	if _, ok := w.file.variables[name]; !ok {
		names := w.file.variableNames()
		hint := fmt.Sprintf(`Declare it: variable %q { type = string }.`, name)
		if best := didYouMean(name, names); best != "" {
			hint = best
		}
		w.bad(e.SrcRange, fmt.Sprintf("There is no variable %q", name), "%s", sentences(hint, "The file declares: "+orNone(few(names))+"."))
		return
	}
	if !slices.Contains(w.refs.vars, name) {
		w.refs.vars = append(w.refs.vars, name)
	}
}

func (w *refWalker) local(e *hclsyntax.ScopeTraversalExpr, name string) {
	if _, ok := w.file.locals[name]; !ok {
		names := w.file.localNames()
		w.bad(e.SrcRange, fmt.Sprintf("There is no local %q", name), "%s",
			sentences(didYouMean(name, names), "The locals blocks define: "+orNone(few(names))+"."))
		return
	}
	if !slices.Contains(w.refs.locals, name) {
		w.refs.locals = append(w.refs.locals, name)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// mayMention checks the root of a traversal against what is known here.
func (w *refWalker) mayMention(e *hclsyntax.ScopeTraversalExpr) bool {
	root, at := e.Traversal.RootName(), e.SrcRange
	switch root {
	case "var", "local", "event":
		return true
	case "wait":
		w.refs.broken = true
		notBuilt(w.file.report, at, fmt.Sprintf("%q", root))
		return false
	case "task", "run":
		if !w.may.tasks {
			w.bad(at, fmt.Sprintf("%s cannot mention %s", capital(w.may.where), traversalText(e.Traversal)),
				"It must be known when the job is submitted, before any task has run. It may mention var, local and functions.")
			return false
		}
		return true
	case "each":
		if !w.may.each {
			w.bad(at, "each is only known inside a task with for_each", "%s has none. Add for_each = toset([...]), or write the value itself.", capital(w.may.where))
			return false
		}
		return true
	case "matrix":
		if !w.may.matrix {
			w.bad(at, "matrix is only known inside a task with a matrix block", "%s has none. Add matrix { AXIS = [...] }, or write the value itself.", capital(w.may.where))
			return false
		}
		return true
	}
	w.bad(at, fmt.Sprintf("There is nothing called %q", root), "%s",
		sentences(didYouMean(root, roots), `Expressions begin with var, local, event, task, each, matrix or run; a text stands in quotes.`))
	return false
}

// call checks a function's name.
func (w *refWalker) call(n *hclsyntax.FunctionCallExpr) {
	w.refs.calls = true
	if _, ok := w.file.functions[n.Name]; ok {
		return
	}
	names := sortedKeys(w.file.functions)
	if slices.Contains(impureFunctions, n.Name) {
		w.bad(n.NameRange, fmt.Sprintf("There is no function %q", n.Name),
			"Its result would differ from call to call, and a job must mean the same on every node and every day. Pass the value in as a variable, or let the task's program ask for it.")
		return
	}
	w.bad(n.NameRange, fmt.Sprintf("There is no function %q", n.Name), "%s", sentences(didYouMean(n.Name, names), "docs/JOBSPEC.md lists the functions."))
}

// impureFunctions are known from other tools and left out on purpose.
var impureFunctions = []string{
	"timestamp", "plantimestamp", "uuid", "uuidv4", "uuidv5", "uuidv7", "bcrypt", "env", "getenv", "now", "random", "rand", "pathexpand", "abspath",
}

// stepName is the name in .name or ["name"].
func stepName(s hcl.Traverser) (string, bool) {
	switch s := s.(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if !s.Key.IsNull() && s.Key.IsKnown() && s.Key.Type() == cty.String {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

// traversalText writes the first two steps of a traversal as in a job file.
func traversalText(t hcl.Traversal) string {
	text := t.RootName()
	if len(t) > 1 {
		if name, ok := stepName(t[1]); ok {
			text += "." + name
		}
	}
	return text
}
