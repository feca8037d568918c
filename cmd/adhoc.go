package cmd

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// adhoc are the flags of a single command.
type adhoc struct {
	driver, name, cpu, memory, gpu, gpuModel, workdir string
	env, constraints                                  []string
	retries, maxParallel                              int
	eachLine                                          string
}

func adhocFlags() []string {
	return []string{"driver", "name", "cpu", "memory", "gpu", "gpu-model", "env", "workdir", "retries", "constraint", "each-line"}
}

func (o *adhoc) bind(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.driver, "driver", "exec", "driver of the command: exec or noop")
	f.StringVar(&o.name, "name", "", "name of the task (default: the program's)")
	f.StringVar(&o.cpu, "cpu", "", "cores the command needs, such as 0.5 or 500m")
	f.StringVar(&o.memory, "memory", "", "memory the command needs, such as 1GiB")
	f.StringVar(&o.gpu, "gpu", "", "GPUs the command needs; a fraction below 1 shares one")
	f.StringVar(&o.gpuModel, "gpu-model", "", "words that the GPU's name must hold")
	f.StringArrayVar(&o.env, "env", nil, "k=v in the environment (may be repeated)")
	f.StringVar(&o.workdir, "workdir", "", "absolute directory to run in (default: a fresh one)")
	f.IntVar(&o.retries, "retries", 0, "attempts after a failed one")
	f.StringArrayVar(&o.constraints, "constraint", nil, "demand on the node, such as label.rack=a or gpu.model!=T4 (may be repeated)")
	f.StringVar(&o.eachLine, "each-line", "", "one task for each line of a file, - for stdin; {} in the command is the line")
	f.IntVar(&o.maxParallel, "max-parallel", 0, "with --each-line (not built yet)")
}

// adhocJob is the name of the job that single commands are runs of.
const adhocJob = "adhoc"

// source writes the command as a job in the language's JSON syntax, with a task for
// each of the lines, if there are any.
func (o *adhoc) source(command []string, lines map[string]string) (jobspecs.Source, error) {
	for _, word := range slices.Concat(command, o.env, o.constraints, []string{o.workdir, o.gpuModel}) {
		if !utf8.ValidString(word) {
			return jobspecs.Source{}, usage("put the bytes into a file that the command reads", "%q is not UTF-8, so it cannot travel in a job", word)
		}
	}
	task := map[string]any{"driver": o.driver, "command": escapeAll(command)}
	if lines != nil {
		words, err := eachWord(command)
		if err != nil {
			return jobspecs.Source{}, err
		}
		task["command"], task["for_each"] = words, lines
	}
	if err := o.fill(task); err != nil {
		return jobspecs.Source{}, err
	}
	name := o.name
	if name == "" {
		name = taskName(command[0])
	}
	if !rota.IsIdentifier(name) {
		return jobspecs.Source{}, usage("want a letter, then letters, digits, - or _", "--name %q is no name of a task", name)
	}
	job := map[string]any{"job": map[string]any{adhocJob: map[string]any{"task": map[string]any{name: task}}}}
	text, err := marshal(job, "  ")
	if err != nil {
		return jobspecs.Source{}, err
	}
	if int64(len(text)) > rota.MaxSourceBytes {
		return jobspecs.Source{}, usage("put the data into a file", "the command is over %s, the limit of a job", humanBytes(rota.MaxSourceBytes))
	}
	return jobspecs.Source{Filename: adhocJob + ".json", Text: text}, nil
}

func (o *adhoc) fill(task map[string]any) error {
	resources := map[string]any{}
	if o.cpu != "" {
		resources["cpu"] = o.cpu
		if _, ok := decimal(o.cpu); ok {
			resources["cpu"] = json.Number(o.cpu)
		}
	}
	if o.memory != "" {
		if _, err := rota.ParseSize(o.memory); err != nil {
			return usage("", "--memory: %s", err)
		}
		resources["memory"] = o.memory
	}
	gpu, err := o.gpuDemand()
	if err != nil {
		return err
	}
	if gpu != nil {
		resources["gpu"] = gpu
	}
	if len(resources) > 0 {
		task["resources"] = resources
	}
	env, err := parsePairs("--env", o.env)
	if err != nil {
		return err
	}
	if len(env) > 0 {
		m := map[string]string{}
		for _, p := range env {
			m[escapeTemplate(p.Key)] = escapeTemplate(p.Value)
		}
		task["env"] = m
	}
	if o.workdir != "" {
		task["workdir"] = escapeTemplate(o.workdir)
	}
	if o.retries < 0 {
		return usage("", "--retries %d: want 0 or more", o.retries)
	}
	if o.retries > 0 {
		task["retry"] = map[string]any{"max_attempts": o.retries + 1}
	}
	return o.fillConstraints(task)
}

