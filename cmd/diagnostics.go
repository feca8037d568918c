package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rota-sched/rota"
)

// maxDiagnostics is how many diagnostics are shown in full; the rest is counted.
const maxDiagnostics = 20

// snippetColumns is the longest piece of a line that is shown; the caret is in it.
const snippetColumns = 110

// writeDiagnostics shows what is wrong with a text: where, the line with a caret
// under the place, why, what to do. It ends with a count of errors.
func writeDiagnostics(out screen, ds rota.Diagnostics) {
	errs, warnings := 0, 0
	for _, d := range ds {
		if d.Severity == rota.SeverityError {
			errs++
		} else {
			warnings++
		}
	}
	for i, d := range ds {
		if i == maxDiagnostics {
			out.line(fmt.Sprintf("... and %d more\n", len(ds)-i))
			break
		}
		writeDiagnostic(out, d)
	}
	var parts []string
	if errs > 0 {
		parts = append(parts, count(errs, "error"))
	}
	if warnings > 0 {
		parts = append(parts, count(warnings, "warning"))
	}
	if len(parts) > 0 {
		out.line(strings.Join(parts, ", "))
	}
}

func writeDiagnostic(out screen, d rota.Diagnostic) {
	severity, colour := "error", inkRed
	if d.Severity == rota.SeverityWarning {
		severity, colour = "warning", inkYellow
	}
	out.line(out.paint(colour, severity+":") + " " + out.paint(inkBold, visible(d.Summary)))
	number := strconv.Itoa(d.Range.Start.Line)
	margin := strings.Repeat(" ", len(number)+1)
	bar := out.paint(inkBlue, "|")
	if d.File != "" || d.Range.Start.Line > 0 {
		out.line(margin + out.paint(inkBlue, "-->") + " " + visible(place(d)))
	}
	if d.Range.Start.Line > 0 && strings.TrimSpace(d.Snippet) != "" {
		text, caret := snippet(d)
		out.line(margin + " " + bar)
		out.line(" " + out.paint(inkBlue, number) + " " + bar + " " + text)
		out.line(margin + " " + bar + " " + out.paint(colour, caret))
	}
	if d.Detail != "" {
		width := 96
		if out.width > 20 {
			width = min(width, out.width-4)
		}
		for _, line := range wrap(d.Detail, width) {
			out.line("  " + visible(line))
		}
	}
	out.line("")
}

// place is file:line:column, without the parts that are not known.
func place(d rota.Diagnostic) string {
	file := d.File
	if file == "" {
		file = "(input)"
	}
	if d.Range.Start.Line == 0 {
		return file
	}
	return file + ":" + strconv.Itoa(d.Range.Start.Line) + ":" + strconv.Itoa(d.Range.Start.Column)
}

// lineOf is a diagnostic on one line for editors: file:line:column: words.
func lineOf(d rota.Diagnostic) string {
	s := place(d) + ": "
	if d.Severity == rota.SeverityWarning {
		s += "warning: "
	}
	s += oneLine(d.Summary)
	if d.Detail != "" {
		s += ": " + oneLine(d.Detail)
	}
	return visible(s)
}

// snippet gives the diagnostic's line as it can be shown, and a line of carets
// under its range: tabs become spaces, control characters pictures, and a long
// line is cut around the place.
func snippet(d rota.Diagnostic) (text, caret string) {
	from := max(0, d.Range.Start.Column-1)
	length := 1
	switch {
	case d.Range.End.Line > d.Range.Start.Line:
		length = utf8.RuneCountInString(strings.TrimRight(d.Snippet, " \t\r")) - from
	case d.Range.End.Column > d.Range.Start.Column:
		length = d.Range.End.Column - d.Range.Start.Column
	}
	var before, under, after strings.Builder
	n := 0
	for _, r := range d.Snippet {
		shown := visible(string(r))
		if r == '\t' {
			shown = "  "
		}
		switch {
		case n < from:
			before.WriteString(shown)
		case n < from+max(1, length):
			under.WriteString(shown)
		default:
			after.WriteString(shown)
		}
		n++
	}
	head, mid, tail := before.String(), under.String(), after.String()
	if over := textWidth(head) - snippetColumns/2; over > 0 && textWidth(head+mid+tail) > snippetColumns {
		head = "…" + dropColumns(head, over)
	}
	text = cut(head+mid+tail, snippetColumns)
	width := max(1, min(textWidth(mid), snippetColumns-textWidth(head)))
	return text, strings.Repeat(" ", textWidth(head)) + strings.Repeat("^", width)
}

// dropColumns removes at least n columns from the front of a text.
func dropColumns(s string, n int) string {
	for i, r := range s {
		if n <= 0 {
			return s[i:]
		}
		n -= runeWidth(r)
	}
	return ""
}

// withSnippets fills in the lines that diagnostics about the text start on.
func withSnippets(ds rota.Diagnostics, file string, text []byte) rota.Diagnostics {
	lines := strings.Split(string(text), "\n")
	for i := range ds {
		at := ds[i].Range.Start.Line
		if ds[i].Snippet == "" && ds[i].File == file && at >= 1 && at <= len(lines) {
			ds[i].Snippet = strings.TrimRight(lines[at-1], "\r")
		}
	}
	return ds
}
