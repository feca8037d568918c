package nemesis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

const noopJob = `
job "noop" {
  task "t" {
    driver = "noop"
  }
}`

// execJob is a process that writes a line when it starts, one every tenth of a
// second, and one when it ends. The file's order is the order of the lines.
func (w *world) execJob() string { return w.execJobOf(5, "") }

func (w *world) execJobOf(ticks int, more string) string {
	return fmt.Sprintf(`
job "exec" {
  task "t" {
    driver  = "exec"
    command = ["sh", "-c", "say() { read up rest </proc/uptime; echo \"$1 $ROTA_RUN_ID/$ROTA_TASK $ROTA_FENCE $ROTA_ATTEMPT $ROTA_NODE $up\" >>%s; }; say start; i=0; while [ $i -lt %d ]; do sleep 0.1; say tick; i=$((i+1)); done; say end"]
    %s
  }
}`, w.evidence(), ticks, more)
}

// line is what an attempt wrote about itself.
type line struct {
	word, task, fence, node string
	attempt                 int
	up                      time.Duration // since the machine's start
}

// lines reads the evidence.
func (w *world) lines() []line {
	b, err := os.ReadFile(w.evidence())
	if err != nil {
		return nil // nothing has started
	}
	var out []line
	for text := range strings.Lines(string(b)) {
		f := strings.Fields(text)
		if len(f) != 6 {
			continue // the last one, half written
		}
		attempt, err := strconv.Atoi(f[3])
		up, err2 := strconv.ParseFloat(f[5], 64)
		if err != nil || err2 != nil {
			continue
		}
		out = append(out, line{f[0], f[1], f[2], f[4], attempt, time.Duration(up * float64(time.Second))})
	}
	return out
}

// overlaps are tasks of which an older attempt still wrote after a newer one had
// started.
func overlaps(lines []line) []string {
	newest := map[string]int{}
	var found []string
	seen := map[string]bool{}
	for _, l := range lines {
		if l.attempt < newest[l.task] && !seen[l.task] {
			seen[l.task] = true
			found = append(found, fmt.Sprintf("%s: attempt %d wrote %q at %v, after attempt %d had started", l.task, l.attempt, l.word, l.up, newest[l.task]))
		}
		newest[l.task] = max(newest[l.task], l.attempt)
	}
	return found
}

func TestOverlapsAreSeen(t *testing.T) {
	one := line{word: "start", task: "r/t", attempt: 1}
	two := line{word: "start", task: "r/t", attempt: 2}
	if got := overlaps([]line{one, one, two, two}); len(got) != 0 {
		t.Errorf("no overlap, and yet %v", got)
	}
	if got := overlaps([]line{one, two, {word: "tick", task: "r/t", attempt: 1}, two}); len(got) != 1 {
		t.Errorf("one overlap, and yet %v", got)
	}
}

// upNow is the clock of the evidence.
func upNow() time.Duration {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	up, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
	if err != nil {
		return 0
	}
	return time.Duration(up * float64(time.Second))
}

// startGap is the longest time without the start of a process within a period.
func startGap(lines []line, from, to time.Duration) time.Duration {
	longest, last := time.Duration(0), from
	for _, l := range lines {
		if l.word == "start" && l.up >= from && l.up <= to {
			longest, last = max(longest, l.up-last), l.up
		}
	}
	return max(longest, to-last)
}

// rerun counts the processes that started within a period after an earlier attempt
// of their task had started, too.
func rerun(lines []line, from time.Duration) int {
	n := 0
	started := map[string]bool{}
	for _, l := range lines {
		if l.word != "start" {
			continue
		}
		if started[l.task] && l.up >= from {
			n++
		}
		started[l.task] = true
	}
	return n
}

// tail follows the events of the cluster through whichever node answers, and
// counts deliveries: an observer who has no part in the load.
type tail struct {
	mu        sync.Mutex
	delivered map[rota.RunID]int
	err       error
}

func (w *world) follow(t *testing.T) *tail {
	t.Helper()
	tl := &tail{delivered: map[rota.RunID]int{}}
	var addresses []string
	for _, n := range w.nodes {
		addresses = append(addresses, n.address())
	}
	c, err := api.NewClient(addresses, api.Options{Patience: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range c.Events(ctx, "0", api.EventFilter{Types: []string{"task.delivered"}}) {
			tl.mu.Lock()
			if err != nil {
				tl.err = err
			} else {
				tl.delivered[e.Run]++
			}
			tl.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		c.Close()
	})
	return tl
}

func (tl *tail) count(run rota.RunID) (int, error) {
	tl.mu.Lock()
	defer tl.mu.Unlock()
	return tl.delivered[run], tl.err
}

// dialFailed says that no connection was made.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
