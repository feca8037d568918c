package history

import (
	"fmt"
	"os"
)

// flushBytes is how much is encoded before it is handed to the file.
const flushBytes = 256 << 10

// chunk is a run of records on their way to the file.
type chunk struct {
	bytes   []byte
	records []written
}

type written struct {
	entry
	bytes int64
}

// write encodes jobs and writes them in chunks. Only Run's goroutine writes.
func (h *History) write(jobs []job) {
	var c chunk
	for i := range jobs {
		j := &jobs[i]
		if j.gap {
			h.flush(&c)
			h.begin(j.after)
			continue
		}
		before := len(c.bytes)
		c.bytes = j.append(c.bytes)
		if n := len(c.records); j.events == 0 && n > 0 && c.records[n-1].events == 0 {
			// The older of two entries without events says nothing any more.
			older := before - int(c.records[n-1].bytes)
			c.bytes = append(c.bytes[:older], c.bytes[before:]...)
			c.records, before = c.records[:n-1], older
		}
		c.records = append(c.records, written{entry: j.entry, bytes: int64(len(c.bytes) - before)})
		if len(c.bytes) >= flushBytes {
			h.flush(&c)
		}
	}
	h.flush(&c)
}

// flush writes a chunk behind the newest segment and makes it readable.
func (h *History) flush(c *chunk) {
	if len(c.records) == 0 {
		return
	}
	last := c.records[len(c.records)-1].last()
	if err := h.put(c); err != nil {
		h.cfg.Logger.Warn("events are lost to the disk, history begins anew", "index", last.Index, "error", err)
		h.begin(last)
	}
	c.bytes, c.records = c.bytes[:0], nil
}

func (h *History) put(c *chunk) error {
	s, err := h.active()
	if err != nil {
		return err
	}
	offset := s.end() // only this goroutine moves it
	if _, err := s.file.WriteAt(c.bytes, offset); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	events := false
	for i := range c.records {
		r := &c.records[i]
		s.note(r.last(), offset, r.bytes, r.events == 0)
		offset += r.bytes
		if r.events > 0 {
			h.remember(&r.entry)
			events = true
		}
	}
	h.last = s.last
	if events {
		close(h.changed)
		h.changed = make(chan struct{})
	}
	return nil
}

// active gives the segment to write to, a new one when the newest is full; then
// the oldest leaves.
func (h *History) active() (*segment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.segments)
	if n > 0 && h.segments[n-1].size < h.cfg.MaxBytes/int64(h.cfg.Segments) {
		return h.segments[n-1], nil
	}
	s, err := createSegment(h.cfg.Dir, h.last)
	if err != nil {
		return nil, err
	}
	h.segments = append(h.segments, s)
	for len(h.segments) > h.cfg.Segments {
		h.drop(h.segments[0])
		h.segments = h.segments[1:]
	}
	h.floor = h.segments[0].floor
	return s, nil
}

// remember keeps the newest entries at hand for those who follow.
func (h *History) remember(e *entry) {
	h.recent = append(h.recent, *e)
	h.inRecent += e.events
	for h.inRecent > h.cfg.Recent && len(h.recent) > 1 {
		h.inRecent -= h.recent[0].events
		h.before = h.recent[0].last()
		h.recent[0] = entry{}
		h.recent = h.recent[1:]
	}
}

// begin drops everything: history goes on after an ID.
func (h *History) begin(after ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropAll()
	h.floor, h.last, h.before = after, after, after
	h.recent, h.inRecent = nil, 0
	close(h.changed) // who follows is to hear that it is gone
	h.changed = make(chan struct{})
}

func (h *History) dropAll() {
	for _, s := range h.segments {
		h.drop(s)
	}
	h.segments = nil
}

// drop removes a file; its last reader closes it.
func (h *History) drop(s *segment) {
	if err := os.Remove(s.path); err != nil {
		h.cfg.Logger.Warn("event segment cannot be removed", "file", s.path, "error", err)
	}
	h.leave(s)
}

func (h *History) closeAll() {
	for _, s := range h.segments {
		h.leave(s)
	}
	h.segments = nil
}

// leave closes a file as soon as nobody reads it.
func (h *History) leave(s *segment) {
	s.gone = true
	if s.refs == 0 {
		_ = s.file.Close() // nothing is lost with it: no one waits for its bytes to be durable
	}
}

func (h *History) release(s *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.refs--; s.refs == 0 && s.gone {
		_ = s.file.Close() // see leave
	}
}
