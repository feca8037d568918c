package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rota-sched/rota"
)

// fault is an error as people get to see it: what went wrong, why, and what to
// do next.
type fault struct {
	code   int
	what   string // one line, without a full stop
	why    string // may have lines; empty where what says it all
	next   string // a way out; may have lines
	kind   string // problem type of --error-format json; empty: made of the code
	status int    // HTTP status it came with; 0: it did not come from a node
	limit  string // name of the limit that was passed
	title  string // of the problem that a node answered with; what is its detail
	// diagnostics about a text that a person wrote, with that text where it is at hand.
	diagnostics rota.Diagnostics
	cause       error
}

func (f *fault) Error() string {
	if f.why == "" {
		return f.what
	}
	return f.what + ": " + f.why
}

func (f *fault) Unwrap() error { return f.cause }

// usage is a fault of how the command was called.
func usage(next, format string, args ...any) error {
	return &fault{code: exitUsage, what: fmt.Sprintf(format, args...), next: next, kind: "usage"}
}

// notBuilt refuses a flag or form that the contract names and this version lacks.
func notBuilt(what, next string) error {
	return &fault{code: exitUsage, what: what + " is not built yet", next: next, kind: "not-built"}
}

// problem is the document of --error-format json; its fields are those of the
// HTTP door. (Source: RFC 9457 and docs/CLI.md.)
type problem struct {
	Type        string            `json:"type"`
	Title       string            `json:"title"`
	Detail      string            `json:"detail"`
	Status      int               `json:"status"`
	Limit       string            `json:"limit,omitempty"`
	Next        string            `json:"next,omitempty"`
	Diagnostics []rota.Diagnostic `json:"diagnostics,omitempty"`
}

// report writes an error to stderr in the form asked for.
func (a *app) report(err error) {
	f := a.faultOf(err)
	switch a.flags.errorFormat {
	case "json":
		a.reportJSON(f)
	case "line":
		for _, d := range f.diagnostics {
			a.err.line(lineOf(d))
		}
		if len(f.diagnostics) == 0 {
			a.err.line("rota: " + oneLine(f.Error()) + nextOnLine(f.next))
		}
	default:
		a.reportText(f)
	}
}

func (a *app) reportJSON(f *fault) {
	p := problem{
		Type: f.kind, Title: f.what, Detail: f.why, Status: f.status, Limit: f.limit, Next: f.next, Diagnostics: f.diagnostics,
	}
	if f.title != "" {
		p.Title, p.Detail = f.title, f.what
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		fmt.Fprintf(&b, "{\"type\":\"internal\",\"title\":%q,\"detail\":\"\",\"status\":0}\n", err.Error())
	}
	_, _ = a.err.Write(b.Bytes())
}

func (a *app) reportText(f *fault) {
	if len(f.diagnostics) > 0 {
		writeDiagnostics(a.err, f.diagnostics)
		if f.next != "" {
			a.hint("%s", f.next)
		}
		return
	}
	what, why, _ := strings.Cut(f.what, "\n")
	a.err.line(a.err.paint(inkRed, "error:") + " " + a.err.paint(inkBold, visible(what)))
	if why = strings.Trim(why+"\n"+f.why, "\n"); why != "" {
		for _, line := range wrap(why, 100) {
			a.err.line("  " + visible(line))
		}
	}
	if f.next != "" {
		a.hint("%s", f.next)
	}
}

// hint writes what to do next to stderr.
func (a *app) hint(format string, args ...any) {
	for i, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		label := "hint: "
		if i > 0 {
			label = "      "
		}
		a.err.line(a.err.paint(inkCyan, label) + visible(line))
	}
}

// warn writes a warning to stderr.
func (a *app) warn(format string, args ...any) {
	a.err.line(a.err.paint(inkYellow, "warning:") + " " + visible(fmt.Sprintf(format, args...)))
}

// faultOf makes a fault of any error.
func (a *app) faultOf(err error) *fault {
	if f := a.knownFault(err); f != nil {
		if f.kind == "" {
			f.kind = kindOfExit(f.code)
		}
		return f
	}
	code := exitOf(err)
	return &fault{code: code, what: err.Error(), kind: kindOfExit(code), cause: err}
}

func kindOfExit(code int) string {
	switch code {
	case exitUsage:
		return rota.KindInvalid.String()
	case exitNotFound:
		return rota.KindNotFound.String()
	case exitPaused:
		return "paused"
	case exitDenied:
		return rota.KindUnauthorized.String()
	case exitTimeout:
		return "timeout"
	case exitTryAgain:
		return rota.KindUnavailable.String()
	case exitConflict:
		return rota.KindConflict.String()
	case exitInterrupted:
		return "interrupted"
	}
	return "failed"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func nextOnLine(next string) string {
	if next == "" {
		return ""
	}
	return " (" + oneLine(next) + ")"
}
