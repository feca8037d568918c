package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// follower shows what happens in a run: the status changes of its tasks and what
// they write. For a run of one task its stdout goes to stdout, unless a program
// wants the run's data there.
type follower struct {
	app    *app
	client *api.Client
	run    rota.RunID
	raw    bool
	quiet  bool // only what tasks write, no status changes
	only   bool // everything tasks write is data: to stdout and stderr, with its key

	cancel context.CancelFunc
	over   chan struct{} // closed when the run has ended: no stream is opened again
	events sync.WaitGroup
	logs   sync.WaitGroup
	queue  chan api.EventView // attempts whose logs are to be shown

	mu    sync.Mutex            // guards the two output streams and what follows
	shown map[rota.TaskKey]bool // tasks whose logs were shown, or are on their way
}

const (
	followedLogs = 16     // attempts whose logs are followed at the same time
	waitingLogs  = 10_000 // attempts that wait for that: as many as a run has tasks
	logsPatience = 5 * time.Second
	maxLogLine   = 64 << 10
)

func (a *app) newFollower(ctx context.Context, client *api.Client, run *api.RunView) *follower {
	f := &follower{app: a, client: client, run: run.ID, raw: run.TasksTotal == 1 && !a.structured()}
	f.start(ctx)
	return f
}

func (f *follower) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	f.queue = make(chan api.EventView, waitingLogs)
	f.shown = map[rota.TaskKey]bool{}
	f.over = make(chan struct{})
	f.events.Add(1)
	go f.listen(ctx)
	for range followedLogs {
		f.logs.Add(1)
		go func() {
			defer f.logs.Done()
			for e := range f.queue {
				f.showLogs(ctx, e.Task, e.Attempt)
			}
		}()
	}
}

func (f *follower) seen(*api.RunView) {}

// close ends the following; after a complete run what was written is shown first,
// within some seconds.
func (f *follower) close(ctx context.Context, complete bool) {
	close(f.over)
	if complete {
		late := time.AfterFunc(logsPatience, f.cancel)
		defer late.Stop()
	} else {
		f.cancel()
	}
	f.events.Wait()
	f.logs.Wait()
	if complete {
		f.catchUp(ctx)
	}
	f.cancel()
}

// catchUp shows the logs of tasks whose start was not heard of: a stream of events
// may break, or begin after what it would have told.
func (f *follower) catchUp(ctx context.Context) {
	tasks, err := f.client.RunTasks(ctx, string(f.run))
	if err != nil {
		return
	}
	for _, t := range tasks {
		f.mu.Lock()
		missed := !f.shown[t.Key] && t.StartedAt != 0
		f.mu.Unlock()
		if missed {
			f.showLogs(ctx, t.Key, 0)
		}
	}
}

// listen reads the run's events from its first one to its end, over broken streams
// and changes of the leader.
func (f *follower) listen(ctx context.Context) {
	defer f.events.Done()
	defer close(f.queue)
	last, told := "0", false
	for {
		err := f.hear(ctx, &last)
		if err == nil || ctx.Err() != nil {
			return
		}
		passing := exitOf(f.app.faultOf(err)) == exitTryAgain
		if !told || !passing {
			f.mu.Lock()
			f.app.warn("the events of the run cannot be followed: %s", err)
			f.mu.Unlock()
			told = true
		}
		if !passing || !f.pause(ctx) {
			return
		}
	}
}

// pause waits a moment; false: there is nothing to wait for any more.
func (f *follower) pause(ctx context.Context) bool {
	moment := time.NewTimer(time.Second)
	defer moment.Stop()
	select {
	case <-moment.C:
		return true
	case <-f.over:
	case <-ctx.Done():
	}
	return false
}

// hear reads events after the last one. nil: the run has ended.
func (f *follower) hear(ctx context.Context, last *string) error {
	for e, err := range f.client.Events(ctx, *last, api.EventFilter{Run: string(f.run), End: true}) {
		if err != nil {
			return err
		}
		*last = e.ID
		if e.Type == rota.TaskChange(rota.StatusRunning) {
			f.mu.Lock()
			f.shown[e.Task] = true
			f.mu.Unlock()
			select {
			case f.queue <- *e:
			default:
			}
		}
		if line := f.app.eventLine(e); line != "" && !f.quiet {
			f.mu.Lock()
			f.app.err.line(line)
			f.mu.Unlock()
		}
	}
	return nil
}

