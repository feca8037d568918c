package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

// waitOptions are the flags of commands that wait for a run.
type waitOptions struct {
	follow    bool
	propagate bool
	timeout   string
}

func (o *waitOptions) bind(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.follow, "follow", false, "wait, and show status changes and what tasks write")
	f.StringVar(&o.timeout, "timeout", "", "stop waiting after this time, such as 90s or 2h; the run goes on")
	f.BoolVar(&o.propagate, "propagate-exit", false, "exit with the exit code of the run's only task")
}

func (o *waitOptions) check() error {
	_, err := o.patience()
	return err
}

func (o *waitOptions) patience() (time.Duration, error) {
	if o.timeout == "" {
		return 0, nil
	}
	d, err := parseDuration(o.timeout)
	if err != nil || d <= 0 {
		return 0, usage("", "--timeout %q: want a duration such as 90s or 2h", o.timeout)
	}
	return d, nil
}

// errDetached says that the person stopped waiting.
var errDetached = errors.New("detached")

// attend waits for the run's end, shows it, and gives the exit code as an error.
func (a *app) attend(parent context.Context, client *api.Client, run *api.RunView, o waitOptions) error {
	patience, err := o.patience()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	end, err := a.watch(parent, client, run, o, patience, signals)
	switch {
	case errors.Is(err, errDetached):
		return a.detach(parent, client, run.ID, signals)
	case errors.Is(err, context.DeadlineExceeded) && parent.Err() == nil:
		return &fault{
			code: exitTimeout, kind: "timeout", what: fmt.Sprintf("run %s has not ended within %s", run.ID, o.timeout),
			next: fmt.Sprintf("it goes on; wait again with `rota runs wait %s`, or end it with `rota runs cancel %s`", run.ID, run.ID),
		}
	case err != nil:
		return a.lostSight(err, run.ID)
	}
	// The leader told of the end: the node that answers now may be behind it.
	full, err := client.Run(parent, string(end.ID), api.RunOptions{Tasks: true, Consistent: true})
	if err != nil {
		return a.lostSight(err, run.ID)
	}
	return a.conclude(parent, client, full, o)
}

// watch blocks until the run has ended or paused, the patience is over, or a
// signal came, and shows on the way what there is to see.
func (a *app) watch(parent context.Context, client *api.Client, run *api.RunView, o waitOptions, patience time.Duration, signals <-chan os.Signal) (*api.RunView, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	if patience > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, patience)
		defer stop()
	}
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(stopped)
		select {
		case <-signals:
			cancel(errDetached)
		case <-done:
		}
	}()
	show := a.viewer(ctx, client, run, o)
	end, err := client.WaitRun(ctx, string(run.ID), show.seen)
	show.close(ctx, err == nil)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return end, err
}

// viewer shows a run while it is waited for.
type viewer interface {
	seen(run *api.RunView)
	// close ends the showing; complete says that the run has ended, so that what
	// is still on its way is worth waiting for.
	close(ctx context.Context, complete bool)
}

func (a *app) viewer(ctx context.Context, client *api.Client, run *api.RunView, o waitOptions) viewer {
	switch {
	case o.follow:
		return a.newFollower(ctx, client, run)
	case a.err.terminal:
		return a.newProgress(ctx, client, run)
	}
	return &ticker{app: a, began: time.Now()}
}

// lostSight adds to an error while waiting that the run goes on.
func (a *app) lostSight(err error, id rota.RunID) error {
	f := *a.faultOf(err)
	f.next = strings.TrimSpace(fmt.Sprintf("the run goes on by itself; attach again with `rota runs wait %s`\n%s", id, f.next))
	return &f
}

// detach leaves the run alone; on a terminal it offers to cancel it.
func (a *app) detach(ctx context.Context, client *api.Client, id rota.RunID, signals <-chan os.Signal) error {
	a.note("detached: run %s goes on", id)
	a.hint("attach again with `rota runs wait %s`\nend it with `rota runs cancel %s`", id, id)
	if !a.err.terminal || !isTerminal(a.Stdin) {
		return &quietExit{exitInterrupted}
	}
	a.err.say("Cancel the run now? [y/N] ")
	if !a.agrees(signals) {
		return &quietExit{exitInterrupted}
	}
	run, err := client.CancelRun(ctx, string(id), "cancelled at the terminal")
	if err != nil {
		return err
	}
	a.note("run %s: %s", run.ID, run.Status)
	return &quietExit{exitInterrupted}
}

// promptPatience is how long a question at the terminal stays open.
const promptPatience = 30 * time.Second

