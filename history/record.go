package history

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/rota-sched/rota"
)

// One record holds the events of one entry, so that a torn tail loses whole
// entries: length and CRC-32C of the payload (4 bytes each, little-endian), then
// the payload.

const (
	recordHead     = 8
	maxRecordBytes = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a table that never changes

var errRecord = errors.New("malformed record")

// batch is what one record holds.
type batch struct {
	incarnation uint16
	index       uint64
	at          rota.Instant
	events      []rota.Event
}

func (b *batch) last() ID { return After(b.incarnation, b.index) }

// id is that of the next event to be added.
func (b *batch) id() string {
	return ID{Incarnation: b.incarnation, Index: b.index, Position: uint32(len(b.events))}.String()
}

func appendText[T ~string](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Kinds of values in an event's data.
const (
	valueText byte = iota + 1
	valueInt
)

// append encodes the record of an entry and counts its events.
func (e *entry) append(out []byte) []byte {
	start := len(out)
	e.events = 0
	for i := range e.applied.Changes {
		if isEvent(&e.applied.Changes[i]) {
			e.events++
		}
	}
	var head [recordHead]byte
	out = append(out, head[:]...)
	out = binary.AppendUvarint(out, uint64(e.incarnation))
	out = binary.AppendUvarint(out, e.applied.Index)
	out = binary.AppendVarint(out, int64(e.applied.At))
	out = binary.AppendUvarint(out, uint64(e.events))
	var room [8]fact
	for i := range e.applied.Changes {
		c := &e.applied.Changes[i]
		if !isEvent(c) {
			continue
		}
		run, task := subject(c)
		out = appendText(appendText(appendText(out, c.Type), run), task)
		out = binary.AppendUvarint(out, c.Attempt)
		facts := factsOf(room[:0], c)
		out = binary.AppendUvarint(out, uint64(len(facts)))
		for _, f := range facts {
			out = appendText(out, f.key)
			if f.isText {
				out = appendText(append(out, valueText), f.text)
			} else {
				out = binary.AppendVarint(append(out, valueInt), f.number)
			}
		}
	}
	payload := out[start+recordHead:]
	binary.LittleEndian.PutUint32(out[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(out[start+4:], crc32.Checksum(payload, castagnoli))
	return out
}

// decoder takes values off the front; the first thing wrong makes the rest zero.
type decoder struct {
	b    []byte
	bad  bool
	last string // a text that repeats is made once
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) text() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return ""
	}
	s := d.b[:n]
	d.b = d.b[n:]
	if string(s) != d.last {
		d.last = string(s)
	}
	return d.last
}

// decodeHead reads only what orders a record.
func decodeHead(payload []byte) (batch, *decoder) {
	d := &decoder{b: payload}
	incarnation := d.uint()
	if incarnation > 1<<16-1 {
		d.bad = true
	}
	return batch{incarnation: uint16(incarnation), index: d.uint(), at: rota.Instant(d.int())}, d
}

func decodeBatch(payload []byte) (batch, error) {
	b, d := decodeHead(payload)
	n := d.uint()
	if n > uint64(len(d.b))/5 { // the shortest event has five bytes
		return batch{}, errRecord
	}
	b.events = make([]rota.Event, 0, n)
	for range n {
		e := rota.Event{
			ID: b.id(), Index: b.index, At: b.at,
			Type: rota.ChangeType(d.text()), Run: rota.RunID(d.text()), Task: rota.TaskKey(d.text()), Attempt: d.uint(),
		}
		pairs := d.uint()
		if pairs > uint64(len(d.b)) {
			return batch{}, errRecord
		}
		e.Data = make(map[string]any, min(pairs, 16))
		for range pairs {
			k := d.text()
			switch d.byte() {
			case valueText:
				e.Data[k] = d.text()
			case valueInt:
				e.Data[k] = d.int()
			default:
				return batch{}, errRecord
			}
		}
		b.events = append(b.events, e)
	}
	if d.bad || len(d.b) > 0 {
		return batch{}, errRecord
	}
	return b, nil
}
