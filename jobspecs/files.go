package jobspecs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/rota-sched/rota"
)

// maxFilesBytes bounds the files sent along with a job. (Source: JOBSPEC.md,
// section 1.6.)
const maxFilesBytes = 1 << 20

// mention is a path, or a pattern of fileset, in a job file.
type mention struct {
	path    string
	pattern bool
	at      hcl.Range
}

// Files lists the files a job file reads with file and templatefile, and the
// patterns of fileset (which Match understands), all below the job file's
// directory, sorted. Only paths written as plain texts are found. A source with
// errors gives what can be found in it.
func Files(src Source) []string {
	var paths []string
	for _, m := range mentions(newReport(src.Filename, src.Text), src) {
		paths = append(paths, m.path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func mentions(r *report, src Source) []mention {
	if !bytes.Contains(src.Text, []byte("file")) {
		return nil
	}
	body := parseText(r, src.Filename, src.Text)
	if body == nil {
		return nil
	}
	var found []mention
	hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics { //nolint:errcheck // the visitor returns none
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			if m, ok := mentionOf(call); ok {
				found = append(found, m)
			}
		}
		return nil
	})
	slices.SortFunc(found, func(a, b mention) int { return a.at.Start.Byte - b.at.Start.Byte })
	return found
}

func mentionOf(call *hclsyntax.FunctionCallExpr) (mention, bool) {
	var texts []string
	for _, arg := range call.Args {
		if v, ok := literal(arg); ok && !v.IsNull() && v.Type() == cty.String {
			texts = append(texts, v.AsString())
		}
	}
	m := mention{at: call.NameRange}
	switch {
	case (call.Name == "file" || call.Name == "templatefile") && len(texts) > 0:
		m.path = texts[0]
	case call.Name == "fileset" && len(texts) == 2:
		m.path, m.pattern = path.Join(texts[0], texts[1]), true
	default:
		return m, false
	}
	clean, err := cleanPath(m.path)
	m.path = clean
	return m, err == nil
}

// Collect reads the files that a job file mentions from the directory it lies in,
// for sending them along with it. Hand it a directory that links cannot lead out
// of, such as os.Root's FS. What cannot be read is reported where it is mentioned.
func Collect(dir fs.FS, src Source) ([]rota.File, rota.Diagnostics) {
	r := newReport(src.Filename, src.Text)
	found := make(map[string][]byte)
	total := 0
	for _, m := range mentions(r, src) {
		names := []string{m.path}
		if m.pattern {
			names = matching(dir, m.path)
		}
		for _, name := range names {
			if _, done := found[name]; done {
				continue
			}
			b, err := fs.ReadFile(dir, name)
			if err != nil {
				r.errorf(m.at, fmt.Sprintf("The file %q cannot be read", name), "%s. It is looked for below the job file's directory.", capital(err.Error()))
				continue
			}
			if total += len(b); total > maxFilesBytes {
				r.errorf(m.at, "The files of the job are too large", "The limit is %d bytes (1 MiB) together. Let the tasks read large files themselves.", maxFilesBytes)
				return nil, r.done()
			}
			found[name] = b
		}
	}
	files := make([]rota.File, 0, len(found))
	for _, name := range sortedKeys(found) {
		files = append(files, rota.File{Path: name, Data: found[name]})
	}
	return files, r.done()
}

// matching lists the files that a pattern means.
func matching(dir fs.FS, pattern string) []string {
	base := "."
	for part := range strings.SplitSeq(path.Dir(pattern), "/") {
		if strings.ContainsAny(part, `*?[\`) {
			break
		}
		base = path.Join(base, part)
	}
	var names []string
	_ = fs.WalkDir(dir, base, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && Match(pattern, name) {
			names = append(names, name)
		}
		return nil // what cannot be looked into has no files for us
	})
	return names
}

// Hash is the identity of a source: the same text, syntax and files are the same
// version of a job. Its name is not part of it.
func Hash(src Source) string {
	h := sha256.New()
	add := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	syntax := "hcl"
	if isJSON(src.Filename) {
		syntax = "json"
	}
	add([]byte(syntax))
	add(src.Text)
	files := slices.Clone(src.Files)
	slices.SortFunc(files, func(a, b rota.File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		add([]byte(f.Path))
		add(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Format writes a job file the way everybody's looks: two blanks per level, equals
// signs in line. A text that begins with a brace is JSON. A text with syntax errors
// gives diagnostics, whose File is empty for the caller to fill in.
func Format(text []byte) ([]byte, rota.Diagnostics) {
	r := newReport("", text)
	isObject := bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(text, byteOrderMark)), []byte("{"))
	name := ""
	if isObject {
		name = ".json"
	}
	if parseText(r, name, text); r.failed() {
		return nil, r.done()
	}
	if isObject {
		var out bytes.Buffer
		if err := json.Indent(&out, text, "", "  "); err != nil {
			r.errorf(rangeAt(0, 0), "This is not JSON", "%v", err)
			return nil, r.done()
		}
		return append(bytes.TrimSpace(out.Bytes()), '\n'), nil
	}
	return hclwrite.Format(text), nil
}

// asText makes a text of a template's result.
func asText(v cty.Value) (cty.Value, error) { return convert.Convert(v, cty.String) }
