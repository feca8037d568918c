package jobspecs

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// Values of job files: durations, sizes, cores. (Source: JOBSPEC.md, section 3.)

var errOverflow = errors.New("it is too large")

// parseDuration reads Go's durations and days: 90s, 1h30m, 2d. It refuses
// negative ones.
func parseDuration(s string) (time.Duration, error) {
	const hint = `want a number with a unit, such as 500ms, 30s, 5m, 2h or 1d`
	text := strings.TrimSpace(s)
	days := time.Duration(0)
	if before, after, ok := strings.Cut(text, "d"); ok {
		n, err := decimal(before, int64(24*time.Hour))
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
		return 0, fmt.Errorf("%q is not a duration: %w", s, errOverflow)
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

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
	{"", 1},
}

// parseSize reads a number of bytes: 512MiB, 1.5GB, 1024. Parts of a byte are cut
// off.
func parseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := decimal(strings.TrimSpace(number), unit.bytes)
		switch {
		case errors.Is(err, errNegative):
			return 0, fmt.Errorf("%q is negative: a size begins at 0", s)
		case errors.Is(err, errOverflow):
			return 0, fmt.Errorf("%q is not a size: %w", s, errOverflow)
		case err == nil:
			return n, nil
		}
		break
	}
	return 0, fmt.Errorf("%q is not a size: want a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 512MiB or 1.5GB", s)
}

// parseCores reads a number of cores as thousandths of one: 4, 0.5, 500m.
func parseCores(s string) (int64, error) {
	text, unit := strings.TrimSpace(s), int64(1000)
	if milli, ok := strings.CutSuffix(text, "m"); ok {
		text, unit = milli, 1
	}
	n, err := decimal(text, unit)
	switch {
	case errors.Is(err, errNegative):
		return 0, fmt.Errorf("%q is negative: cpu begins at 0", s)
	case err != nil:
		return 0, fmt.Errorf("%q is not a number of cores: want 4, 0.5 or \"500m\"", s)
	}
	return n, nil
}

var (
	errNegative = errors.New("it is negative")
	errNumber   = errors.New("it is not a number")
)

// decimal reads digits with at most one point and multiplies by unit, all in
// integers; what is below one is cut off.
func decimal(s string, unit int64) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	if whole+frac == "" || strings.Trim(whole+frac, "0123456789") != "" || len(s) > 40 {
		return 0, errNumber
	}
	n, ok := new(big.Int).SetString(whole+frac, 10)
	if !ok {
		return 0, errNumber
	}
	n.Mul(n, big.NewInt(unit))
	n.Quo(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(frac))), nil))
	switch {
	case negative && n.Sign() != 0:
		return 0, errNegative
	case !n.IsInt64():
		return 0, errOverflow
	}
	return n.Int64(), nil
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
