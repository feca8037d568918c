package jobspecs

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// addFileFunctions adds the functions that look at the files sent along with the
// source. They never touch a disk.
func addFileFunctions(fns map[string]function.Function, files map[string][]byte) {
	fns["file"] = textFunction(func(name string) (string, error) { return readText(files, name) })
	fns["fileset"] = function.New(&function.Spec{
		Params: []function.Parameter{{Name: "folder", Type: cty.String}, {Name: "pattern", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Set(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return fileSet(files, args[0].AsString(), args[1].AsString())
		},
	})
	inner := maps.Clone(fns) // without templatefile: a template includes no others
	fns["templatefile"] = function.New(&function.Spec{
		Params: []function.Parameter{{Name: "file", Type: cty.String}, {Name: "values", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return templateFile(files, inner, args[0].AsString(), args[1])
		},
	})
}

// cleanPath makes a path of a job file comparable; it must stay below the job
// file's directory.
func cleanPath(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q is not below the job file's directory", shorten(name))
	}
	return clean, nil
}

func readText(files map[string][]byte, name string) (string, error) {
	clean, err := cleanPath(name)
	if err != nil {
		return "", err
	}
	b, ok := files[clean]
	if !ok {
		return "", fmt.Errorf("the file %q was not sent along with the job: write its path as a plain text in the job file, so that it is found", shorten(name))
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("the file %q is no UTF-8 text", shorten(name))
	}
	return string(b), nil
}

func fileSet(files map[string][]byte, folder, pattern string) (cty.Value, error) {
	clean, err := cleanPath(folder)
	if err != nil {
		return cty.NilVal, function.NewArgError(0, err)
	}
	if _, err := cleanPath(pattern); err != nil {
		return cty.NilVal, function.NewArgError(1, err)
	}
	var found []cty.Value
	for _, name := range sortedKeys(files) {
		rest, ok := name, true
		if clean != "." {
			rest, ok = strings.CutPrefix(name, clean+"/")
		}
		if ok && Match(pattern, rest) {
			found = append(found, cty.StringVal(rest))
		}
	}
	if len(found) == 0 {
		return cty.SetValEmpty(cty.String), nil
	}
	return cty.SetVal(found), nil
}

// Match reports whether a slash-separated path is one of those that a pattern of
// fileset means: * and ? within a name, ** for any number of folders.
func Match(pattern, name string) bool {
	patterns, names := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(patterns) > 64 || len(names) > 64 {
		return false
	}
	// row[j]: the patterns so far match the first j names.
	row := make([]bool, len(names)+1)
	row[0] = true
	for _, p := range patterns {
		next := make([]bool, len(names)+1)
		next[0] = row[0] && p == "**"
		for j := range names {
			if p == "**" {
				next[j+1] = next[j] || row[j+1]
				continue
			}
			ok, err := path.Match(p, names[j])
			next[j+1] = row[j] && ok && err == nil
		}
		row = next
	}
	return row[len(names)]
}

func templateFile(files map[string][]byte, fns map[string]function.Function, name string, values cty.Value) (cty.Value, error) {
	text, err := readText(files, name)
	if err != nil {
		return cty.UnknownVal(cty.String), function.NewArgError(0, err)
	}
	if ty := values.Type(); values.IsNull() || !ty.IsObjectType() && !ty.IsMapType() {
		return cty.UnknownVal(cty.String), function.NewArgErrorf(1, "an object with the template's values is required")
	}
	if nestsTooDeep([]byte(text), hclsyntax.LexTemplate) {
		return cty.UnknownVal(cty.String), function.NewArgErrorf(0, "the template is too deeply nested")
	}
	e, diags := hclsyntax.ParseTemplate([]byte(text), name, hcl.InitialPos)
	if diags.HasErrors() {
		return cty.UnknownVal(cty.String), function.NewArgErrorf(0, "%s", oneLine(diags[0]))
	}
	known := values.AsValueMap()
	for _, t := range e.Variables() {
		if root := t.RootName(); !slices.Contains(sortedKeys(known), root) {
			r := t.SourceRange()
			return cty.UnknownVal(cty.String), function.NewArgErrorf(1, "%s:%d:%d: the template mentions %q, which it is not given", name, r.Start.Line, r.Start.Column, root)
		}
	}
	ctx := &hcl.EvalContext{Variables: known, Functions: fns}
	if why := tooMuchWork(e, ctx); why != "" {
		return cty.UnknownVal(cty.String), function.NewArgErrorf(0, "%s", why)
	}
	v, diags := safely(e, ctx)
	if diags.HasErrors() {
		return cty.UnknownVal(cty.String), function.NewArgErrorf(0, "%s", oneLine(diags[0]))
	}
	return asText(v)
}

func oneLine(d *hcl.Diagnostic) string {
	if d.Subject == nil {
		return d.Summary
	}
	return fmt.Sprintf("%s:%d:%d: %s; %s", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column, d.Summary, d.Detail)
}
