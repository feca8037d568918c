package nemesis

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// fault is one thing that goes wrong, and what may come of it.
type fault struct {
	name string
	hold time.Duration // how long it lasts
	do   func(w *world) (heal func())
	// overlap: it breaks an assumption of the promise, so two attempts may run at
	// once; they are counted and not held against it.
	overlap bool
	// quiet: the clients do little, since the fault is about something else.
	quiet bool
	// mayFail: tasks may fail for good; they are counted.
	mayFail bool
	// deaf: nobody can be asked for the events that were kept.
	deaf bool
}

// usualPause is how long a client waits between two requests.
const usualPause = 15 * time.Millisecond

// suffer lets clients work while something goes wrong, and counts afterwards.
func (w *world) suffer(t *testing.T, tl *tail, f fault) {
	t.Helper()
	outer := w.t
	t.Run(strings.ReplaceAll(f.name, " ", "_"), func(t *testing.T) {
		w.t = t
		defer func() { w.t = outer }()
		pause := usualPause
		if f.quiet {
			pause = 500 * time.Millisecond
		}
		l := w.work(strings.ReplaceAll(f.name, " ", "-"), pause)
		defer l.stop()
		l.warm(t)
		from, fromUp := time.Now(), upNow()
		heal := f.do(w)
		sleep(t.Context(), f.hold)
		heal()
		healed := time.Now()
		w.ready(w.nodes...)
		l.warm(t)
		back := time.Since(healed)
		sleep(t.Context(), time.Second)
		to, toUp := time.Now(), upNow()
		l.stop()
		w.judge(t, tl, l, f, row{
			fault: f.name, held: f.hold, writes: l.longestGap(from, to), back: back,
			starts: startGap(w.lines(), fromUp, toUp), again: rerun(w.lines(), fromUp),
		})
	})
}

// judge is what every fault ends with: everything that is due starts, everything
// ends, and the counts agree.
func (w *world) judge(t *testing.T, tl *tail, l *load, f fault, r row) {
	t.Helper()
	w.started(t, l.name)
	w.ended(t, l.name)
	there := w.agree(t, l.name)
	if f.deaf {
		tl = nil
	}
	r.acknowledged = l.count(t, tl, there, f.mayFail)
	r.digests = w.digests(t, w.nodes...)
	r.history = l.legal(t)
	found := overlaps(w.lines())
	r.overlaps = len(found)
	if len(found) > 0 && !f.overlap {
		t.Errorf("two attempts ran at once: %s", strings.Join(found, "\n"))
	}
	if len(found) > 0 { // they are this fault's, not the next one's
		_ = os.Rename(w.evidence(), w.evidence()+"."+l.name)
	}
	r.heard = l.words()
	for _, note := range w.notes {
		r.heard += "; " + note
	}
	w.notes = nil
	r.failed = t.Failed()
	r.write(t)
}

// warm waits until some submissions are acknowledged from now on.
func (l *load) warm(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	before := len(l.acks)
	l.mu.Unlock()
	eventually(t, within, "submissions are accepted", func() (string, bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.wordsLocked(), len(l.acks) > before+20
	})
}

// note keeps something worth a word in the table.
func (w *world) note(format string, args ...any) {
	w.notes = append(w.notes, strings.ReplaceAll(fmt.Sprintf(format, args...), "|", "/"))
}

// words is what the clients heard, the most frequent first.
func (l *load) words() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wordsLocked()
}

func (l *load) wordsLocked() string {
	var keys []string
	for k := range l.heard {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return l.heard[b] - l.heard[a] })
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%d %s", l.heard[k], k))
	}
	return strings.Join(out, ", ")
}

// row is one line of the table of faults.
type row struct {
	fault                      string
	held, writes, starts, back time.Duration
	again, overlaps, digests   int
	acknowledged               int
	history, heard             string
	failed                     bool
}

// tableHead explains the lines of a report.
const tableHead = "| fault | held | longest without an accepted write | longest without a process start | working again after the heal | attempts run again | two at once | acknowledged, lost | operations, linearizable | digests compared | what clients heard |\n|---|---|---|---|---|---|---|---|---|---|---|"

func (r row) write(t *testing.T) {
	t.Helper()
	lost := fmt.Sprintf("%d, 0", r.acknowledged)
	if r.failed {
		lost = "FAILED"
	}
	text := fmt.Sprintf("| %s | %s | %s | %s | %s | %d | %d | %s | %s | %d | %s |", r.fault, seconds(r.held), seconds(r.writes), seconds(r.starts),
		seconds(r.back), r.again, r.overlaps, lost, r.history, r.digests, r.heard)
	t.Log(text)
	report(t, text)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// report appends a line to the file that ROTA_NEMESIS_REPORT names.
func report(t *testing.T, text string) {
	t.Helper()
	to := os.Getenv(envReport)
	if to == "" {
		return
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		text = tableHead + "\n" + text
	}
	if _, err := fmt.Fprintln(f, text); err != nil {
		t.Error(err)
	}
}
