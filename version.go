package rota

import (
	"cmp"
	"fmt"
	"strings"
)

// Versions as programs and kernels write them: numbers with dots, perhaps a v before
// and more behind: v1.24.2, 6.1.0-18-amd64, 2.0.0-rc.1+build7. Missing numbers are 0.
// What follows a plus sign does not count, nor what follows a dash if it begins with a
// digit, as in the releases of distributions; if it begins with a letter it is a
// pre-release, older than the version itself.

const (
	maxVersionNumbers = 8
	maxVersionRanges  = 16
	maxVersionBytes   = 256
)

// versionBound is one comparison of a range.
type versionBound struct {
	operator string
	version  versionNumbers
}

type versionNumbers struct {
	numbers [maxVersionNumbers]string // without leading zeros
	pre     string                    // pre-release; empty: none
}

// parseVersion reads a version; false if it is none.
func parseVersion(s string) (v versionNumbers, ok bool) {
	if len(s) > maxVersionBytes {
		return v, false
	}
	s = strings.TrimPrefix(strings.TrimSpace(s), "v")
	s, _, _ = strings.Cut(s, "+")
	core, rest, dashed := strings.Cut(s, "-")
	if dashed && rest != "" && (rest[0] < '0' || rest[0] > '9') {
		v.pre = rest
	}
	parts := strings.Split(core, ".")
	if len(parts) > maxVersionNumbers {
		return v, false
	}
	for i, part := range parts {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return v, false
		}
		v.numbers[i] = strings.TrimLeft(part, "0")
	}
	return v, true
}

func (v *versionNumbers) compare(o *versionNumbers) int {
	for i := range v.numbers {
		if c := compareDigits(v.numbers[i], o.numbers[i]); c != 0 {
			return c
		}
	}
	if v.pre == "" || o.pre == "" {
		return cmp.Compare(len(o.pre), len(v.pre)) // none is the newest
	}
	return comparePre(v.pre, o.pre)
}

// compareDigits compares numbers of any length without leading zeros.
func compareDigits(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// comparePre compares pre-releases part by part: numbers as numbers and before words,
// words by bytes, the shorter list first.
func comparePre(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		isX, isY := strings.Trim(x, "0123456789") == "", strings.Trim(y, "0123456789") == ""
		c := 0
		switch {
		case isX && isY:
			c = compareDigits(strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0"))
		case isX:
			c = -1
		case isY:
			c = 1
		default:
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// parseRanges reads comparisons that must all hold, separated by commas: >= 1.2, < 2.
// Without an operator the version must be equal.
func parseRanges(s string) ([]versionBound, error) {
	if len(s) > maxVersionBytes {
		return nil, fmt.Errorf("the range has %d bytes, the limit is %d", len(s), maxVersionBytes)
	}
	parts := strings.Split(s, ",")
	if len(parts) > maxVersionRanges {
		return nil, fmt.Errorf("the range has %d parts, the limit is %d", len(parts), maxVersionRanges)
	}
	bounds := make([]versionBound, 0, len(parts))
	for _, part := range parts {
		part = strings.TrimSpace(part)
		b := versionBound{operator: "="}
		for _, op := range [...]string{">=", "<=", "!=", ">", "<", "="} {
			if rest, found := strings.CutPrefix(part, op); found {
				b.operator, part = op, rest
				break
			}
		}
		var ok bool
		if b.version, ok = parseVersion(part); !ok {
			return nil, fmt.Errorf("%q is no version: want comparisons such as \">= 1.2, < 2\" with = != < <= > >=", clipped(strings.TrimSpace(part)))
		}
		bounds = append(bounds, b)
	}
	return bounds, nil
}

// within reports whether the fact is a version that all bounds hold of.
func within(bounds []versionBound, fact string) bool {
	v, ok := parseVersion(fact)
	if !ok || len(bounds) == 0 {
		return false
	}
	for i := range bounds {
		if !bounds[i].holds(v.compare(&bounds[i].version)) {
			return false
		}
	}
	return true
}

// holds reports whether a version that compares so is within the bound.
func (b *versionBound) holds(c int) bool {
	switch b.operator {
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}