// agrees reads one line from the terminal; a signal, silence or anything but yes
// is a no. The reading goroutine is left behind: the process ends right after.
func (a *app) agrees(signals <-chan os.Signal) bool {
	line := make(chan string, 1)
	go func() {
		text, err := bufio.NewReader(a.Stdin).ReadString('\n')
		if err != nil {
			text = ""
		}
		line <- text
	}()
	patience := time.NewTimer(promptPatience)
	defer patience.Stop()
	select {
	case text := <-line:
		word := strings.ToLower(strings.TrimSpace(text))
		return word == "y" || word == "yes"
	case <-signals:
	case <-patience.C:
	}
	a.err.line("")
	return false
}

// conclude shows an ended or paused run and gives its exit code as an error.
func (a *app) conclude(ctx context.Context, client *api.Client, run *api.RunView, o waitOptions) error {
	raw := o.follow && len(run.Tasks) == 1 && !a.structured() // stdout was the task's
	if !raw {
		if err := a.showRun(run); err != nil {
			return err
		}
	}
	code := exitOfRun(run.Status)
	if code != exitFine {
		a.mourn(ctx, client, run, o)
	}
	if o.propagate {
		if len(run.Tasks) != 1 {
			a.warn("--propagate-exit: the run has %d tasks, so the exit code is the run's", len(run.Tasks))
		} else if n := run.Tasks[0].ExitCode; code != exitPaused && n > 0 && n <= 255 {
			code = n
		}
	}
	if code == exitFine {
		return nil
	}
	return &quietExit{code}
}

// Bounds of what is said about failed tasks.
const (
	mournTasks = 5
	mournLines = 10
	mournBytes = 4 << 10
)

// mourn says on stderr why a run did not succeed: which tasks, and the last lines
// that they wrote to stderr.
func (a *app) mourn(ctx context.Context, client *api.Client, run *api.RunView, o waitOptions) {
	if a.flags.errorFormat == "json" {
		a.report(&fault{code: exitOfRun(run.Status), kind: "run-" + run.Status.String(), what: fmt.Sprintf("run %s is %s", run.ID, run.Status), why: mournText(run)})
		return
	}
	a.err.line(a.err.paint(inkRed, "error:") + " " + a.err.paint(inkBold, fmt.Sprintf("run %s %s", run.ID, pastOf(run.Status))) + reasonSuffix(run.Reason))
	shown, first := 0, ""
	for _, t := range run.Tasks {
		if t.Status != rota.StatusDeadLettered {
			continue
		}
		if first == "" {
			first = shellWords([]string{string(run.ID) + "/" + string(t.Key)})
		}
		if shown++; shown > mournTasks {
			a.err.line(fmt.Sprintf("  ... and more: `rota runs show %s`", run.ID))
			break
		}
		where := ""
		if t.Node != "" {
			where = " on " + t.Node
		}
		a.err.line(fmt.Sprintf("  task %s failed%s: %s", a.err.paint(inkBold, visible(string(t.Key))), visible(where), visible(taskNote(t))))
		if !o.follow {
			a.lastWords(ctx, client, run.ID, t.Key)
		}
	}
	switch {
	case run.Status == rota.RunPaused:
		a.hint("see why with `rota runs show %s`", run.ID)
	case shown > 0:
		a.hint("all that it wrote: `rota task logs %s`", first)
	}
}

func mournText(run *api.RunView) string {
	var lines []string
	for _, t := range run.Tasks {
		if t.Status == rota.StatusDeadLettered && len(lines) < mournTasks {
			lines = append(lines, string(t.Key)+": "+taskNote(t))
		}
	}
	return strings.Join(lines, "\n")
}

func pastOf(s rota.RunStatus) string {
	switch s {
	case rota.RunFailed:
		return "failed"
	case rota.RunCancelled:
		return "was cancelled"
	case rota.RunSubmitting, rota.RunRunning, rota.RunWaiting, rota.RunPaused, rota.RunSucceeded:
	}
	return "is " + s.String()
}

func reasonSuffix(r *rota.Reason) string {
	if r == nil || r.Text == "" {
		return ""
	}
	return ": " + visible(r.Text)
}

// lastWords shows the end of what a failed task wrote to stderr. That there is
// nothing, or that it cannot be read now, is no error.
func (a *app) lastWords(ctx context.Context, client *api.Client, run rota.RunID, key rota.TaskKey) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	log, err := client.TaskLogs(ctx, string(run), string(key), api.LogOptions{Stream: "stderr", Offset: -mournBytes})
	if err != nil {
		return
	}
	defer log.Close() //nolint:errcheck // it was only read
	text, err := readAtMost(log, mournBytes)
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > mournLines {
		lines = lines[len(lines)-mournLines:]
	}
	for _, line := range lines {
		if strings.TrimSpace(line) != "" {
			a.err.line(a.err.paint(inkDim, "  | ") + visible(line))
		}
	}
}
