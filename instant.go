package rota

import (
	"fmt"
	"time"
)

// Instant is a moment of the cluster's own time, in nanoseconds since the Unix
// epoch. Zero means "not reached"; it is null in JSON, everything else RFC 3339
// with nanoseconds. The state machine knows no other clock than Entry.At.
type Instant int64

// InstantOf converts a wall time. The zero time gives the zero Instant.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixNano())
}

// Time converts back, in UTC; the zero Instant gives the zero time.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// Add moves the instant by d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub is the time from o to i.
func (i Instant) Sub(o Instant) time.Duration { return time.Duration(i - o) }

// MarshalJSON implements json.Marshaler.
func (i Instant) MarshalJSON() ([]byte, error) {
	if i == 0 {
		return []byte("null"), nil
	}
	b := make([]byte, 0, len(time.RFC3339Nano)+2)
	b = append(b, '"')
	b = i.Time().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *Instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*i = 0
		return nil
	}
	t, err := time.Parse(`"`+time.RFC3339Nano+`"`, string(b))
	if err != nil {
		return fmt.Errorf("instant %s: want RFC 3339 or null: %w", b, err)
	}
	*i = InstantOf(t)
	return nil
}
