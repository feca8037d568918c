package cmd

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/rota-sched/rota"
)

// ink is a colour or weight of text; inkNone changes nothing.
type ink string

const (
	inkNone   ink = ""
	inkBold   ink = "1"
	inkDim    ink = "2"
	inkRed    ink = "31"
	inkGreen  ink = "32"
	inkYellow ink = "33"
	inkBlue   ink = "34"
	inkCyan   ink = "36"
)

// screen is one of the two output streams with what is known of it.
type screen struct {
	io.Writer
	terminal bool // a person looks at it: bars and redrawing are welcome
	colour   bool
	width    int // columns; 0: unknown, nothing is cut
}

// newScreen looks at a stream once. colour is auto, always or never.
func newScreen(w io.Writer, colour string, getenv func(string) string) screen {
	s := screen{Writer: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			s.width = width
		}
	}
	switch colour {
	case "always":
		s.colour = true
	case "never":
	default:
		s.colour = s.terminal && getenv("NO_COLOR") == ""
	}
	return s
}

// say writes words to people. That a terminal is gone stops nothing.
func (s screen) say(text string) { _, _ = io.WriteString(s.Writer, text) }

// line says a line.
func (s screen) line(text string) { s.say(text + "\n") }

// paint wraps text in the ink, if the stream takes colour.
func (s screen) paint(c ink, text string) string {
	if !s.colour || c == inkNone || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// isTerminal reports whether a reader is a person's keyboard.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// inkOfTask is the colour of a task's status.
func inkOfTask(s rota.Status) ink {
	switch s {
	case rota.StatusDelivered, rota.StatusCompleted, rota.StatusValidated:
		return inkGreen
	case rota.StatusRunning, rota.StatusAssigned:
		return inkCyan
	case rota.StatusFailed, rota.StatusDeadLettered:
		return inkRed
	case rota.StatusRetrying, rota.StatusWaiting, rota.StatusPaused:
		return inkYellow
	case rota.StatusCreated, rota.StatusQueued, rota.StatusSkipped, rota.StatusCancelled:
		return inkDim
	}
	return inkNone
}

// inkOfRun is the colour of a run's status.
func inkOfRun(s rota.RunStatus) ink {
	switch s {
	case rota.RunSucceeded:
		return inkGreen
	case rota.RunRunning:
		return inkCyan
	case rota.RunFailed:
		return inkRed
	case rota.RunWaiting, rota.RunPaused:
		return inkYellow
	case rota.RunCancelled, rota.RunSubmitting:
		return inkDim
	}
	return inkNone
}

// inkOfNode is the colour of a node's state.
func inkOfNode(s rota.NodeState) ink {
	switch s {
	case rota.NodeReady:
		return inkGreen
	case rota.NodeDraining, rota.NodeSuspect, rota.NodeUnfit:
		return inkYellow
	case rota.NodeDown:
		return inkRed
	case rota.NodeLeft:
		return inkDim
	}
	return inkNone
}

// visible makes text from outside safe for a terminal: control characters, which
// could move the cursor or change colours, become pictures or a replacement
// mark; tabs stay.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r < 0x20:
			return 0x2400 + r
		case r == 0x7f:
			return 0x2421
		case r >= 0x80 && r < 0xa0, r == '\u202e', r == '\u2066', r == '\u2067':
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
