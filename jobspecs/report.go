package jobspecs

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"github.com/rota-sched/rota"
)

// Bounds of what is told at once.
const (
	maxDiagnostics  = 100
	maxSnippetBytes = 1000
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// report collects what is wrong with one text. It is told byte ranges and works
// out lines and columns itself, so that both syntaxes count alike.
type report struct {
	file    string
	text    []byte
	lines   []int // where each line starts; made when first needed
	list    rota.Diagnostics
	seen    map[string]bool
	total   int // with those that were dropped
	dropped int
}

func newReport(file string, text []byte) *report {
	return &report{file: file, text: text, seen: make(map[string]bool)}
}

func (r *report) error(at hcl.Range, summary, detail string) {
	r.add(rota.SeverityError, at, summary, detail)
}

func (r *report) errorf(at hcl.Range, summary, detail string, args ...any) {
	r.add(rota.SeverityError, at, summary, fmt.Sprintf(detail, args...))
}

// add notes a diagnostic once: the same words at the same place are one mistake,
// however many instances run into it.
func (r *report) add(severity rota.Severity, at hcl.Range, summary, detail string) {
	key := fmt.Sprintf("%d %s", at.Start.Byte, summary)
	if r.seen[key] {
		return
	}
	r.seen[key] = true
	r.total++
	if severity == rota.SeverityError && len(r.list) >= maxDiagnostics {
		r.dropped++
		return
	}
	rng := rota.Range{Start: r.position(at.Start.Byte), End: r.position(max(at.Start.Byte, at.End.Byte))}
	r.list = append(r.list, rota.Diagnostic{
		Severity: severity, Summary: summary, Detail: detail, File: r.file, Range: rng, Snippet: r.snippet(rng.Start),
	})
}

// failed reports whether an error was noted.
func (r *report) failed() bool { return r.list.HasErrors() }

// done gives everything noted, sorted by position.
func (r *report) done() rota.Diagnostics {
	slices.SortStableFunc(r.list, func(a, b rota.Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Range.Start.Byte, b.Range.Start.Byte),
			strings.Compare(string(a.Severity), string(b.Severity)),
			strings.Compare(a.Summary, b.Summary),
		)
	})
	if r.dropped > 0 {
		last := r.list[len(r.list)-1]
		last.Summary = "Too many errors"
		last.Detail = fmt.Sprintf("%d more are not shown; fix these first.", r.dropped)
		r.list = append(r.list, last)
		r.dropped = 0
	}
	return r.list
}

// position turns a byte offset into line and column, both from 1; the column
// counts characters.
func (r *report) position(offset int) rota.Position {
	r.index()
	offset = min(max(offset, 0), len(r.text))
	line := sort.SearchInts(r.lines, offset+1) - 1
	if line < 0 {
		return rota.Position{Line: 1, Column: 1, Byte: offset}
	}
	return rota.Position{Line: line + 1, Column: utf8.RuneCount(r.text[r.lines[line]:offset]) + 1, Byte: offset}
}

func (r *report) index() {
	if r.lines != nil {
		return
	}
	first := 0
	if bytes.HasPrefix(r.text, byteOrderMark) {
		first = len(byteOrderMark)
	}
	r.lines = append(r.lines, first)
	for i, c := range r.text {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
}

// snippet is the line a position stands on, without its end; empty if the line
// is too long to be shown or is not text.
func (r *report) snippet(p rota.Position) string {
	if p.Line < 1 || p.Line > len(r.lines) {
		return ""
	}
	line := r.text[r.lines[p.Line-1]:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > maxSnippetBytes {
		return ""
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(line), "\x00", "\uFFFD"), "\uFFFD")
}

// rangeAt is a range of n bytes for texts that have no syntax tree.
func rangeAt(offset, n int) hcl.Range {
	return hcl.Range{Start: hcl.Pos{Byte: offset}, End: hcl.Pos{Byte: offset + n}}
}
