package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// stdinName is how a job file read from stdin is called in diagnostics.
const stdinName = "stdin.hcl"

// readSource reads a job file, or stdin for "-", with the files that it names.
func (a *app) readSource(name string) (jobspecs.Source, error) {
	src := jobspecs.Source{Filename: name}
	dir := "."
	var err error
	if name == "-" {
		src.Filename = stdinName
		src.Text, err = readAtMost(a.Stdin, rota.MaxSourceBytes)
		if err == nil && json.Valid(src.Text) {
			src.Filename = "stdin.json"
		}
	} else {
		dir = filepath.Dir(name)
		src.Text, err = readFile(name, rota.MaxSourceBytes)
	}
	if err != nil {
		return src, a.fileFault(name, err)
	}
	if !utf8.Valid(src.Text) { // it could not travel as JSON: said here as a node would
		_, ds := jobspecs.Parse(src, jobspecs.Inputs{AllowMissing: true})
		if ds.HasErrors() {
			return src, specFault(src, ds)
		}
	}
	files, ds := jobspecs.Collect(os.DirFS(dir), src)
	if ds.HasErrors() {
		return src, specFault(src, ds)
	}
	src.Files = files
	return src, nil
}

// specFault is the fault of a job file with errors.
func specFault(src jobspecs.Source, ds rota.Diagnostics) error {
	return &fault{
		code: exitUsage, what: "the job file has errors", why: ds.Error(), kind: "invalid-spec",
		diagnostics: withSnippets(ds, src.Filename, src.Text), cause: ds,
	}
}

// errTooLong says that a file is over the bound it was read with.
var errTooLong = errors.New("too long")

func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return readAtMost(f, most)
}

func readAtMost(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, errTooLong
	}
	return b, err
}

func (a *app) fileFault(name string, err error) error {
	f := &fault{code: exitUsage, what: fmt.Sprintf("%s cannot be read", name), why: plainPathError(err), cause: err}
	switch {
	case errors.Is(err, errTooLong):
		f.what = fmt.Sprintf("%s is over %s, the limit of a job file", name, humanBytes(rota.MaxSourceBytes))
		f.why, f.kind, f.limit = "", "too-large", "source_bytes"
		f.next = "move large texts into files of their own and read them with file() or prompt_file"
	case errors.Is(err, fs.ErrNotExist):
		f.code, f.what, f.why = exitNotFound, fmt.Sprintf("there is no file %s", name), ""
		if _, lookErr := os.Stat(filepath.Dir(name)); lookErr == nil {
			f.next = nearFile(name)
		}
	}
	return f
}

func plainPathError(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// nearFile names a file of the same directory that was probably meant.
func nearFile(name string) string {
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && len(names) < 1000 {
			names = append(names, e.Name())
		}
	}
	if near := nearest(filepath.Base(name), names); near != "" {
		return "did you mean " + filepath.Join(filepath.Dir(name), near) + "?"
	}
	return ""
}

// maxVarFile bounds a file of variables.
const maxVarFile = 1 << 20

// variables reads --var-file and --var into JSON values; a later one wins.
func (a *app) variables(files, pairs []string) (map[string]json.RawMessage, error) {
	vars := map[string]json.RawMessage{}
	for _, name := range files {
		text, err := readFile(name, maxVarFile)
		if err != nil {
			return nil, a.fileFault(name, err)
		}
		if err := parseVarFile(name, text, vars); err != nil {
			return nil, err
		}
	}
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || !rota.IsIdentifier(k) {
			return nil, usage("", "--var %q: want NAME=VALUE", pair)
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode --var %s: %w", k, err)
		}
		vars[k] = b
	}
	return vars, nil
}

func parseVarFile(name string, text []byte, into map[string]json.RawMessage) error {
	if json.Valid(text) {
		if err := json.Unmarshal(text, &into); err != nil || into == nil {
			return usage("", "--var-file %s: want one JSON object of names and values", name)
		}
		return nil
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil || values == nil {
		return usage("write it as a JSON or YAML object: {\"name\": value}", "--var-file %s: it is neither JSON nor YAML with names and values", name)
	}
	for k, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return usage("", "--var-file %s: the value of %s cannot be written as JSON: %s", name, k, err)
		}
		into[k] = b
	}
	return nil
}
