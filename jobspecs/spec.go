package jobspecs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/rota-sched/rota"
)

// Defaults of a task. (Source: JOBSPEC.md, section 2.)
const (
	defaultPriority    = 50
	defaultCPUMilli    = 100
	defaultMemoryBytes = 64 << 20
	defaultAttempts    = 3 // with a retry block; 1 without
	defaultInitial     = time.Second
	defaultMaxDelay    = time.Minute
	defaultMultiplier  = 2000
	defaultSignal      = "SIGTERM"
	defaultGrace       = 2 * time.Second
	mostAttempts       = 1000
	mostMultiplier     = 1000 * 1000
	maxTypeBytes       = 128
)

// specBuilder works out the spec of one instance.
type specBuilder struct {
	*reader
	job  *job
	task *template
	spec *rota.TaskSpec
	skip bool // when is false
}

// build evaluates everything the task says. The spec names what is late.
func (b *specBuilder) build() {
	t := b.task
	b.spec = &rota.TaskSpec{Driver: t.driver, Output: t.output, AllowFailure: t.mayFail, Priority: b.job.priority}
	if run, g := b.bool(t.attr("when")); g == gotValue && !run {
		b.skip = true
	}
	if b.skip && b.final {
		return
	}
	b.program()
	b.labels()
	b.resources()
	b.placement()
	b.retry()
	b.times()
	b.inputs()
	b.spec.Late = b.late
	if b.skip && !slices.Contains(b.late, "when") {
		// It is known already, but a task is skipped when its turn comes.
		b.spec.Late = append(b.spec.Late, "when")
	}
	slices.Sort(b.spec.Late)
	b.sizes()
}

func (b *specBuilder) attr(name string) *attr { return b.task.attr(name) }

// either is the task's attribute, or that of the job's defaults.
func (b *specBuilder) either(name string) *attr {
	return b.pick(b.task.attr(name), b.job.defaults[name])
}

func (b *specBuilder) program() {
	a := b.attr("command")
	command, g := b.texts(a)
	switch {
	case g == gotNothing && b.task.misspelt:
	case g == gotNothing && b.task.driver == rota.DriverExec:
		b.bad(b.task.block.DefRange(), fmt.Sprintf("Task %q has no command", b.task.label), `Add command = ["PROGRAM", "ARGUMENT", ...], or driver = "noop" for a task that only waits for others.`)
	case g == gotValue && len(command) == 0, g == gotValue && command[0] == "":
		b.bad(a.expr.Range(), "The command is empty", `The first element is the program: command = ["PROGRAM", "ARGUMENT", ...].`)
	case g == gotValue:
		b.spec.Command = command
		b.checkArguments(a, command)
	}
	b.environment()
	if dir, g := b.text(b.attr("workdir")); g == gotValue {
		b.spec.Workdir = dir
		if !strings.HasPrefix(dir, "/") || strings.ContainsRune(dir, 0) {
			b.bad(b.attr("workdir").expr.Range(), "The workdir is not absolute", fmt.Sprintf("%q must begin with /. Leave workdir out for a fresh directory per attempt.", shorten(dir)))
		}
	}
}

// checkArguments refuses what the kernel would refuse on every node.
func (b *specBuilder) checkArguments(a *attr, command []string) {
	for i, arg := range command {
		at := elementRange(a.expr, i)
		switch {
		case len(arg) >= rota.MaxArgumentByte:
			b.bad(at, fmt.Sprintf("Argument %d is too long", i), fmt.Sprintf("It has %d bytes, the kernel's limit is %d. Pass it in the input block: the task finds it as JSON in the file $ROTA_INPUT.", len(arg), rota.MaxArgumentByte-1))
		case strings.ContainsRune(arg, 0):
			b.bad(at, fmt.Sprintf("Argument %d contains a NUL byte", i), "No program can be given one. Take it out.")
		}
	}
}

