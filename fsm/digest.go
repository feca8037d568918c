package fsm

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Digest stands for a whole state: two states with equal digests hold equal
// records. It tells replicas that diverged from those that did not; it is no
// defence against someone who picks records in order to collide.
type Digest struct{ hi, lo uint64 }

// String is the digest in 32 hexadecimal digits.
func (d Digest) String() string { return fmt.Sprintf("%016x%016x", d.hi, d.lo) }

// add and sub work modulo 2^128, so the sum over all records is the same in
// whatever order they came and went.
func (d Digest) add(o Digest) Digest {
	lo, carry := bits.Add64(d.lo, o.lo, 0)
	hi, _ := bits.Add64(d.hi, o.hi, carry)
	return Digest{hi: hi, lo: lo}
}

func (d Digest) sub(o Digest) Digest {
	lo, borrow := bits.Sub64(d.lo, o.lo, 0)
	hi, _ := bits.Sub64(d.hi, o.hi, borrow)
	return Digest{hi: hi, lo: lo}
}

// The multipliers are odd 64-bit numbers without structure (the first digits of
// pi, e and two square roots in hexadecimal).
const (
	mixA = 0x243f6a8885a308d3
	mixB = 0xb7e151628aed2a6b
	mixC = 0x6a09e667f3bcc909
	mixD = 0xbb67ae8584caa73b
)

// fold multiplies to 128 bits and folds the halves: every input bit reaches every
// output bit.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash is the digest of one record: its kind and its encoded bytes. Two lanes with
// different multipliers see every word, so that a word which blinds one lane (a
// factor of zero) does not blind the other.
func hash(kind byte, b []byte) Digest {
	h := Digest{hi: mixA ^ uint64(kind)*mixC, lo: mixB ^ uint64(len(b))*mixD}
	for len(b) >= 8 {
		h = h.word(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	var tail uint64
	for i, c := range b {
		tail |= uint64(c) << (8 * i)
	}
	h = h.word(tail)
	h.hi, h.lo = fold(h.hi^h.lo, mixD|1), fold(h.lo^mixA, h.hi^mixB)
	return Digest{hi: fold(h.hi^mixB, mixC), lo: fold(h.lo^mixC, mixA)}
}

func (d Digest) word(w uint64) Digest {
	return Digest{
		hi: fold(d.hi^w, mixC) + bits.RotateLeft64(w, 29),
		lo: fold(d.lo+w, mixB) ^ bits.RotateLeft64(d.hi, 17),
	}
}

// join makes the digest of a record from the digests of its parts, in order.
func (d Digest) join(o Digest) Digest { return d.word(o.hi).word(o.lo) }

// draw is a random number for one purpose: of the entry's seed and what it is for.
func draw(seed uint64, run, key string, n uint64) uint64 {
	h := Digest{hi: seed ^ mixA, lo: n ^ mixB}
	for i := range len(run) {
		h = h.word(uint64(run[i]))
	}
	for i := range len(key) {
		h = h.word(uint64(key[i]) + 256)
	}
	h = h.word(n)
	return fold(h.hi^mixD, h.lo|1)
}
