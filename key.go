package rota

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TaskKey addresses a task within its run: the task's label, with the instance
// in brackets where the task is fanned out: plan, square[a], test[debian,1.26].
// (Source: JOBSPEC.md, section 3, "Keys on the wire".)
type TaskKey string

// MaxKeyBytes bounds a key, escapes included.
const MaxKeyBytes = 128

// MakeKey builds the key of a task's instance. Without values it is the label
// itself. Every byte of a value outside A-Za-z0-9._- and the letters of UTF-8 is
// written as %XX. A label that is no identifier, or a key over MaxKeyBytes, is
// an error.
func MakeKey(label string, values ...string) (TaskKey, error) {
	if !IsIdentifier(label) {
		return "", fmt.Errorf("%q is not a task name: want a letter or underscore, then letters, digits, - or _", label)
	}
	k := label
	if len(values) > 0 {
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = escapeAxis(v)
		}
		k += "[" + strings.Join(parts, ",") + "]"
	}
	if len(k) > MaxKeyBytes {
		return "", fmt.Errorf("the task key %q has %d bytes, the limit is %d: use shorter names or values", k, len(k), MaxKeyBytes)
	}
	return TaskKey(k), nil
}

// ParseKey splits a key into its label and the unescaped values of its instance
// (nil for a task that is not fanned out). It accepts exactly what MakeKey makes.
func ParseKey(s string) (label string, values []string, err error) {
	label, rest, fanned := strings.Cut(s, "[")
	if fanned {
		inner, ok := strings.CutSuffix(rest, "]")
		if !ok {
			return "", nil, fmt.Errorf("task key %q: the bracket is not closed", s)
		}
		for part := range strings.SplitSeq(inner, ",") {
			v, err := unescapeAxis(part)
			if err != nil {
				return "", nil, fmt.Errorf("task key %q: %w", s, err)
			}
			values = append(values, v)
		}
	}
	made, err := MakeKey(label, values...)
	if err != nil {
		return "", nil, err
	}
	if string(made) != s {
		return "", nil, fmt.Errorf("task key %q: want it written as %q", s, made)
	}
	return label, values, nil
}

// Label is the name of the task that the key is an instance of.
func (k TaskKey) Label() string {
	label, _, _ := strings.Cut(string(k), "[")
	return label
}

// IsIdentifier reports whether s may name a job, task or wait: a letter or
// underscore followed by letters, digits, underscores and dashes.
func IsIdentifier(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			return false
		}
		if unicode.IsLetter(r) || r == '_' || i > 0 && (unicode.IsDigit(r) || r == '-') {
			continue
		}
		return false
	}
	return s != ""
}

const hexDigits = "0123456789ABCDEF"

func escapeAxis(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if plainAxisRune(r, n) {
			b.WriteString(s[i : i+n])
		} else {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteByte('%')
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		}
		i += n
	}
	return b.String()
}

func plainAxisRune(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size == 1:
		return false
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		return true
	default:
		return r >= utf8.RuneSelf && unicode.IsLetter(r)
	}
}

func unescapeAxis(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%q ends inside an escape", s)
		}
		hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("%q is not an escape: want %% and two upper-case hex digits", s[i:i+3])
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}
