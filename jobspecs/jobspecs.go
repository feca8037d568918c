package jobspecs

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/rota-sched/rota"
)

// Source is a job file with the files it reads. A filename that ends in .json
// means HCL's JSON syntax, every other one the native syntax.
type Source struct {
	Filename string
	Text     []byte
	Files    []rota.File // as found by Files, paths relative to the job file
}

// Inputs are what a run brings along besides the source.
type Inputs struct {
	// Job is the job wanted; empty: every job of the file. The others are checked
	// but not expanded.
	Job string
	// Variables are JSON values by name. A JSON string for a variable of another
	// type is read as a literal of the language, so that --var n=5 works.
	Variables map[string]json.RawMessage
	// AllowMissing makes a variable without a value a warning: for checking a file
	// offline. What depends on it stays unknown.
	AllowMissing bool
	// Priority replaces the job's own priority, and so that of the tasks that name
	// none. Nil: as the file says.
	Priority *int
}

// File is a job file that was read and checked with one set of variables. It is
// not changed afterwards and may be used from several goroutines.
type File struct {
	report    *report
	frozen    bool // Parse is over: nothing is written any more
	inputs    Inputs
	files     map[string][]byte
	functions map[string]function.Function
	variables map[string]*variable
	locals    map[string]*local
	jobs      []*job
	event     cty.Value                     // what the run was started with
	unknown   map[rota.OutputType]cty.Value // tasks before they ran, by what they put out
}

// Parse reads and checks a job file. The file is nil if a diagnostic is an error;
// warnings come with a file. It does no I/O and never panics, whatever the text.
func Parse(src Source, in Inputs) (*File, rota.Diagnostics) {
	s, ds := Read(src)
	if s == nil {
		return nil, ds
	}
	return s.Check(in)
}

// read goes through the file's blocks: first what others mention, then the jobs.
func (f *File) read(body *hclsyntax.Body) {
	checkWords(f.report, body, fileShape, "a job file")
	f.declareVariables(body)
	f.declareLocals(body)
	f.valueVariables()
	f.valueLocals()
	f.checkVariables()
	names := make(map[string]*job)
	for _, b := range body.Blocks {
		if b.Type != "job" || len(b.Labels) != 1 {
			continue
		}
		j := f.readJob(b)
		if first, again := names[j.name]; again {
			f.report.errorf(b.LabelRanges[0], fmt.Sprintf("There is already a job %q", j.name),
				"It stands on line %d. Give one of them another name.", first.block.TypeRange.Start.Line)
			continue
		}
		names[j.name] = j
		f.jobs = append(f.jobs, j)
	}
	if len(names) == 0 && !f.report.failed() {
		f.report.error(rangeAt(0, 0), "The file holds no job", `Write: job "NAME" { task "NAME" { command = ["..."] } }`)
	}
	if f.inputs.Job != "" && names[f.inputs.Job] == nil && !f.report.failed() {
		f.report.error(rangeAt(0, 0), fmt.Sprintf("The file holds no job %q", f.inputs.Job), sentences(didYouMean(f.inputs.Job, f.jobNames()), "It holds: "+few(f.jobNames())+"."))
	}
	for _, j := range f.jobs {
		f.expand(j)
	}
}

func (f *File) jobNames() []string {
	names := make([]string, len(f.jobs))
	for i, j := range f.jobs {
		names[i] = j.name
	}
	return names
}

// Jobs gives the jobs of the file in their order, expanded; with Inputs.Job only
// that one. They are shared and not to be changed.
func (f *File) Jobs() []*rota.Job {
	var jobs []*rota.Job
	for _, j := range f.jobs {
		if j.expanded != nil {
			jobs = append(jobs, j.expanded)
		}
	}
	return jobs
}

// Job gives one job by its name; the empty name means the only one. The
// diagnostics say which jobs there are if it is not found.
func (f *File) Job(name string) (*rota.Job, rota.Diagnostics) {
	jobs := f.Jobs()
	if name == "" && len(jobs) == 1 {
		return jobs[0], nil
	}
	if i := slices.IndexFunc(jobs, func(j *rota.Job) bool { return j.Name == name }); i >= 0 {
		return jobs[i], nil
	}
	r := newReport(f.report.file, f.report.text)
	names := f.jobNames()
	if name == "" {
		r.error(rangeAt(0, 0), "The file holds several jobs", "Say which one: --job "+oneOf(names)+".")
	} else {
		r.error(rangeAt(0, 0), fmt.Sprintf("The file holds no job %q", name), sentences(didYouMean(name, names), "It holds: "+few(names)+"."))
	}
	return nil, r.done()
}
