package jobspecs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/rota-sched/rota"
)

// Values of job files: durations, sizes, cores. (Source: JOBSPEC.md, section 3.)

// parseDuration reads Go's durations and days: 90s, 1h30m, 2d. It refuses
// negative ones.
func parseDuration(s string) (time.Duration, error) {
	const hint = `want a number with a unit, such as 500ms, 30s, 5m, 2h or 1d`
	text := strings.TrimSpace(s)
	days := time.Duration(0)
	if before, after, ok := strings.Cut(text, "d"); ok {
		n, err := rota.ScaleDecimal(before, int64(24*time.Hour))
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration%s: %s", s, durationHint(s), hint)
		}
		days, text = time.Duration(n), after
		if text == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || strings.HasPrefix(text, "+") && days > 0 {
		return 0, fmt.Errorf("%q is not a duration%s: %s", s, durationHint(s), hint)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative: a duration begins at 0s", s)
	}
	if d+days < 0 {
		return 0, fmt.Errorf("%q is not a duration: %w", s, rota.ErrOverflow)
	}
	return d + days, nil
}

// durationHint proposes the short form of durations written in words.
func durationHint(s string) string {
	fields := strings.Fields(strings.ToLower(s))
	if len(fields) != 2 {
		return ""
	}
	for _, unit := range []struct{ word, short string }{
		{"milli", "ms"}, {"ms", "ms"}, {"sec", "s"}, {"s", "s"}, {"min", "m"}, {"m", "m"}, {"hour", "h"}, {"hr", "h"}, {"h", "h"}, {"day", "d"}, {"d", "d"},
	} {
		if strings.HasPrefix(fields[1], unit.word) {
			if _, err := parseDuration(fields[0] + unit.short); err == nil {
				return fmt.Sprintf(" (did you mean %q?)", fields[0]+unit.short)
			}
			return ""
		}
	}
	return ""
}

// parseCores reads a number of cores as thousandths of one: 4, 0.5, 500m.
func parseCores(s string) (int64, error) {
	text, unit := strings.TrimSpace(s), int64(1000)
	if milli, ok := strings.CutSuffix(text, "m"); ok {
		text, unit = milli, 1
	}
	n, err := rota.ScaleDecimal(text, unit)
	switch {
	case errors.Is(err, rota.ErrNegative):
		return 0, fmt.Errorf("%q is negative: cpu begins at 0", s)
	case err != nil:
		return 0, fmt.Errorf("%q is not a number of cores: want 4, 0.5 or \"500m\"", s)
	}
	return n, nil
}

// numberText writes a number of the language with at most six decimals, for the
// parsers of this file.
func numberText(v cty.Value) string {
	f := v.AsBigFloat()
	if f.IsInf() {
		return "infinity"
	}
	if f.IsInt() {
		return f.Text('f', 0)
	}
	return f.Text('f', 6)
}
