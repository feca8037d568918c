package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
	"unicode/utf8"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// Bounds of an array of lines that is sent at once.
const (
	linesAtOnce    = 1000
	lineBytes      = 4 << 20 // of an array
	maxLine        = rota.MaxSpecValues
	linePatience   = 30 * time.Second // without a line that gets through
	lineRetryPause = time.Second
)

// lineAnswer is what became of one line, for -o json.
type lineAnswer struct {
	Line    int          `json:"line"` // from 1
	ID      rota.RunID   `json:"id,omitempty"`
	Existed bool         `json:"existed,omitempty"`
	Problem *api.Problem `json:"problem,omitempty"`
}

// lineFeeder sends lines as runs, in arrays.
type lineFeeder struct {
	app     *app
	client  *api.Client
	base    *api.SubmitRequest
	key     string
	started int
	failed  int
	first   *api.Problem // of the first line that was refused
}

// dispatchLines starts a run for each line.
func (a *app) dispatchLines(ctx context.Context, client *api.Client, base *api.SubmitRequest, o *dispatchOptions) error {
	in := a.Stdin
	if o.eachLine != "-" {
		f, err := os.Open(o.eachLine)
		if err != nil {
			return a.fileFault(o.eachLine, err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	feed := &lineFeeder{app: a, client: client, base: base, key: o.key}
	if err := feed.all(ctx, in); err != nil {
		f := *a.faultOf(err)
		f.next = fmt.Sprintf("%d lines were started; send all again with --idempotency-key %s, and they are not started twice", feed.started, o.key)
		return &f
	}
	if feed.failed > 0 {
		code := exitOfKind(feed.first.Kind())
		return &fault{
			code: code, kind: feed.first.Type, what: fmt.Sprintf("%d of %d lines started no run", feed.failed, feed.failed+feed.started),
			next: "the lines above say why; with --idempotency-key " + o.key + " the others are not started twice",
		}
	}
	a.note("%s started", count(feed.started, "run"))
	return nil
}

// all sends the lines as they come, an array at a time.
func (l *lineFeeder) all(ctx context.Context, in io.Reader) error {
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 64<<10), maxLine+2)
	var items []api.SubmitRequest
	var lines []int
	size, number := 0, 0
	flush := func() error {
		err := l.send(ctx, items, lines)
		items, lines, size = items[:0], lines[:0], 0
		return err
	}
	for scan.Scan() {
		number++
		text := scan.Bytes()
		if n := len(text); n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
		}
		if len(text) == 0 {
			continue
		}
		item, err := l.item(text, number)
		if err != nil {
			return err
		}
		items, lines, size = append(items, item), append(lines, number), size+len(item.Event)
		if len(items) == linesAtOnce || size > lineBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return errors.Join(flush(), usage("let the job read large data itself", "line %d is over %s, the limit of an input", number+1, humanBytes(maxLine)))
	}
	if scan.Err() != nil {
		return fmt.Errorf("read the lines: %w", scan.Err())
	}
	return flush()
}

// item makes a request of a line: JSON if it is that, else a text.
func (l *lineFeeder) item(text []byte, number int) (api.SubmitRequest, error) {
	if !utf8.Valid(text) {
		return api.SubmitRequest{}, usage("convert the file to UTF-8", "line %d is not UTF-8, so it cannot travel as JSON", number)
	}
	item := *l.base
	item.Key = fmt.Sprintf("%s/%d", l.key, number)
	if json.Valid(text) {
		item.Event = append(json.RawMessage(nil), text...)
		return item, nil
	}
	b, err := json.Marshal(string(text))
	if err != nil {
		return item, fmt.Errorf("encode line %d: %w", number, err)
	}
	item.Event = b
	return item, nil
}

// send sends an array, and what was refused for the moment again, until all have an
// answer or nothing got through for a while.
func (l *lineFeeder) send(ctx context.Context, items []api.SubmitRequest, lines []int) error {
	answers := make([]lineAnswer, len(items))
	open := make([]int, len(items))
	for i := range items {
		open[i] = i
		answers[i].Line = lines[i]
	}
	last := time.Now()
	for len(open) > 0 {
		part := make([]api.SubmitRequest, len(open))
		for k, i := range open {
			part[k] = items[i]
		}
		got, err := l.client.SubmitMany(ctx, part, l.key)
		if err != nil {
			return l.show(answers, err)
		}
		var again []int
		for k, i := range open {
			answers[i].ID, answers[i].Existed, answers[i].Problem = got[k].ID, got[k].Existed, got[k].Problem
			if passing(got[k].Problem) {
				again = append(again, i)
			}
		}
		if len(again) < len(open) {
			last = time.Now()
		}
		open = again
		if len(open) == 0 || time.Since(last) > linePatience {
			break
		}
		if err := pauseABit(ctx); err != nil {
			return l.show(answers, err)
		}
	}
	return l.show(answers, nil)
}

// passing reports whether a refusal may be gone in a moment.
func passing(p *api.Problem) bool {
	if p == nil {
		return false
	}
	return exitOfKind(p.Kind()) == exitTryAgain
}

// pauseABit waits between one and two seconds, so that many clients do not come back
// at once.
func pauseABit(ctx context.Context) error {
	t := time.NewTimer(lineRetryPause + rand.N(lineRetryPause))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// show tells of the lines that have an answer.
func (l *lineFeeder) show(answers []lineAnswer, err error) error {
	told := make([]lineAnswer, 0, len(answers))
	for _, n := range answers {
		switch {
		case n.ID != "":
			l.started++
		case n.Problem != nil:
			l.failed++
			if l.first == nil {
				l.first = n.Problem
			}
			if !l.app.structured() {
				l.app.note("line %d: %s", n.Line, n.Problem.Error())
			}
		default:
			continue
		}
		told = append(told, n)
	}
	return errors.Join(l.app.showLines(told), err)
}

// showLines writes IDs for people and -o name, and one JSON object a line.
func (a *app) showLines(told []lineAnswer) error {
	w := bufio.NewWriter(a.out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range told {
		var err error
		switch {
		case a.flags.output == "json":
			err = enc.Encode(&told[i])
		case told[i].ID != "":
			_, err = fmt.Fprintln(w, told[i].ID)
		}
		if err != nil {
			return err
		}
	}
	return w.Flush()
}
