package scheduler

import "math/bits"

// Fixed point of deviceValues: probabilities with 32 binary digits, values with 16.
const (
	chanceBits = 32
	valueBits  = 16
	// patience is the weight of a device's being left as it is: 0.01.
	patience = (1 << chanceBits) / 100
	// eagerness is how sharply demands choose the devices where they waste least,
	// per thousandth; rounds is how often the values are refined.
	eagerness = 20
	rounds    = 60
)

// deviceValues is the expected final waste of one device by the hundredths of it
// that are free, in thousandths. p[s] is the part of the demands that ask for s
// hundredths of one device, in 1/2^32.
//
// A device with x free is asked by demands of size s with probability p[s] times a
// preference exp(-20 (harm here - harm on an empty device)); it ends where nobody
// fits any more. The values and the preferences depend on each other, so both are
// refined together, sixty times, half way each time.
func deviceValues(p [101]int64) [101]int64 {
	var v, next [101]int64
	e := newPowers()
	for x := range v {
		v[x] = int64(10*x) << valueBits
	}
	for range rounds {
		for x := 1; x <= 100; x++ {
			next[x] = expectedWaste(x, &e, &p, &v, &next)
		}
		for x := 1; x <= 100; x++ {
			v[x] = (v[x] + next[x]) / 2
		}
	}
	for x := range v {
		v[x] = (v[x] + 1<<(valueBits-1)) >> valueBits
	}
	return v
}

// expectedWaste is one entry of a round.
func expectedWaste(x int, e *powers, p, v, next *[101]int64) int64 {
	hi, lo := bits.Mul64(patience, uint64(10*x)<<valueBits)
	weight := uint64(patience)
	for s := 1; s <= x; s++ {
		if p[s] == 0 {
			continue
		}
		harm := (next[x-s] - v[x]) - (v[100-s] - v[100])
		q, rest := bits.Mul64(uint64(p[s]), e.of(-harm*eagerness/1000*(1<<(chanceBits-valueBits))))
		q = q<<(64-chanceBits) | rest>>chanceBits
		h, l := bits.Mul64(q, uint64(next[x-s]))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi += h + carry
		weight += q
	}
	mean, _ := bits.Div64(hi, lo, weight) // a mean of values under 2^26, so it fits
	return int64(mean)
}

// ln2 is the natural logarithm of 2, with chanceBits binary digits.
const ln2 = 2977044472

// powers raises e: entry j is e^(j/64), with chanceBits binary digits.
type powers [45]uint64

func newPowers() (e powers) {
	for j := range e {
		x, term := uint64(j)<<(chanceBits-6), uint64(1)<<chanceBits
		for n := uint64(1); term > 0; n++ {
			e[j] += term
			term = term * x >> chanceBits / n
		}
	}
	return e
}

// of is e^x, both with chanceBits binary digits, for x between -20 and 20; beyond
// that it is as at the border. What is left of x after halving and the table is so
// small that four terms of the series are exact.
func (e *powers) of(x int64) uint64 {
	const border = 20 << chanceBits
	x = min(max(x, -border), border)
	k := x / ln2
	if x%ln2 < 0 {
		k--
	}
	r := uint64(x - k*ln2) // 0 .. ln2
	j := r >> (chanceBits - 6)
	r &= 1<<(chanceBits-6) - 1
	square := r * r >> chanceBits
	cube := square * r >> chanceBits
	sum := 1<<chanceBits + r + square/2 + cube/6 + cube*r>>chanceBits/24
	hi, lo := bits.Mul64(e[j], sum)
	sum = hi<<(64-chanceBits) | lo>>chanceBits
	if k < 0 {
		return sum >> uint(-k)
	}
	return sum << uint(k)
}
