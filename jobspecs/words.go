package jobspecs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/rota-sched/rota"
)

// checkWords compares the words of a block with what its shape allows. where is
// the block as people call it, such as: task "a".
func checkWords(r *report, body *hclsyntax.Body, sh *shape, where string) {
	known := 0
	for _, name := range sh.attrs {
		if _, ok := body.Attributes[name]; ok {
			known++
		}
	}
	if known < len(body.Attributes) {
		for _, a := range inOrder(body.Attributes) {
			checkAttribute(r, a, sh, where)
		}
	}
	firsts := make(map[string]int, 4)
	for _, b := range body.Blocks {
		inner := sh.block(b.Type)
		if inner == nil {
			unknownBlock(r, b, sh, where)
			continue
		}
		checkLabels(r, b, inner)
		if line, again := firsts[b.Type]; again && !inner.many {
			r.errorf(b.TypeRange, fmt.Sprintf("Block %q stands twice", b.Type), "%s already has one on line %d. Put both into one block.", capital(where), line)
		}
		if _, again := firsts[b.Type]; !again {
			firsts[b.Type] = b.TypeRange.Start.Line
		}
	}
}

// inOrder gives the attributes of a body by their place in the file.
func inOrder(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	list := make([]*hclsyntax.Attribute, 0, len(attrs))
	for _, a := range attrs { // order: sorted below
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hclsyntax.Attribute) int { return a.NameRange.Start.Byte - b.NameRange.Start.Byte })
	return list
}

func checkAttribute(r *report, a *hclsyntax.Attribute, sh *shape, where string) {
	switch {
	case slices.Contains(sh.later, a.Name):
		notBuilt(r, a.NameRange, fmt.Sprintf("%q", a.Name))
	case sh.open || slices.Contains(sh.attrs, a.Name):
	case sh.block(a.Name) != nil:
		r.errorf(a.NameRange, fmt.Sprintf("%q is a block", a.Name), "Write it without the equals sign: %s%s { ... }", a.Name, labelHint(sh.block(a.Name)))
	default:
		r.errorf(a.NameRange, fmt.Sprintf("Unknown attribute %q in %s", a.Name, where), "%s",
			suggest(a.Name, sh))
	}
}

func unknownBlock(r *report, b *hclsyntax.Block, sh *shape, where string) {
	switch {
	case slices.Contains(sh.later, b.Type):
		notBuilt(r, b.TypeRange, fmt.Sprintf("%q", b.Type))
	case slices.Contains(sh.attrs, b.Type):
		r.errorf(b.TypeRange, fmt.Sprintf("%q is an attribute", b.Type), "Write it with an equals sign: %s = ...", b.Type)
	case sh.open:
		r.errorf(b.TypeRange, fmt.Sprintf("Unexpected block %q in %s", b.Type, where), "Only attributes stand here. Write it with an equals sign: %s = { ... }", b.Type)
	default:
		r.errorf(b.TypeRange, fmt.Sprintf("Unknown block %q in %s", b.Type, where), "%s",
			suggest(b.Type, sh))
	}
}

// suggest offers the likeliest of a block's words, or all of them.
func suggest(got string, sh *shape) string {
	words := sh.words()
	if hint := didYouMean(got, append(words, sh.later...)); hint != "" {
		return hint
	}
	slices.Sort(words)
	return "It may hold " + oneOf(words) + "."
}

// notBuilt refuses a word of the language that this version does not act on yet.
func notBuilt(r *report, at hcl.Range, what string) {
	r.error(at, what+" is not built yet",
		"The job language has it, but this version of Rota would ignore it, so it is refused. Leave it out; docs/JOBSPEC.md lists what works.")
}

func checkLabels(r *report, b *hclsyntax.Block, sh *shape) {
	switch {
	case len(b.Labels) < sh.labels:
		r.errorf(b.TypeRange, fmt.Sprintf("A %s needs a name", b.Type), "Write: %s%s { ... }", b.Type, labelHint(sh))
	case len(b.Labels) > sh.labels:
		r.errorf(b.LabelRanges[sh.labels], fmt.Sprintf("Too many names for a %s", b.Type), "Write: %s%s { ... }", b.Type, labelHint(sh))
	case sh.labels == 1 && !rota.IsIdentifier(b.Labels[0]):
		r.errorf(b.LabelRanges[0], fmt.Sprintf("%q cannot name a %s", b.Labels[0], b.Type),
			"A name is a letter or underscore, then letters, digits, underscores and dashes, so that expressions can mention it. %s", identifierHint(b.Labels[0]))
	case sh.labels == 1 && len(b.Labels[0]) > rota.MaxKeyBytes:
		r.errorf(b.LabelRanges[0], fmt.Sprintf("The name of this %s is too long", b.Type), "It has %d bytes, the limit is %d.", len(b.Labels[0]), rota.MaxKeyBytes)
	}
}

func labelHint(sh *shape) string {
	return strings.Repeat(` "NAME"`, sh.labels)
}

// identifierHint proposes the name with every odd character made an underscore.
func identifierHint(label string) string {
	fixed := strings.Map(func(r rune) rune {
		if rota.IsIdentifier("a" + string(r)) {
			return r
		}
		return '_'
	}, label)
	if fixed != label && rota.IsIdentifier(fixed) && len(fixed) <= rota.MaxKeyBytes {
		return fmt.Sprintf("Try %q.", fixed)
	}
	return ""
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
