package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rota-sched/rota"
)

// Read gives events after an ID, the oldest first, about limit of them at most
// (an entry's events are cut only at limit, so a page may end within one). No
// events and no error: there are none yet. ErrGone: some after the ID are not kept.
func (h *History) Read(after ID, limit int) ([]rota.Event, error) {
	p := page{after: after, limit: max(limit, 1)}
	h.mu.Lock()
	switch {
	case after.Compare(h.floor) < 0:
		h.mu.Unlock()
		return nil, fmt.Errorf("read events after %s: %w", after, ErrGone)
	case after.Compare(h.before) >= 0:
		i, _ := slices.BinarySearchFunc(h.recent, after, func(e entry, id ID) int { return e.last().Compare(id) })
		recent := slices.Clone(h.recent[i:min(len(h.recent), i+p.limit+1)]) // an entry has one event at least
		h.mu.Unlock()
		for i := range recent {
			if p.full() {
				break
			}
			b := recent[i].batch()
			p.add(&b)
		}
		return p.events, nil
	}
	var list []part
	for _, s := range h.segments {
		if s.last.Compare(after) > 0 {
			s.refs++
			list = append(list, part{segment: s, from: s.seek(after), to: s.end()})
		}
	}
	h.mu.Unlock()
	var err error
	for i := range list {
		if err == nil && !p.full() {
			err = p.read(&list[i])
		}
		h.release(list[i].segment)
	}
	if err != nil {
		return nil, err
	}
	return p.events, nil
}

// part is the stretch of a file that a reader reads.
type part struct {
	segment  *segment
	from, to int64
}

// page collects events for a reader.
type page struct {
	after  ID
	limit  int
	events []rota.Event
}

func (p *page) full() bool { return len(p.events) >= p.limit }

func (p *page) add(b *batch) {
	first := 0
	if b.incarnation == p.after.Incarnation && b.index == p.after.Index {
		first = min(int(p.after.Position)+1, len(b.events))
	} else if b.last().Compare(p.after) < 0 {
		return
	}
	rest := b.events[first:]
	p.events = append(p.events, rest[:min(len(rest), p.limit-len(p.events))]...)
}

func (p *page) read(at *part) error {
	in := bufio.NewReaderSize(io.NewSectionReader(at.segment.file, at.from, at.to-at.from), 64<<10)
	var buf []byte
	for !p.full() {
		payload, err := readRecord(in, &buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events of %s: %w", at.segment.path, err)
		}
		if head, d := decodeHead(payload); !d.bad && head.last().Compare(p.after) <= 0 {
			continue
		}
		b, err := decodeBatch(payload)
		if err != nil {
			return fmt.Errorf("read events of %s: %w", at.segment.path, err)
		}
		p.add(&b)
	}
	return nil
}

// Tail follows the history. It is for one goroutine.
type Tail struct {
	h  *History
	at ID
}

// tailPage bounds what one Next gives.
const tailPage = 512

// Follow begins to follow after an ID. A tail costs nothing while it is not read:
// one that is slow reads from the files what memory no longer has.
func (h *History) Follow(after ID) *Tail { return &Tail{h: h, at: after} }

// Next gives the next events, waiting for one if there is none. ErrGone: the tail
// fell behind what is kept, or history began anew; else ctx's error.
func (t *Tail) Next(ctx context.Context) ([]rota.Event, error) {
	for {
		changed := t.h.Changed()
		events, err := t.h.Read(t.at, tailPage)
		if err != nil {
			return nil, err
		}
		if n := len(events); n > 0 {
			id, err := ParseID(events[n-1].ID)
			if err != nil {
				return nil, err
			}
			t.at = id
			return events, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
