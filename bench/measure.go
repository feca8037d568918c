package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Names of the machine's limits.
const (
	limitSync     = "fdatasync"            // 1/s
	limitSyncTime = "fdatasync time"       // ms
	limitFork     = "fork+exec"            // 1/s
	limitHTTP     = "HTTP round trip"      // 1/s
	limitHTTPTime = "HTTP round trip time" // ms
)

// line is one figure of a measure.
type line struct {
	name  string
	unit  string
	more  bool   // more is better
	limit string // the machine's limit to put beside it; empty: none says anything
}

// measure is one sub-command.
type measure struct {
	name  string
	short string
	how   string // one sentence: what was done to get the figures
	lines []line
	// once measures one repeat: the values of each line, one or several.
	once func(ctx context.Context, s *settings) (map[string][]float64, error)
	// within bounds one repeat.
	within time.Duration
	alone  bool // too long or too large for `rota bench all`
}

// settings say how to measure.
type settings struct {
	repeats  int
	span     time.Duration // of what is done "for a while"
	kills    int           // of one repeat of failover
	slots    int           // of every node; 0: its own default
	logStore string
	parent   string // directory for all data; empty: the system's for temporary files
	quick    bool
	note     func(format string, args ...any) // progress
}

// run measures all repeats, and the machine's limits before each. After an error the
// figures of the repeats before it are returned beside it.
func (m *measure) run(ctx context.Context, s *settings) ([]Figure, error) {
	values, limits := map[string][]float64{}, map[string][]float64{}
	var err error
	for i := range s.repeats {
		s.note("%s: repeat %d of %d", m.name, i+1, s.repeats)
		if err = m.repeat(ctx, s, values, limits); err != nil {
			err = fmt.Errorf("measure %s: %w", m.name, err)
			break
		}
	}
	var out []Figure
	for _, l := range m.lines {
		if len(values[l.name]) > 0 {
			out = append(out, l.figure(m.how, values[l.name], limits[l.limit]))
		}
	}
	return out, err
}

func (m *measure) repeat(ctx context.Context, s *settings, values, limits map[string][]float64) error {
	ctx, cancel := context.WithTimeout(ctx, m.within)
	defer cancel()
	wanted := map[string]bool{}
	for _, l := range m.lines {
		wanted[l.limit] = true
	}
	delete(wanted, "")
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		v, err := limitOf(ctx, name, s)
		if err != nil {
			return err
		}
		limits[name] = append(limits[name], v)
	}
	got, err := m.once(ctx, s)
	if err != nil {
		return err
	}
	for name, v := range got {
		values[name] = append(values[name], v...)
	}
	return nil
}
