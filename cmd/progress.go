package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// ticker shows a run in plain lines, where no terminal is: one line when its
// counts changed, more seldom the longer it takes.
type ticker struct {
	app   *app
	began time.Time
	last  time.Time
	line  string
}

func (t *ticker) seen(run *api.RunView) {
	line := fmt.Sprintf("run %s %s: %s", run.ID, run.Status, paintless(run.TaskCounts))
	pause := min(max(time.Second, time.Since(t.began)/20), time.Minute)
	if line == t.line || !run.Status.Terminal() && time.Since(t.last) < pause {
		return
	}
	t.line, t.last = line, time.Now()
	t.app.note("%s", line)
}

func (t *ticker) close(context.Context, bool) {}

// progress is the live view on a terminal: a bar of the tasks by status, their
// counts, and the tasks that run, drawn over itself.
type progress struct {
	app    *app
	client *api.Client
	began  time.Time
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex // guards what follows
	run   *api.RunView
	tasks []api.TaskView // running ones, as last asked for
	drawn int            // lines on the screen
}

const (
	redrawEvery  = 200 * time.Millisecond
	askEvery     = time.Second // for the running tasks
	progressRows = 8           // running tasks shown at most
)

func (a *app) newProgress(ctx context.Context, client *api.Client, run *api.RunView) *progress {
	ctx, cancel := context.WithCancel(ctx)
	p := &progress{app: a, client: client, began: time.Now(), cancel: cancel, run: run}
	p.done.Add(2)
	go p.redraw(ctx)
	go p.ask(ctx)
	return p
}

func (p *progress) seen(run *api.RunView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = run
}

// close wipes the view: the result is shown in its place.
func (p *progress) close(context.Context, bool) {
	p.cancel()
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn > 0 {
		p.app.err.say(fmt.Sprintf("\x1b[%dA\r\x1b[J", p.drawn))
		p.drawn = 0
	}
}

func (p *progress) redraw(ctx context.Context) {
	defer p.done.Done()
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.draw()
		}
	}
}

// ask reads the tasks from time to time; more seldom for a large run.
func (p *progress) ask(ctx context.Context) {
	defer p.done.Done()
	pause := askEvery / 2
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		began := time.Now()
		run, err := p.client.Run(ctx, string(p.runID()), api.RunOptions{Tasks: true})
		pause = max(askEvery, 20*time.Since(began))
		if err != nil {
			continue // the waiting itself notices what is wrong
		}
		p.mu.Lock()
		p.tasks = p.tasks[:0]
		for _, t := range run.Tasks {
			if t.Status == rota.StatusRunning || t.Status == rota.StatusAssigned {
				p.tasks = append(p.tasks, t)
			}
		}
		p.mu.Unlock()
	}
}

func (p *progress) runID() rota.RunID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.ID
}

// draw writes the whole view in one piece, over the last one, so that it does not
// flicker.
func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	width, height := p.size()
	lines := p.lines(width, height)
	var b strings.Builder
	b.WriteString("\x1b[?2026h") // terminals that know it show the frame at once
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", p.drawn)
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J\x1b[?2026l")
	p.app.err.say(b.String())
	p.drawn = len(lines)
}

func (p *progress) size() (width, height int) {
	if f, ok := p.app.err.Writer.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

func (p *progress) lines(width, height int) []string {
	s := p.app.err
	run := p.run
	head := cut(fmt.Sprintf("%s  %s", run.Job, run.ID), width-1)
	tail := fmt.Sprintf(" %s  %s", endedOf(*run), humanDuration(time.Since(p.began).Truncate(time.Second)))
	if time.Since(p.began) < time.Second {
		tail = " " + endedOf(*run)
	}
	lines := []string{
		s.paint(inkBold, head),
		bar(s, run, min(60, width-1-textWidth(tail))) + tail,
		" " + boundedCounts(s, run.TaskCounts, width-2),
	}
	rows := min(progressRows, max(0, height-6))
	now := time.Now()
	for i, t := range p.tasks {
		if i == rows {
			lines = append(lines, s.paint(inkDim, fmt.Sprintf("   and %d more", len(p.tasks)-i)))
			break
		}
		text := fmt.Sprintf(" > %-24s %-12s %s", visible(string(t.Key)), visible(dash(t.Node)), humanSpan(t.StartedAt, 0, now))
		if t.Attempts > 1 {
			text += fmt.Sprintf("  attempt %d", t.Attempts)
		}
		lines = append(lines, s.paint(inkCyan, cut(text, width-1)))
	}
	return lines
}

// boundedCounts gives the counts in colour where they fit the line, else cut.
func boundedCounts(s screen, counts map[string]int, width int) string {
	if text := paintless(counts); textWidth(text) > width {
		return cut(text, width)
	}
	return paintCounts(s, counts)
}

// bar is a line of width columns, one part for each status that a task can be in
// after its start. Without colour each part has its own character.
func bar(s screen, run *api.RunView, width int) string {
	if width < 5 || run.TasksTotal == 0 {
		return ""
	}
	parts := []struct {
		mark     string
		ink      ink
		statuses []rota.Status
	}{
		{"#", inkGreen, []rota.Status{rota.StatusDelivered}},
		{"!", inkRed, []rota.Status{rota.StatusDeadLettered}},
		{"x", inkDim, []rota.Status{rota.StatusSkipped, rota.StatusCancelled}},
		{">", inkCyan, []rota.Status{rota.StatusRunning, rota.StatusCompleted, rota.StatusValidated, rota.StatusAssigned}},
		{"?", inkYellow, []rota.Status{rota.StatusRetrying, rota.StatusWaiting, rota.StatusPaused}},
	}
	var b strings.Builder
	used, tasks := 0, 0
	for _, part := range parts {
		for _, status := range part.statuses {
			tasks += run.TaskCounts[status.String()]
		}
		to := tasks * width / run.TasksTotal
		n := max(0, min(to, width)-used)
		used += n
		mark := part.mark
		if s.colour {
			mark = "━"
		}
		b.WriteString(s.paint(part.ink, strings.Repeat(mark, n)))
	}
	rest := "."
	if s.colour {
		rest = "─"
	}
	b.WriteString(s.paint(inkDim, strings.Repeat(rest, width-used)))
	return b.String()
}
