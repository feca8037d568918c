package jobspecs

import (
	"cmp"
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

func (b *specBuilder) resources() {
	res := &b.spec.Resources
	if b.task.driver != rota.DriverNoop {
		res.CPUMilli, res.MemoryBytes = defaultCPUMilli, defaultMemoryBytes
	}
	if n, g := parsed(b.reader, b.either("resources.cpu"), parseCores); g == gotValue {
		res.CPUMilli = n
	}
	if n, g := b.size(b.either("resources.memory")); g == gotValue {
		res.MemoryBytes = n
	}
	if n, g := b.size(b.either("resources.disk")); g == gotValue {
		res.DiskBytes = n
	}
	if holds(b.task.hasBlock["resources"], "gpu") || b.job.defaultBlocks["resources.gpu"] {
		b.gpu(&res.GPU)
	}
}

func holds(b *hclsyntax.Block, inner string) bool {
	return b != nil && slices.ContainsFunc(b.Body.Blocks, func(x *hclsyntax.Block) bool { return x.Type == inner })
}

func (b *specBuilder) gpu(d *rota.GPUDemand) {
	d.Count = 1
	if n, g := b.integer(b.either("resources.gpu.count"), 0, 1024); g == gotValue {
		d.Count = int(n)
	}
	if text, g := b.text(b.either("resources.gpu.model")); g == gotValue {
		d.Model = text
	}
	if n, g := b.size(b.either("resources.gpu.memory")); g == gotValue {
		d.MemoryBytes = n
	}
	share := b.either("resources.gpu.share")
	if n, g := b.milli(share); g == gotValue {
		d.ShareMilli = n
		switch {
		case n <= 0 || n >= rota.WholeGPU:
			b.bad(share.expr.Range(), `"resources.gpu.share" is out of range`, "A share is a part of one device: more than 0 and less than 1, in thousandths. Leave it out for whole devices.")
		case d.Count > 1:
			b.bad(share.expr.Range(), "A share and a count of more than one", fmt.Sprintf("share is a part of one device, count asks for %d. Take share out for whole devices, or set count = 1.", d.Count))
		}
	}
	if d.Count == 0 {
		*d = rota.GPUDemand{}
	}
}

func (b *specBuilder) retry() {
	p := &b.spec.Retry
	*p = rota.Retry{MaxAttempts: 1, Backoff: rota.BackoffExponential, Initial: defaultInitial, Max: defaultMaxDelay, MultiplierMilli: defaultMultiplier, Jitter: true}
	if b.task.hasBlock["retry"] != nil || b.job.defaultBlocks["retry"] {
		p.MaxAttempts = defaultAttempts
	}
	if n, g := b.integer(b.either("retry.max_attempts"), 1, mostAttempts); g == gotValue {
		p.MaxAttempts = int(n)
	}
	if word, g := b.word(b.either("retry.backoff"), backoffs, nil); g == gotValue {
		p.Backoff = rota.Backoff(word)
	}
	initial, g := b.duration(b.either("retry.initial"))
	if g == gotValue {
		p.Initial, p.Max = initial, max(p.Max, initial)
	}
	if a := b.either("retry.max"); a != nil {
		if d, g := b.duration(a); g == gotValue {
			p.Max = d
			if d < p.Initial {
				b.bad(a.expr.Range(), "The longest delay is shorter than the first", fmt.Sprintf("max is %s, initial is %s.", d, p.Initial))
			}
		}
	}
	if a := b.either("retry.multiplier"); a != nil {
		if n, g := b.milli(a); g == gotValue {
			p.MultiplierMilli = n
			if n < 1000 || n > mostMultiplier {
				b.bad(a.expr.Range(), `"retry.multiplier" is out of range`, "Want a number from 1 to 1000.")
			}
		}
	}
	if jitter, g := b.bool(b.either("retry.jitter")); g == gotValue {
		p.Jitter = jitter
	}
	b.causes(p)
}

func (b *specBuilder) causes(p *rota.Retry) {
	a := b.either("retry.on")
	words, g := b.texts(a)
	if g != gotValue {
		return
	}
	p.On = make([]rota.Cause, 0, len(words))
	for i, word := range words {
		c, err := rota.ParseCause(word)
		if err != nil || c == rota.CauseNone {
			b.bad(elementRange(a.expr, i), fmt.Sprintf("%q is no cause of failures", word), sentences(didYouMean(word, causeWords()), "Causes are "+oneOf(causeWords())+"."))
			continue
		}
		if !slices.Contains(p.On, c) {
			p.On = append(p.On, c)
		}
	}
}

func (b *specBuilder) times() {
	for _, x := range []struct {
		name string
		to   *time.Duration
	}{
		{"timeouts.schedule_to_start", &b.spec.Timeouts.ScheduleToStart},
		{"timeouts.start_to_close", &b.spec.Timeouts.StartToClose},
		{"timeouts.schedule_to_close", &b.spec.Timeouts.ScheduleToClose},
	} {
		a := b.either(x.name)
		if d, g := b.duration(a); g == gotValue {
			*x.to = d
			if d == 0 {
				b.bad(a.expr.Range(), fmt.Sprintf("%q is zero", x.name), "A timeout of nothing fails every attempt. Leave it out for no bound.")
			}
		}
	}
	b.spec.Stop = rota.Stop{Signal: defaultSignal, Grace: defaultGrace}
	if d, g := b.duration(b.attr("stop.grace")); g == gotValue {
		b.spec.Stop.Grace = d
	}
	if name, g := b.text(b.attr("stop.signal")); g == gotValue {
		if !strings.HasPrefix(name, "SIG") {
			name = "SIG" + name
		}
		b.spec.Stop.Signal = name
		if !slices.Contains(stopSignals, name) {
			b.bad(b.attr("stop.signal").expr.Range(), fmt.Sprintf("%q is no signal to stop a task with", name), sentences(didYouMean(name, stopSignals), "Choose "+oneOf(stopSignals)+"."))
		}
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
		for _, v := range c.Values {
			n += len(v)
		}
	}
	if n > rota.MaxSpecValues {
		b.bad(b.task.block.DefRange(), fmt.Sprintf("Task %q brings too much along", b.task.label),
			fmt.Sprintf("Its command, env and input have %d bytes together, the limit is %d (256 KiB). Put large data into files the task reads.", n, rota.MaxSpecValues))
	}
}

// placement reads where the task may run.
func (b *specBuilder) placement() {
	a := b.attr("routing.required_capabilities")
	if words, g := b.texts(a); g == gotValue {
		slices.Sort(words)
		words = slices.Compact(words)
		b.spec.Capabilities = words
		if slices.Contains(words, "") {
			b.bad(a.expr.Range(), "A capability is empty", "Name what the node must offer, as in rota start --capability NAME.")
		}
	}
	for i := range b.task.constraints {
		b.constraint(&b.task.constraints[i])
	}
	slices.SortFunc(b.spec.Constraints, func(x, y rota.Constraint) int {
		return cmp.Or(strings.Compare(x.Attribute, y.Attribute), strings.Compare(string(x.Operator), string(y.Operator)), slices.Compare(x.Values, y.Values))
	})
}

func (b *specBuilder) constraint(block *constraintBlock) {
	c := rota.Constraint{Operator: rota.OpEqual}
	name, g := b.text(block.attribute)
	switch {
	case g == gotNothing || block.value == nil:
		b.bad(block.at, "A constraint needs an attribute and a value", `Write: attribute = "label.rack", operator = "=", value = "a".`)
		return
	case g == gotValue && !rota.IsConstraintAttribute(name):
		known := append(rota.ConstraintAttributes(), "label.NAME", "capability.NAME")
		b.bad(block.attribute.expr.Range(), fmt.Sprintf("There is no attribute %q of nodes", name), sentences(didYouMean(name, known), "Choose "+oneOf(known)+"."))
		return
	}
	c.Attribute = name
	if word, g := b.word(block.operator, operatorWords(), laterOperators); g == gotValue {
		c.Operator = rota.Operator(word)
	}
	if !b.constraintValues(block.value, &c) {
		return
	}
	b.spec.Constraints = append(b.spec.Constraints, c)
}

// constraintValues reads the value, or the list of values for "in". Sizes become
// bytes for the attributes that are sizes.
func (b *specBuilder) constraintValues(a *attr, c *rota.Constraint) bool {
	var texts []string
	var g got
	if c.Operator == rota.OpIn {
		texts, g = b.texts(a)
	} else {
		var text string
		text, g = b.text(a)
		texts = []string{text}
	}
	if g == gotNothing || g == gotValue && len(texts) == 0 {
		b.bad(a.expr.Range(), "The constraint has no value", "Say what to compare with; null and an empty list allow no node.")
	}
	if g != gotValue || len(texts) == 0 {
		return false
	}
	if c.Attribute == "node.memory" || c.Attribute == "gpu.memory" {
		for i, text := range texts {
			n, err := parseSize(text)
			if err != nil {
				b.bad(elementRange(a.expr, i), fmt.Sprintf("%q cannot be compared", c.Attribute), capital(err.Error())+".")
				return false
			}
			texts[i] = fmt.Sprint(n)
		}
	}
	c.Values = texts
	return true
}