// eventLine is an event of a task or run in one line for people; empty for those
// that say nothing to them.
func (a *app) eventLine(e *api.EventView) string {
	at := a.err.paint(inkDim, e.At.Time().Local().Format("15:04:05.000"))
	word, ofTask := strings.CutPrefix(string(e.Type), "task.")
	if !ofTask {
		word = strings.TrimPrefix(string(e.Type), "run.")
		text := "run " + word
		if s, ok := e.Data["status"].(string); ok && word == "finished" {
			text = "run " + s
		}
		return at + " " + a.err.paint(inkBold, visible(text))
	}
	var status rota.Status
	if status.UnmarshalText([]byte(word)) != nil {
		return at + " " + visible(string(e.Task)+" "+word)
	}
	line := at + " " + visible(string(e.Task)) + " " + a.err.paint(inkOfTask(status), word)
	detail := eventDetail(e)
	if detail != "" {
		line += " " + visible(detail)
	}
	return line
}

// eventDetail is what the data of a task's event says: node, attempt, cause,
// message, reason.
func eventDetail(e *api.EventView) string {
	word := func(name string) string {
		s, ok := e.Data[name].(string)
		if !ok {
			return ""
		}
		return s
	}
	var parts []string
	if node := word("node"); node != "" {
		parts = append(parts, "on "+node)
	}
	if e.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("(attempt %d)", e.Attempt))
	}
	why := word("cause")
	if message := word("message"); message != "" {
		why = strings.TrimPrefix(why+": "+message, ": ")
	}
	if why == "" {
		why = word("reason")
	}
	if why != "" {
		parts = append(parts, "- "+why)
	}
	return strings.Join(parts, " ")
}

// showLogs copies both streams of an attempt until it has ended.
func (f *follower) showLogs(ctx context.Context, key rota.TaskKey, attempt uint64) {
	var both sync.WaitGroup
	defer both.Wait()
	for _, stream := range []string{"stdout", "stderr"} {
		both.Go(func() {
			log, err := f.client.TaskLogs(ctx, string(f.run), string(key), api.LogOptions{Stream: stream, Attempt: attempt, Follow: true})
			if err != nil {
				f.missing(ctx, key, stream, err)
				return
			}
			defer log.Close() //nolint:errcheck // it was only read
			if f.raw {
				f.copyRaw(log, stream)
				return
			}
			f.copyLines(log, key, stream)
		})
	}
}

// missing says once, for stdout, that the logs of an attempt cannot be shown. A
// driver that writes none is no reason to.
func (f *follower) missing(ctx context.Context, key rota.TaskKey, stream string, err error) {
	if ctx.Err() != nil || stream != "stdout" || errors.Is(err, rota.ErrNotFound) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.app.warn("the logs of %s cannot be shown: %s", key, err)
}

// copyRaw copies a stream as it is.
func (f *follower) copyRaw(log io.Reader, stream string) {
	to := f.app.Stdout
	if stream == "stderr" {
		to = f.app.Stderr
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := log.Read(buf)
		if n > 0 {
			f.mu.Lock()
			_, writeErr := to.Write(buf[:n])
			f.mu.Unlock()
			if writeErr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// copyLines copies a stream line by line with the task's key before each.
func (f *follower) copyLines(log io.Reader, key rota.TaskKey, stream string) {
	to := f.app.err
	if f.only && stream == "stdout" {
		to = f.app.out
	}
	prefix := to.paint(inkBlue, visible(string(key))+" | ")
	lines := bufio.NewReaderSize(log, maxLogLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			f.mu.Lock()
			_, writeErr := fmt.Fprintln(to, prefix+visible(strings.TrimRight(string(line), "\r\n")))
			f.mu.Unlock()
			if writeErr != nil {
				return
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
