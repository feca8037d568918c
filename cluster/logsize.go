package cluster

// logSize knows how many bytes of the log lie after an entry, and how many entries
// the last so many bytes are. It keeps a mark for every markBytes of the log, so it
// may be off by as much; a log of 1 GiB has 16,000 marks.
type logSize struct {
	total uint64     // bytes stored since the ledger was opened, those before the first entry included
	marks []sizeMark // ascending
	last  uint64     // newest entry
}

// sizeMark says that the log up to and with an entry has so many bytes.
type sizeMark struct{ index, total uint64 }

const (
	markBytes  = 64 << 10
	entryBytes = 64 // of an entry beside its data, about: its header in the store
)

// add counts an entry at the end.
func (s *logSize) add(index uint64, data int) {
	s.cut(index) // Raft drops what is replaced before; nothing to do then
	s.total += uint64(data) + entryBytes
	s.last = index
	if n := len(s.marks); n == 0 || s.total-s.marks[n-1].total >= markBytes {
		s.marks = append(s.marks, sizeMark{index, s.total})
	}
}

// cut forgets the entries from index on, to a mark.
func (s *logSize) cut(index uint64) {
	if index > s.last {
		return
	}
	for n := len(s.marks); n > 0 && s.marks[n-1].index >= index; n = len(s.marks) {
		s.marks = s.marks[:n-1]
	}
	if n := len(s.marks); n > 0 {
		s.total = s.marks[n-1].total
	}
	s.last = index - 1
}

// drop forgets the entries up to and with index.
func (s *logSize) drop(index uint64) {
	n := 0
	for n+1 < len(s.marks) && s.marks[n+1].index <= index {
		n++
	}
	s.marks = append(s.marks[:0], s.marks[n:]...)
}

// after is how many bytes the entries after index have.
func (s *logSize) after(index uint64) uint64 {
	if index >= s.last {
		return 0
	}
	base := uint64(0)
	if len(s.marks) > 0 {
		base = s.marks[0].total
	}
	for i := len(s.marks) - 1; i >= 0; i-- {
		if s.marks[i].index <= index {
			base = s.marks[i].total
			break
		}
	}
	return s.total - base
}

// within is how many of the newest entries have so many bytes together: 1 or more,
// once there is one.
func (s *logSize) within(bytes uint64) uint64 {
	for i := len(s.marks) - 1; i >= 0; i-- {
		if s.total-s.marks[i].total > bytes {
			return max(1, s.last-s.marks[i].index)
		}
	}
	if len(s.marks) == 0 {
		return 0
	}
	return s.last - s.marks[0].index + 1
}
