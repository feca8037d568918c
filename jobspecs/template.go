package jobspecs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/rota-sched/rota"
)

// job is a job block.
type job struct {
	name          string
	block         *hclsyntax.Block
	attrs         map[string]*attr
	defaults      map[string]*attr
	defaultBlocks map[string]bool // by path: the blocks that defaults holds
	tasks         []*template
	byLabel       map[string]*template
	priority      int
	expanded      *rota.Job // nil: not asked for
}

// template is a task block: what its instances have in common.
type template struct {
	label       string
	block       *hclsyntax.Block
	attrs       []*attr           // by name; input.* among them, in the order of the file
	constraints []constraintBlock // affinities and spreads among them
	forEach     *attr
	matrix      *hclsyntax.Block
	axes        []string // of the matrix, in the order of the file
	lists       []depList
	needs       []need

	misspelt  bool            // a word of it is unknown: what seems missing may be that
	driver    rota.Driver     // empty: not built, reported
	output    rota.OutputType // empty: none declared
	mayFail   bool
	hasBlock  map[string]*hclsyntax.Block
	instances []*instance
	byKey     map[string]*instance
	unknown   bool // the instances depend on a variable without a value
	value     cty.Value
}

// constraintBlock is a constraint, affinity or spread.
type constraintBlock struct {
	kind                               string
	at                                 hcl.Range
	attribute, operator, value, weight *attr
}

// attrs are those that are written.
func (c *constraintBlock) attrs() []*attr {
	all := []*attr{c.attribute, c.operator, c.value, c.weight}
	return slices.DeleteFunc(all, func(a *attr) bool { return a == nil })
}

// depList is depends_on, after_any or after_failure.
type depList struct {
	name string
	kind rota.EdgeKind
	refs refs
	at   hcl.Range
}

// instance is one task of a template.
type instance struct {
	key          rota.TaskKey
	name         string // each.key, or the joined axis values
	each, matrix cty.Value
}

func (t *template) fanned() bool { return t.forEach != nil || t.matrix != nil }

// attr finds an attribute by name; nil if it is not written.
func (t *template) attr(name string) *attr {
	for _, a := range t.attrs {
		if a.name == name {
			return a
		}
	}
	return nil
}

func (f *File) readJob(b *hclsyntax.Block) *job {
	j := &job{name: b.Labels[0], block: b, attrs: map[string]*attr{}, defaults: map[string]*attr{}, byLabel: make(map[string]*template, len(b.Body.Blocks))}
	where := fmt.Sprintf("job %q", j.name)
	known := f.report.total
	checkWords(f.report, b.Body, jobShape, where)
	for _, name := range jobShape.attrs {
		if a, ok := b.Body.Attributes[name]; ok {
			j.attrs[name] = f.newAttr(name, a, allowed{where: name + " of a job"})
		}
	}
	for _, inner := range b.Body.Blocks {
		switch {
		case inner.Type == "defaults":
			f.readDefaults(j, inner)
		case inner.Type == "task" && len(inner.Labels) == 1:
			f.addTask(j, inner)
		}
	}
	if len(j.tasks) == 0 && f.report.total == known { // else a misspelt block may be the cause
		f.report.errorf(b.DefRange(), fmt.Sprintf("Job %q has no task", j.name), `Give it one: task "NAME" { command = ["..."] }`)
	}
	return j
}

func (f *File) readDefaults(j *job, b *hclsyntax.Block) {
	sh := jobShape.block("defaults")
	checkWords(f.report, b.Body, sh, "defaults")
	j.defaultBlocks = make(map[string]bool)
	for _, inner := range b.Body.Blocks {
		innerShape := sh.block(inner.Type)
		if innerShape == nil {
			continue
		}
		f.gather(inner, innerShape, inner.Type, allowed{where: "defaults"}, func(a *attr) { j.defaults[a.name] = a })
		j.defaultBlocks[inner.Type] = true
		for _, deep := range inner.Body.Blocks {
			j.defaultBlocks[inner.Type+"."+deep.Type] = true
		}
	}
}

// gather notes the attributes of a block and of the blocks in it, by their path.
func (f *File) gather(b *hclsyntax.Block, sh *shape, path string, may allowed, add func(*attr)) {
	checkWords(f.report, b.Body, sh, path)
	for _, name := range sh.attrs {
		if a, ok := b.Body.Attributes[name]; ok {
			add(f.newAttr(path+"."+name, a, may))
		}
	}
	for _, inner := range b.Body.Blocks {
		if innerShape := sh.block(inner.Type); innerShape != nil {
			f.gather(inner, innerShape, path+"."+inner.Type, may, add)
		}
	}
}

func (f *File) addTask(j *job, b *hclsyntax.Block) {
	t := f.readTask(b)
	if first, again := j.byLabel[t.label]; again {
		f.report.errorf(b.LabelRanges[0], fmt.Sprintf("There is already a task %q", t.label),
			"It stands on line %d. Give one of them another name.", first.block.TypeRange.Start.Line)
		return
	}
	j.byLabel[t.label] = t
	j.tasks = append(j.tasks, t)
}