func (o *adhoc) gpuDemand() (map[string]any, error) {
	if o.gpu == "" {
		if o.gpuModel != "" {
			return nil, usage("add --gpu 1", "--gpu-model without --gpu asks for nothing")
		}
		return nil, nil
	}
	n, ok := decimal(o.gpu)
	if !ok || n.Sign() == 0 {
		return nil, usage("", "--gpu %q: want a number of devices, or a fraction below 1 of one", o.gpu)
	}
	gpu := map[string]any{}
	switch {
	case n.IsInt():
		gpu["count"] = json.Number(n.Num().String())
	case n.Num().Cmp(n.Denom()) < 0:
		gpu["share"] = json.Number(strings.TrimSuffix("0"+strings.TrimPrefix(o.gpu, "0"), "."))
	default:
		return nil, usage("", "--gpu %s: a fraction is of one device, so below 1", o.gpu)
	}
	if o.gpuModel != "" {
		gpu["model"] = escapeTemplate(o.gpuModel)
	}
	return gpu, nil
}

func (o *adhoc) fillConstraints(task map[string]any) error {
	var blocks []map[string]any
	for _, text := range o.constraints {
		block, err := parseConstraint(text)
		if err != nil {
			return err
		}
		blocks = append(blocks, block)
	}
	if len(blocks) > 0 {
		task["constraint"] = blocks
	}
	return nil
}

// parseConstraint reads ATTRIBUTE OPERATOR VALUE. What follows an operator that takes a
// list is one with commas.
func parseConstraint(text string) (map[string]any, error) {
	attribute, operator, word := cutOperator(text)
	if attribute == "" || word == "" {
		return nil, usage("such as label.rack=a, gpu.model!=T4, node.memory>=8GiB, \"label.zone in a,b\" or \"node.kernel version >= 6.1\"", "--constraint %q: want ATTRIBUTE OPERATOR VALUE", text)
	}
	value := any(escapeTemplate(word))
	if rota.Operator(operator).TakesList() {
		words := strings.Split(word, ",")
		for i := range words {
			words[i] = escapeTemplate(strings.TrimSpace(words[i]))
		}
		value = words
	}
	if !rota.IsConstraintAttribute(attribute) {
		next := "it may be " + strings.Join(rota.ConstraintAttributes(), ", ") + ", label.KEY or capability.NAME"
		if near := nearest(attribute, rota.ConstraintAttributes()); near != "" {
			next = "did you mean " + near + "?"
		}
		return nil, usage(next, "--constraint %q: a node has no attribute %s", text, attribute)
	}
	return map[string]any{"attribute": attribute, "operator": operator, "value": value}, nil
}

// cutOperator finds the operator between an attribute and a value: a word between
// spaces, else a sign; no attribute if there is none.
func cutOperator(text string) (attribute, operator, value string) {
	first, rest, spaced := strings.Cut(strings.TrimSpace(text), " ")
	if word, value, more := strings.Cut(strings.TrimSpace(rest), " "); spaced && more {
		switch op := rota.Operator(word); op { //nolint:exhaustive // the others are signs
		case rota.OpIn, rota.OpRegexp, rota.OpVersion, rota.OpSetContains:
			return first, word, strings.TrimSpace(value)
		}
	}
	at := strings.IndexAny(text, "=!<>")
	if at <= 0 {
		return "", "", ""
	}
	for _, op := range [...]string{"!=", "<=", ">=", "=", "<", ">"} {
		word, found := strings.CutPrefix(text[at:], op)
		if word = strings.TrimSpace(word); found && !strings.HasPrefix(word, "=") {
			return strings.TrimSpace(text[:at]), op, word
		}
	}
	return "", "", ""
}

// taskName makes a task's name of a program's.
func taskName(program string) string {
	base := program[strings.LastIndexByte(program, '/')+1:]
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && rota.IsIdentifier("a"+string(r)) {
			return r
		}
		return '-'
	}, base)
	if !rota.IsIdentifier(name) || len(name) > 40 {
		return "command"
	}
	return name
}

func escapeAll(words []string) []string {
	escaped := make([]string, len(words))
	for i, w := range words {
		escaped[i] = escapeTemplate(w)
	}
	return escaped
}

// escapeTemplate keeps the job language from seeing templates in a word: its
// strings treat ${ and %{ as such.
func escapeTemplate(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}
