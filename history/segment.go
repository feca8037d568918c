package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A segment file begins with a head: magic, the ID after which its events are all
// there are, and a checksum. Its name sorts by that ID.
const (
	segmentMagic  = "rotaevt1"
	segmentHead   = len(segmentMagic) + 2 + 8 + 4 + 4
	segmentSuffix = ".events"
	markEvery     = 64 << 10 // bytes between two marks
)

// segment is one file. Its fields are guarded by History.mu; the file itself is
// read without it, since bytes before size never change.
type segment struct {
	path  string
	file  *os.File
	floor ID // events up to here are not in it
	last  ID // after its newest record
	size  int64
	// idle is where the record of an entry without events begins that ends the
	// file, and is written over by the next such record; zero: there is none.
	idle  int64
	marks []mark // where records begin, thinned out
	refs  int    // readers at work on the file
	gone  bool   // to be closed by the last of them
}

// mark says that the first record at or after offset is that of an entry.
type mark struct {
	id     ID
	offset int64
}

func segmentName(floor ID) string {
	return fmt.Sprintf("%05d-%020d-%010d%s", floor.Incarnation, floor.Index, floor.Position, segmentSuffix)
}

// createSegment begins a new file, in place of one that was begun at the same ID
// and holds nothing.
func createSegment(dir string, floor ID) (*segment, error) {
	path := filepath.Join(dir, segmentName(floor))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin an event segment: %w", err)
	}
	head := append(make([]byte, 0, segmentHead), segmentMagic...)
	head = binary.LittleEndian.AppendUint16(head, floor.Incarnation)
	head = binary.LittleEndian.AppendUint64(head, floor.Index)
	head = binary.LittleEndian.AppendUint32(head, floor.Position)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	if _, err := f.Write(head); err != nil {
		return nil, errors.Join(fmt.Errorf("begin an event segment: %w", err), f.Close())
	}
	return &segment{path: path, file: f, floor: floor, last: floor, size: int64(segmentHead)}, nil
}

// openSegment reads a file through, cuts off a torn tail, and finds out what it
// holds. An error wraps errRecord if the file is no segment.
func openSegment(path string) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open an event segment: %w", err)
	}
	s := &segment{path: path, file: f}
	if err := s.scan(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the event segment %s: %w", path, err), f.Close())
	}
	if err := f.Truncate(s.size); err != nil {
		return nil, errors.Join(fmt.Errorf("cut the torn tail of %s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *segment) scan() error {
	in := bufio.NewReaderSize(s.file, 256<<10)
	head := make([]byte, segmentHead)
	if _, err := io.ReadFull(in, head); err != nil {
		return errRecord
	}
	body, sum := head[:segmentHead-4], binary.LittleEndian.Uint32(head[segmentHead-4:])
	if !strings.HasPrefix(string(body), segmentMagic) || crc32.Checksum(body, castagnoli) != sum {
		return errRecord
	}
	body = body[len(segmentMagic):]
	s.floor = ID{Incarnation: binary.LittleEndian.Uint16(body), Index: binary.LittleEndian.Uint64(body[2:]), Position: binary.LittleEndian.Uint32(body[10:])}
	s.last, s.size = s.floor, int64(segmentHead)
	var buf []byte
	for {
		payload, err := readRecord(in, &buf)
		if err != nil {
			return nil //nolint:nilerr // a torn or damaged record ends what is kept of the file
		}
		b, d := decodeHead(payload)
		idle := d.uint() == 0
		if d.bad || b.last().Compare(s.last) <= 0 {
			return nil
		}
		s.note(b.last(), s.size, int64(len(payload))+recordHead, idle)
	}
}

// note takes a written record into the account.
func (s *segment) note(last ID, offset, bytes int64, idle bool) {
	if n := len(s.marks); !idle && (n == 0 || offset-s.marks[n-1].offset >= markEvery) {
		s.marks = append(s.marks, mark{id: ID{Incarnation: last.Incarnation, Index: last.Index}, offset: offset})
	}
	s.last, s.size, s.idle = last, offset+bytes, 0
	if idle {
		s.idle = offset
	}
}

// end is where the bytes that never change again end.
func (s *segment) end() int64 {
	if s.idle > 0 {
		return s.idle
	}
	return s.size
}

// seek gives an offset at or before the first record that has events after an ID.
func (s *segment) seek(after ID) int64 {
	i, _ := slices.BinarySearchFunc(s.marks, after, func(m mark, id ID) int { return m.id.Compare(id) })
	if i == 0 {
		return int64(segmentHead)
	}
	return s.marks[i-1].offset
}

// readRecord reads one record's payload into buf. io.EOF at a clean end, else
// errRecord or the reader's error.
func readRecord(in io.Reader, buf *[]byte) ([]byte, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > maxRecordBytes {
		return nil, errRecord
	}
	if int(n) > cap(*buf) {
		*buf = make([]byte, n)
	}
	payload := (*buf)[:n]
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, err
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errRecord
	}
	return payload, nil
}
