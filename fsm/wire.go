package fsm

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rota-sched/rota"
)

// The encoding: fields in a fixed order, unsigned numbers as varints, signed ones
// as zigzag varints, texts and lists with their length in front. Nothing is
// optional by its absence, so equal values have equal bytes, and a decoder that
// has read everything has read exactly what was written.

// ErrWire says that bytes are not what this version of the encoding writes.
var ErrWire = errors.New("malformed bytes")

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendInt[T ~int | ~int64](b []byte, v T) []byte { return binary.AppendVarint(b, int64(v)) }

func appendText[T ~string](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendTexts[T ~string](b []byte, list []T) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

// reader takes values off the front of its bytes. The first thing wrong is kept
// and everything read after it is zero. Its results share no memory with the bytes.
type reader struct {
	b   []byte
	err error
	// Texts that repeat from item to item are made once.
	run, key, node, boot, other string
	seen                        *shelf // nil: every spec is made anew
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrWire, what)
	}
	r.b = nil
}

// end reports what was wrong, or that bytes are left over.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("bytes left over")
	}
	return r.err
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("ends too early")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bool() bool {
	c := r.byte()
	if c > 1 {
		r.fail("not a bool")
	}
	return c == 1
}

func (r *reader) uint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		c := r.b[0]
		r.b = r.b[1:]
		return uint64(c)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || r.b[n-1] == 0 { // a longer form than needed has a second spelling
		r.fail("not a number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int64() int64 {
	u := r.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) int() int { return int(r.int64()) }

func (r *reader) uint16() uint16 {
	v := r.uint()
	if v > 1<<16-1 {
		r.fail("number over 16 bits")
		return 0
	}
	return uint16(v)
}

func (r *reader) enum(most uint8) uint8 {
	c := r.byte()
	if c > most {
		r.fail("unknown word")
		return 0
	}
	return c
}

func (r *reader) instant() rota.Instant         { return rota.Instant(r.int64()) }
func (r *reader) duration() time.Duration       { return time.Duration(r.int64()) }
func (r *reader) fixed64() uint64               { return r.fixed(8) }
func (r *reader) digest() Digest                { return Digest{hi: r.fixed64(), lo: r.fixed64()} }
func appendDigest(b []byte, d Digest) []byte    { return appendFixed(appendFixed(b, d.hi), d.lo) }
func appendFixed(b []byte, v uint64) []byte     { return binary.LittleEndian.AppendUint64(b, v) }
func (r *reader) runID() rota.RunID             { return rota.RunID(r.again(&r.run)) }
func (r *reader) nodeID() rota.NodeID           { return rota.NodeID(r.again(&r.node)) }
func (r *reader) taskID() rota.TaskID           { return rota.TaskID{Run: r.runID(), Key: r.taskKey()} }
func (r *reader) taskKey() rota.TaskKey         { return rota.TaskKey(r.again(&r.key)) }
func (r *reader) again(last *string) string     { return r.known(r.raw(), last) }
func (r *reader) text() string                  { return string(r.raw()) }
func (r *reader) bytes() []byte                 { return r.clone(r.raw()) }
func (r *reader) json() json.RawMessage         { return r.clone(r.raw()) }
func (r *reader) clone(b []byte) []byte         { return append([]byte(nil), b...) }
func appendTask(b []byte, t rota.TaskID) []byte { return appendText(appendText(b, t.Run), t.Key) }

func (r *reader) known(b []byte, last *string) string {
	if string(b) != *last {
		*last = string(b)
	}
	return *last
}

func (r *reader) fixed(n int) uint64 {
	if len(r.b) < n {
		r.fail("ends too early")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[n:]
	return v
}

// raw takes a length and that many bytes, without a copy.
func (r *reader) raw() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail("ends too early")
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

// count takes the length of a list whose items have at least least bytes each, so
// that no list is made which its bytes cannot fill.
func (r *reader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.b)/least) {
		r.fail("list longer than its bytes")
		return 0
	}
	return int(n)
}

// list takes a list; nil if it is empty.
func list[T any](r *reader, least int, item func(*reader) T) []T {
	n := r.count(least)
	if n == 0 {
		return nil
	}
	l := make([]T, 0, n)
	for range n {
		l = append(l, item(r))
		if r.err != nil {
			return nil
		}
	}
	return l
}

func texts[T ~string](r *reader) []T {
	return list(r, 1, func(r *reader) T { return T(r.text()) })
}
