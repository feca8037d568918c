package rota

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Why a number could not be read.
var (
	ErrNotNumber = errors.New("it is not a number")
	ErrNegative  = errors.New("it is negative")
	ErrOverflow  = errors.New("it is too large")
)

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

// ParseSize reads a number of bytes as job files and flags write it: 512MiB,
// 1.5GB, 1024. Parts of a byte are cut off. The error says what is wanted.
func ParseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := ScaleDecimal(strings.TrimSpace(number), unit.bytes)
		switch {
		case errors.Is(err, ErrNegative):
			return 0, fmt.Errorf("%q is negative: a size begins at 0", s)
		case errors.Is(err, ErrOverflow):
			return 0, fmt.Errorf("%q is not a size: %w", s, ErrOverflow)
		case err == nil:
			return n, nil
		}
		break
	}
	return 0, fmt.Errorf("%q is not a size: want a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as 512MiB or 1.5GB", s)
}

// ScaleDecimal reads digits with at most one point and multiplies by unit, all in
// integers; what is below one is cut off. The error is ErrNotNumber, ErrNegative
// or ErrOverflow.
func ScaleDecimal(s string, unit int64) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	if whole+frac == "" || strings.Trim(whole+frac, "0123456789") != "" || len(s) > 40 {
		return 0, ErrNotNumber
	}
	n, ok := new(big.Int).SetString(whole+frac, 10)
	if !ok {
		return 0, ErrNotNumber
	}
	n.Mul(n, big.NewInt(unit))
	n.Quo(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(frac))), nil))
	switch {
	case negative && n.Sign() != 0:
		return 0, ErrNegative
	case !n.IsInt64():
		return 0, ErrOverflow
	}
	return n.Int64(), nil
}
