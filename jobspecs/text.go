package jobspecs

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"

	"github.com/rota-sched/rota"
)

// isJSON reports whether the source is written in HCL's JSON syntax.
func isJSON(filename string) bool { return strings.HasSuffix(strings.ToLower(filename), ".json") }

// parseText turns the text into a syntax tree; nil after an error. Both syntaxes
// give the same tree.
func parseText(r *report, filename string, text []byte) *hclsyntax.Body {
	if !checkText(r, text) {
		return nil
	}
	if isJSON(filename) {
		return parseJSON(r, filename, text)
	}
	if at, summary, detail := tooMuch(text, hclsyntax.LexConfig); at >= 0 {
		r.error(rangeAt(at, 1), summary, detail)
		return nil
	}
	f, diags := hclsyntax.ParseConfig(text, filename, hcl.InitialPos)
	if diags.HasErrors() {
		foldSyntax(r, text, diags)
		return nil
	}
	return f.Body.(*hclsyntax.Body)
}

// checkText refuses what no parser should see: too much, NUL bytes, bytes that
// are no UTF-8.
func checkText(r *report, text []byte) bool {
	if len(text) > rota.MaxSourceBytes {
		r.errorf(rangeAt(rota.MaxSourceBytes, 0), "The job file is too large",
			"It has %d bytes, the limit is %d (1 MiB). Move data into files that the tasks read, or split the job.", len(text), rota.MaxSourceBytes)
		return false
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		r.error(rangeAt(i, 1), "The job file contains a NUL byte",
			"Job files are plain text. If an editor saved it as UTF-16, save it as UTF-8; else remove the byte.")
		return false
	}
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			c, n := utf8.DecodeRune(text[i:])
			if c == utf8.RuneError && n <= 1 {
				break
			}
			i += n
		}
		r.errorf(rangeAt(i, 1), "The job file is not UTF-8",
			"The byte 0x%02X here does not belong to any UTF-8 character. Save the file as UTF-8.", text[i])
		return false
	}
	return true
}

func parseJSON(r *report, filename string, text []byte) *hclsyntax.Body {
	if at, ok := jsonNestsTooDeep(text); ok {
		r.error(rangeAt(at, 1), "Too deeply nested", tooDeepDetail)
		return nil
	}
	f, diags := hcljson.Parse(text, filename)
	if diags.HasErrors() {
		foldSyntax(r, text, diags)
		return nil
	}
	tree := jsonTree{report: r, filename: filename}
	body := tree.body(f.Body, fileShape)
	if r.failed() {
		return nil
	}
	return body
}
