package rota

import (
	"fmt"
	"strings"
)

// Severity of a diagnostic.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Position is a place in a text: line and column from 1 (columns count
// characters), byte from 0.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	Byte   int `json:"byte"`
}

// Range is a stretch of text, end excluded.
type Range struct {
	Start Position `json:"start"`
	End   Position `json:"end"`
}

// Diagnostic is one thing that is wrong, or odd, with a text a person wrote.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`
	Detail   string   `json:"detail"` // why, and what to do; "Did you mean" where there is a likely word
	File     string   `json:"file"`
	Range    Range    `json:"range"`
	Snippet  string   `json:"snippet,omitempty"` // the line it starts on, without its end
}

// String is the one-line form: file:line:column: summary; detail.
func (d Diagnostic) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", d.File, d.Range.Start.Line, d.Range.Start.Column, d.Summary)
	if d.Detail != "" {
		s += "; " + d.Detail
	}
	return s
}

// Diagnostics is sorted by position.
type Diagnostics []Diagnostic

// HasErrors reports whether one of them is an error.
func (ds Diagnostics) HasErrors() bool {
	for _, d := range ds {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}

// Error joins the one-line forms; Diagnostics is an error when HasErrors.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}