func (f *File) readTask(b *hclsyntax.Block) *template {
	t := &template{label: b.Labels[0], block: b}
	where := "task " + strconv.Quote(t.label)
	known := f.report.total
	checkWords(f.report, b.Body, taskShape, where)
	t.misspelt = f.report.total > known
	may := allowed{tasks: true, where: where}
	early := allowed{where: "for_each"}
	if a, ok := b.Body.Attributes["for_each"]; ok {
		t.forEach = f.earlyAttr("for_each", a, early)
		may.each = true
	}
	for _, inner := range b.Body.Blocks {
		if inner.Type == "matrix" && t.matrix == nil {
			t.matrix, may.matrix = inner, true
			for _, a := range inOrder(inner.Body.Attributes) {
				if a.Name != "include" && a.Name != "exclude" {
					t.axes = append(t.axes, a.Name)
				}
			}
			may.axes = t.axes
		}
	}
	f.readTaskAttributes(t, may)
	f.readTaskBlocks(t, may)
	f.readFixed(t)
	return t
}

func (f *File) readTaskAttributes(t *template, may allowed) {
	attrs := t.block.Body.Attributes
	t.attrs = make([]*attr, 0, len(attrs)+4)
	for _, name := range taskShape.attrs {
		a, ok := attrs[name]
		if !ok {
			continue
		}
		switch name {
		case "for_each":
		case "depends_on":
			t.lists = append(t.lists, f.readDepList(a, rota.EdgeDelivered, may))
		case "after_any":
			t.lists = append(t.lists, f.readDepList(a, rota.EdgeAny, may))
		case "after_failure":
			t.lists = append(t.lists, f.readDepList(a, rota.EdgeFailure, may))
		case "driver", "allow_failure":
			t.attrs = append(t.attrs, f.newAttr(name, a, allowed{where: name}))
		default:
			t.attrs = append(t.attrs, f.newAttr(name, a, may))
		}
	}
}

// earlyAttr is an attribute whose mention of tasks is part of the language but
// comes later.
func (f *File) earlyAttr(name string, a *hclsyntax.Attribute, may allowed) *attr {
	for _, t := range a.Expr.Variables() {
		if root := t.RootName(); root == "task" || root == "run" {
			notBuilt(f.report, t.SourceRange(), fmt.Sprintf("%s that depends on %s", name, root))
			return &attr{name: name, expr: a.Expr, at: a.NameRange, refs: refs{broken: true}}
		}
	}
	return f.newAttr(name, a, may)
}

func (f *File) readTaskBlocks(t *template, may allowed) {
	for _, b := range t.block.Body.Blocks {
		sh := taskShape.block(b.Type)
		if sh == nil {
			continue
		}
		if t.hasBlock == nil {
			t.hasBlock = make(map[string]*hclsyntax.Block, len(t.block.Body.Blocks))
		}
		t.hasBlock[b.Type] = b
		add := func(a *attr) { t.attrs = append(t.attrs, a) }
		switch b.Type {
		case "input":
			checkWords(f.report, b.Body, sh, "input")
			for _, a := range inOrder(b.Body.Attributes) {
				if !slices.Contains(sh.later, a.Name) {
					add(f.newAttr("input."+a.Name, a, may))
				}
			}
		case "matrix":
			checkWords(f.report, b.Body, sh, "matrix")
		case "output":
			f.gather(b, sh, "output", allowed{where: "output"}, add)
		case "constraint", "affinity", "spread":
			c := constraintBlock{kind: b.Type, at: b.TypeRange}
			f.gather(b, sh, b.Type, may, func(a *attr) {
				switch strings.TrimPrefix(a.name, b.Type+".") {
				case "attribute":
					c.attribute = a
				case "operator":
					c.operator = a
				case "weight":
					c.weight = a
				default:
					c.value = a
				}
			})
			t.constraints = append(t.constraints, c)
		default:
			f.gather(b, sh, b.Type, may, add)
		}
	}
}

// readFixed reads what must be known before anything else of the task: driver,
// output, allow_failure.
func (f *File) readFixed(t *template) {
	r := &reader{file: f, report: f.report, scope: &scope{}}
	t.driver = rota.DriverExec
	if word, g := r.word(t.attr("driver"), builtDrivers, laterDrivers); g == gotValue {
		t.driver = rota.Driver(word)
	} else if g != gotNothing {
		t.driver = ""
	}
	if t.hasBlock["output"] != nil {
		t.output = rota.OutputText
		if word, g := r.word(t.attr("output.type"), builtOutputs, laterOutputs); g == gotValue {
			t.output = rota.OutputType(word)
		}
	}
	t.mayFail, _ = r.bool(t.attr("allow_failure"))
}
