package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rota-sched/rota"
)

// humanDuration writes a duration with at most two units: 340ms, 12.3s, 2m05s,
// 3h12m, 4d6h.
func humanDuration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + humanDuration(-d)
	case d == 0:
		return "0s"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + "µs"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%d.%ds", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// humanAge is how long ago an instant was, in one unit: 5s ago, 3m ago, 2d ago.
// It compares the cluster's time with this machine's clock, so a small negative
// age is "now".
func humanAge(i rota.Instant, now time.Time) string {
	if i == 0 {
		return "-"
	}
	d := now.Sub(i.Time())
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	default:
		return fmt.Sprintf("%dd ago", d/(24*time.Hour))
	}
}

// humanSpan is the time between two instants; up to now if it has not ended; "-"
// if it never began.
func humanSpan(from, to rota.Instant, now time.Time) string {
	if from == 0 {
		return "-"
	}
	end := now
	if to != 0 {
		end = to.Time()
	}
	return humanDuration(max(0, end.Sub(from.Time())))
}

// humanBytes writes a size with a binary unit: 0, 512B, 1.5GiB.
func humanBytes(n int64) string {
	if n < 0 {
		return "-" + humanBytes(-n)
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + "B"
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit, size := 0, n
	for size >= 1024*1024 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	whole, tenth := size/1024, size%1024*10/1024
	if tenth == 0 || whole >= 100 {
		return strconv.FormatInt(whole, 10) + units[unit]
	}
	return fmt.Sprintf("%d.%d%s", whole, tenth, units[unit])
}

// humanCores writes thousandths of a core as cores: 4, 0.5, 0.125.
func humanCores(milli int64) string {
	if milli%1000 == 0 {
		return strconv.FormatInt(milli/1000, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", milli/1000, milli%1000), "0")
}

// count writes a number with its noun: 1 task, 3 tasks.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// dash shows that there is nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// textWidth is how many columns a text takes on a terminal: wide East Asian
// characters count twice, combining marks not at all.
func textWidth(s string) int {
	w := 0
	for _, r := range s {
		w += runeWidth(r)
	}
	return w
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
		r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	}
	return 1
}

// cut shortens a text to at most width columns, the last of them an ellipsis.
// Width 0 cuts nothing.
func cut(s string, width int) string {
	if width <= 0 || textWidth(s) <= width {
		return s
	}
	w := 0
	for i, r := range s {
		if w+runeWidth(r) > width-1 {
			return s[:i] + "…"
		}
		w += runeWidth(r)
	}
	return s
}

// wrap breaks a text into lines of at most width columns at spaces; the text's
// own line ends stay.
func wrap(s string, width int) []string {
	var lines []string
	for para := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		line := ""
		for word := range strings.FieldsSeq(para) {
			switch {
			case line == "":
				line = word
			case textWidth(line)+1+textWidth(word) > width:
				lines = append(lines, line)
				line = word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}
