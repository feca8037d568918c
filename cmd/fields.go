package cmd

import (
	"fmt"
	"io"
	"strings"
)

// fields is a list of names and values, one a line, for one thing in full.
type fields struct {
	out   screen
	names []string
	texts []string
}

func newFields(out screen) *fields { return &fields{out: out} }

// add appends a field; an empty value leaves it out.
func (f *fields) add(name, format string, args ...any) {
	f.paint(name, inkNone, fmt.Sprintf(format, args...))
}

// paint appends a field with a colour.
func (f *fields) paint(name string, c ink, text string) {
	if text == "" {
		return
	}
	f.names = append(f.names, name)
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = f.out.paint(c, visible(lines[i]))
	}
	f.texts = append(f.texts, strings.Join(lines, "\n"))
}

func (f *fields) write() error {
	width := 0
	for _, n := range f.names {
		width = max(width, textWidth(n))
	}
	var b strings.Builder
	for i, n := range f.names {
		pad := strings.Repeat(" ", width-textWidth(n))
		lines := strings.Split(f.texts[i], "\n")
		b.WriteString(f.out.paint(inkBold, n) + pad + "  " + strings.Join(lines, "\n"+strings.Repeat(" ", width+2)) + "\n")
	}
	_, err := io.WriteString(f.out, b.String())
	return err
}
