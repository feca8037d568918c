package jobspecs

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/rota-sched/rota"
)

// Syntax is a job file whose text was read, but which was not yet checked with the
// values of a run. Reading is the larger part of the work, and the same for every
// run of a version: whoever starts many runs of one keeps it. It is not changed
// afterwards and may be used from several goroutines.
type Syntax struct {
	filename  string
	text      []byte
	body      *hclsyntax.Body
	files     map[string][]byte
	functions map[string]function.Function
	notes     rota.Diagnostics // what reading had to say beside errors
}

// Read reads the text of a job file. It is nil if a diagnostic is an error.
func Read(src Source) (*Syntax, rota.Diagnostics) {
	r := newReport(src.Filename, src.Text)
	s := &Syntax{filename: src.Filename, text: src.Text, files: make(map[string][]byte, len(src.Files))}
	for _, file := range src.Files {
		s.files[file.Path] = file.Data
	}
	s.functions = newFunctions(s.files)
	s.body = parseText(r, src.Filename, src.Text)
	s.notes = r.done()
	if s.body == nil || s.notes.HasErrors() {
		return nil, s.notes
	}
	return s, s.notes
}

// Check checks the file with the values of one run, as Parse does.
func (s *Syntax) Check(in Inputs) (*File, rota.Diagnostics) {
	f := &File{
		report: newReport(s.filename, s.text), inputs: in, files: s.files, functions: s.functions,
		variables: make(map[string]*variable), locals: make(map[string]*local), unknown: make(map[rota.OutputType]cty.Value),
	}
	f.report.list = slices.Clone(s.notes)
	f.takeEvent()
	f.read(s.body)
	ds := f.report.done()
	if ds.HasErrors() {
		return nil, ds
	}
	f.frozen = true
	return f, ds
}
