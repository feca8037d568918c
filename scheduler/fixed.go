package scheduler

import "math/bits"

// one is 1 in the fixed-point numbers of this package.
const (
	oneBits = 16
	one     = 1 << oneBits
)

// divide is a*b/c to the nearest, and 0 for c = 0.
func divide(a, b, c uint64) uint64 {
	if c == 0 {
		return 0
	}
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c/2, 0)
	if hi += carry; hi >= c {
		return 1 << 62 // no quotient of this package comes near
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// root is the square root, rounded down.
func root(x uint64) uint64 {
	r := uint64(0)
	for bit := uint64(1) << 31; bit > 0; bit >>= 1 {
		if t := r | bit; t*t <= x {
			r = t
		}
	}
	return r
}

// weighted is the product of two fixed-point numbers, to the nearest.
func weighted(a, b int64) int64 { return (a*b + one/2) / one }
