package history

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrGone says that events after the one asked for are not kept any more, or never
// were on this node. Floor tells from where on there are all.
var ErrGone = errors.New("the events asked for are not kept any more")

// ID orders events for ever: the cluster's incarnation, the index of the entry in
// the log, the event's position within the entry. The zero ID is before all.
type ID struct {
	Incarnation uint16
	Index       uint64
	Position    uint32
}

// String is the event's ID on the wire: INC-INDEX-POS.
func (i ID) String() string {
	b := strconv.AppendUint(make([]byte, 0, 24), uint64(i.Incarnation), 10)
	b = strconv.AppendUint(append(b, '-'), i.Index, 10)
	return string(strconv.AppendUint(append(b, '-'), uint64(i.Position), 10))
}

// Compare gives -1, 0 or +1.
func (i ID) Compare(o ID) int {
	return cmp.Or(cmp.Compare(i.Incarnation, o.Incarnation), cmp.Compare(i.Index, o.Index), cmp.Compare(i.Position, o.Position))
}

// ParseID reads what String writes.
func ParseID(s string) (ID, error) {
	parts := strings.Split(s, "-")
	if len(parts) != 3 {
		return ID{}, fmt.Errorf("event id %q: want INC-INDEX-POS", s)
	}
	incarnation, err1 := strconv.ParseUint(parts[0], 10, 16)
	index, err2 := strconv.ParseUint(parts[1], 10, 64)
	position, err3 := strconv.ParseUint(parts[2], 10, 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return ID{}, fmt.Errorf("event id %q: want INC-INDEX-POS: %w", s, err)
	}
	return ID{Incarnation: uint16(incarnation), Index: index, Position: uint32(position)}, nil
}

// After is the ID after all events of an entry.
func After(incarnation uint16, index uint64) ID {
	return ID{Incarnation: incarnation, Index: index, Position: math.MaxUint32}
}