func (b *specBuilder) environment() {
	a := b.attr("env")
	if a == nil {
		return
	}
	v, g := b.read(a, cty.DynamicPseudoType)
	if g != gotValue {
		return
	}
	if ty := v.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		b.bad(a.expr.Range(), `"env" must be a map`, "It is "+article(ty)+`. Write env = { NAME = "value" }.`)
		return
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		key := k.AsString()
		at := itemRange(a.expr, key)
		text, err := convert.Convert(e, cty.String)
		switch {
		case err != nil:
			b.bad(at, fmt.Sprintf("env %q is no text", key), "It is "+article(e.Type())+". Write a text, a number or a bool; jsonencode(VALUE) makes a text of anything.")
		case text.IsNull():
			b.bad(at, fmt.Sprintf("env %q is null", key), `Leave it out, or give it a default with coalesce(VALUE, "...").`)
		case key == "" || strings.ContainsAny(key, "=\x00") || strings.ContainsRune(text.AsString(), 0):
			b.bad(at, fmt.Sprintf("env %q cannot be set", key), "A name is not empty and has no = in it; neither name nor value has NUL bytes.")
		case strings.HasPrefix(key, "ROTA_"):
			b.bad(at, fmt.Sprintf("env %q is Rota's own", key), "Names that begin with ROTA_ are set by Rota. Choose another one.")
		case len(key)+len(text.AsString())+1 >= rota.MaxArgumentByte:
			b.bad(at, fmt.Sprintf("env %q is too long", key), fmt.Sprintf("The kernel's limit is %d bytes. Pass it in the input block.", rota.MaxArgumentByte-1))
		default:
			b.spec.Env = append(b.spec.Env, rota.Pair{Key: key, Value: text.AsString()})
		}
	}
	slices.SortFunc(b.spec.Env, func(x, y rota.Pair) int { return strings.Compare(x.Key, y.Key) })
}

// itemRange is where an object's item stands, if it is written out.
func itemRange(e hclsyntax.Expression, key string) hcl.Range {
	if object, ok := e.(*hclsyntax.ObjectConsExpr); ok {
		for _, item := range object.Items {
			if v, diags := item.KeyExpr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() && v.AsString() == key {
				return item.KeyExpr.Range()
			}
		}
	}
	return e.Range()
}

func (b *specBuilder) labels() {
	if text, g := b.text(b.attr("type")); g == gotValue {
		b.spec.Type = text
		if len(text) > maxTypeBytes {
			b.bad(b.attr("type").expr.Range(), "The type is too long", fmt.Sprintf("It has %d bytes, the limit is %d.", len(text), maxTypeBytes))
		}
	}
	if n, g := b.integer(b.attr("priority"), 0, 100); g == gotValue {
		b.spec.Priority = int(n)
	}
	if word, g := b.word(b.attr("rerun"), reruns, nil); g == gotValue {
		b.spec.Rerun = rota.Rerun(word)
	} else {
		b.spec.Rerun = rota.RerunAlways
	}
}

// inputs makes the JSON object that the task finds in the file $ROTA_INPUT.
func (b *specBuilder) inputs() {
	if b.task.hasBlock["input"] == nil {
		return
	}
	object, whole := make(map[string]json.RawMessage), true
	for _, a := range b.task.attrs {
		name, ok := strings.CutPrefix(a.name, "input.")
		if !ok {
			continue
		}
		v, g := b.read(a, cty.DynamicPseudoType)
		switch g {
		case gotNothing:
			object[name] = json.RawMessage("null")
		case gotValue:
			raw, err := ctyjson.Marshal(v, v.Type())
			if err != nil {
				b.bad(a.expr.Range(), fmt.Sprintf("%q cannot be written as JSON", a.name), capital(err.Error())+".")
				whole = false
				continue
			}
			object[name] = raw
		default:
			whole = false
		}
	}
	if !whole {
		return
	}
	raw, err := json.Marshal(object)
	if err != nil {
		b.bad(b.task.hasBlock["input"].TypeRange, "The input cannot be written as JSON", capital(err.Error())+".")
		return
	}
	b.spec.Input = raw
}

func textBytes(list []string) int {
	n := 0
	for _, v := range list {
		n += len(v)
	}
	return n
}

// sizes bounds what one task brings along.
func (b *specBuilder) sizes() {
	s, n := b.spec, len(b.spec.Input)+len(b.spec.Workdir)
	for _, arg := range s.Command {
		n += len(arg)
	}
	for _, p := range s.Env {
		n += len(p.Key) + len(p.Value)
	}
	for _, c := range s.Constraints {
		n += textBytes(c.Values)
	}
	for _, a := range s.Affinities {
		n += textBytes(a.Constraint.Values)
	}
	if n > rota.MaxSpecValues {
		b.bad(b.task.block.DefRange(), fmt.Sprintf("Task %q brings too much along", b.task.label),
			fmt.Sprintf("Its command, env and input have %d bytes together, the limit is %d (256 KiB). Put large data into files the task reads.", n, rota.MaxSpecValues))
	}
}
