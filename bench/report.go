package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Report is everything one call of `rota bench` found out.
type Report struct {
	Version  string   `json:"version"`
	Go       string   `json:"go"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	Cores    int      `json:"cores"`
	LogStore string   `json:"log_store"`
	Data     string   `json:"data"` // directory that the data lay in
	Disk     string   `json:"disk"` // its file system; empty: not known
	Quick    bool     `json:"quick"`
	Figures  []Figure `json:"figures"`
}

// Figure is one measured thing with all its repeats.
type Figure struct {
	Name    string    `json:"name"`
	How     string    `json:"how"`
	Unit    string    `json:"unit"`
	Repeats []float64 `json:"repeats"` // in the order they were measured
	Median  float64   `json:"median"`
	Worst   float64   `json:"worst"`
	Limit   *Limit    `json:"limit"` // null: nothing about the machine compares
	Ratio   float64   `json:"ratio"` // median to the limit's median; 0 without
}

// Limit is what the machine does by itself, measured before each repeat.
type Limit struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Repeats []float64 `json:"repeats"`
	Median  float64   `json:"median"`
}

// figure puts the values of a line together; there is at least one.
func (l line) figure(how string, values, limits []float64) Figure {
	f := Figure{Name: l.name, How: how, Unit: l.unit, Repeats: values, Median: median(values), Worst: percentile(values, 100)}
	if l.more {
		f.Worst = percentile(values, 0)
	}
	if len(limits) > 0 {
		f.Limit = &Limit{Name: l.limit, Unit: unitOfLimit(l.limit), Repeats: limits, Median: median(limits)}
		if f.Limit.Median > 0 {
			f.Ratio = f.Median / f.Limit.Median
		}
	}
	return f
}

func unitOfLimit(name string) string {
	switch name {
	case limitSyncTime, limitHTTPTime:
		return "ms"
	default:
		return "1/s"
	}
}

func (r *Report) writeJSON(w io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// writeTable writes the figures as a table, and how each was measured below it.
func (r *Report) writeTable(w io.Writer) error {
	var b strings.Builder
	disk := r.Data
	if r.Disk != "" {
		disk += " (" + r.Disk + ")"
	}
	quick := ""
	if r.Quick {
		quick = ", quick"
	}
	fmt.Fprintf(&b, "rota %s, %s, %s/%s, %d cores, log store %s, data in %s%s\n\n", r.Version, r.Go, r.OS, r.Arch, r.Cores, r.LogStore, disk, quick)
	rows := [][]string{{"MEASURE", "UNIT", "REPEATS", "MEDIAN", "WORST", "MACHINE'S LIMIT", "RATIO"}}
	for i := range r.Figures {
		rows = append(rows, r.Figures[i].row())
	}
	writeRows(&b, rows)
	b.WriteString("\nHow it was measured:\n")
	last := ""
	for i := range r.Figures {
		if f := &r.Figures[i]; f.How != last {
			fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.How)
			last = f.How
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Figure) row() []string {
	repeats := make([]string, len(f.Repeats))
	for i, v := range f.Repeats {
		repeats[i] = number(v)
	}
	limit, ratio := "-", "-"
	if f.Limit != nil {
		limit = fmt.Sprintf("%s %s (%s)", number(f.Limit.Median), f.Limit.Unit, f.Limit.Name)
		ratio = number(f.Ratio)
	}
	return []string{f.Name, f.Unit, strings.Join(repeats, " "), number(f.Median), number(f.Worst), limit, ratio}
}

// writeRows aligns the columns; the first row is the titles.
func writeRows(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var text strings.Builder
		for i, cell := range row {
			text.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

// number shows three significant digits, and whole numbers from 100 on.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1 || a == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
