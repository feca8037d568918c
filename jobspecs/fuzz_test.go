package jobspecs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// FuzzParse: whatever the bytes, the reader answers with jobs or diagnostics whose
// places exist, and what it accepts can be resolved.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, false)
	}
	for _, a := range optional {
		f.Add([]byte(withAttribute(a.block, a.name, a.value)), false)
		f.Add([]byte(withAttribute(a.block, a.name, "true ? null : task.before.output.x["+a.value+"]")), false)
	}
	f.Add([]byte(`{"job":{"j":{"task":{"a":{"command":["echo","${var.x}"],"depends_on":["task.b"],"matrix":{"x":[1]}},"b":{"driver":"noop","output":{}}}}},"variable":{"x":{"type":"list(string)","default":["a"]}}}`), true)
	f.Fuzz(func(t *testing.T, text []byte, isJSON bool) {
		name := "f.hcl"
		if isJSON {
			name = "f.json"
		}
		src := jobspecs.Source{Filename: name, Text: text}
		for _, in := range []jobspecs.Inputs{{}, {AllowMissing: true}} {
			file, ds := jobspecs.Parse(src, in)
			checkDiagnostics(t, text, ds)
			if (file == nil) != ds.HasErrors() {
				t.Fatalf("file %v and diagnostics %s", file, ds.Error())
			}
			if file != nil {
				resolveEverything(t, file)
			}
		}
		jobspecs.Files(src)
		jobspecs.Hash(src)
		if out, ds := jobspecs.Format(text); !ds.HasErrors() {
			again, ds := jobspecs.Format(out)
			if ds.HasErrors() || string(again) != string(out) && !isJSON {
				t.Skip("hclwrite does not always settle at once")
			}
		}
	})
}

func checkDiagnostics(t *testing.T, text []byte, ds rota.Diagnostics) {
	t.Helper()
	last := 0
	for _, d := range ds {
		p := d.Range.Start
		if p.Line < 1 || p.Column < 1 || p.Byte < 0 || p.Byte > len(text) || d.Range.End.Byte < p.Byte || d.Range.End.Byte > len(text) {
			t.Fatalf("a place outside of the text: %+v", d)
		}
		if d.Summary == "" || p.Byte < last && !strings.HasPrefix(d.Summary, "Too many") {
			t.Fatalf("unsorted or empty: %+v", ds)
		}
		last = p.Byte
	}
}

func resolveEverything(t *testing.T, file *jobspecs.File) {
	t.Helper()
	for _, job := range file.Jobs() {
		for i, task := range job.Tasks {
			if i == 20 {
				return
			}
			if _, _, err := rota.ParseKey(string(task.Key)); err != nil {
				t.Fatal(err)
			}
			for _, output := range []string{`null`, `"x"`, `{"x":[1,null]}`} {
				spec, skip, ds := file.Resolve(job.Name, task.Key, "r", func(k rota.TaskKey) (jobspecs.TaskValue, bool) { return delivered(k, output), true })
				if (spec == nil) != (skip || ds.HasErrors()) {
					t.Fatalf("resolve %s: %v %v %v", task.Key, spec, skip, ds)
				}
			}
		}
	}
}
