package cmd

import (
	"io"
	"strings"
)

// column is one column of a table.
type column struct {
	title string
	wide  bool // shown only with -o wide
	right bool // numbers stand on the right
}

// cell is a text with its colour.
type cell struct {
	text string
	ink  ink
}

// table is rows under titles; the number of cells of each row is that of columns.
type table struct {
	columns []column
	rows    [][]cell
}

// plain makes a row of cells without colour.
func plain(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i] = cell{text: t}
	}
	return row
}

// write prints the table, aligned. On a terminal the last column is cut so that a
// row stays a line.
func (t *table) write(out screen, wide bool) error {
	shown := make([]int, 0, len(t.columns))
	for i, c := range t.columns {
		if wide || !c.wide {
			shown = append(shown, i)
		}
	}
	widths := t.widths()
	var b strings.Builder
	titles := make([]cell, len(t.columns))
	for i, c := range t.columns {
		titles[i] = cell{text: c.title, ink: inkBold}
	}
	t.line(&b, out, shown, widths, titles)
	for _, row := range t.rows {
		t.line(&b, out, shown, widths, row)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = textWidth(c.title)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i].text = visible(strings.ReplaceAll(row[i].text, "\n", " "))
			widths[i] = max(widths[i], textWidth(row[i].text))
		}
	}
	return widths
}

func (t *table) line(to *strings.Builder, out screen, shown, widths []int, row []cell) {
	var b strings.Builder
	used := 0
	for n, i := range shown {
		text := row[i].text
		pad := strings.Repeat(" ", max(0, widths[i]-textWidth(text)))
		last := n == len(shown)-1
		if n > 0 {
			b.WriteString("  ")
			used += 2
		}
		switch {
		case t.columns[i].right:
			b.WriteString(pad + out.paint(row[i].ink, text))
		case last:
			if out.terminal && out.width-used >= 10 {
				text = cut(text, out.width-used)
			}
			b.WriteString(out.paint(row[i].ink, text))
		default:
			b.WriteString(out.paint(row[i].ink, text) + pad)
		}
		used += widths[i]
	}
	to.WriteString(strings.TrimRight(b.String(), " ") + "\n")
}
