package exec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/keeper"
)

// KeptOutcome says how an attempt went that ended by itself while the node had no
// agent; nil if that cannot be told. The keeper's own command uses it
// (keeper.MainConfig).
func KeptOutcome(a keeper.Attempt) *rota.Outcome {
	var m meta
	if json.Unmarshal(a.Meta, &m) != nil || m.Dir == "" {
		return nil
	}
	o := outcome(&a, &m, rota.CauseCancelled)
	return &o
}

// outcome makes one of an attempt's end. asked is the cause for an attempt that
// was asked to end, unless it knows it itself.
func outcome(a *keeper.Attempt, m *meta, asked rota.Cause) rota.Outcome {
	o := rota.Outcome{ExitCode: a.Exit.Code, Ran: a.Ran(keeper.Now()), DroppedBytes: a.Output.DroppedBytes}
	usage, _, usageErr := readUsage(m.Dir)
	o.Usage = usage
	switch {
	case a.Why == keeper.WhyAsked:
		o.Cause, o.Message = asked, stoppedMessage(a)
		if c, err := rota.ParseCause(a.Reason); err == nil {
			o.Cause = c
		}
		if o.Cause == rota.CauseTimeoutRun && m.Limit > 0 {
			o.Message = fmt.Sprintf("it ran for longer than timeouts { start_to_close = %q } allows: raise the limit, or give the task less to do (%s)", m.Limit, o.Message)
		}
	case a.Why != "":
		o.Cause, o.Message = rota.CauseNodeLost, "ended by its node: "+sessionEnd(a.Why)
	case a.Exit.OOM:
		o.Cause, o.Message = rota.CauseOOM, "killed by the kernel: out of memory. Ask for more with resources { memory }"
	case a.Exit.Code != 0:
		o.Cause, o.Message = rota.CauseExitNonzero, a.Exit.String()+lastLine(m.Dir)
	default:
		takeOutput(&o, a, m)
	}
	if usageErr != nil && o.Message == "" {
		o.Message = usageErr.Error() + ": it was not counted"
	}
	o.Message = clip(withDropped(o.Message, o.DroppedBytes))
	return o
}

// withDropped adds to a message that the log is not whole.
func withDropped(message string, n int64) string {
	if n == 0 {
		return message
	}
	words := fmt.Sprintf("%d bytes of what it wrote were dropped, beyond the bound of its log", n)
	if message == "" {
		return words
	}
	return message + " (" + words + ")"
}

func stoppedMessage(a *keeper.Attempt) string {
	if a.Killed {
		return "did not end in its grace time and was killed"
	}
	return "asked to end: " + a.Exit.String()
}

func sessionEnd(w keeper.Why) string {
	switch w {
	case keeper.WhyDeadline:
		return "its lease ran out"
	case keeper.WhyGone:
		return "its agent was gone"
	case keeper.WhyAsked, keeper.WhyEnded:
	}
	return "its session was over"
}

// takeOutput fills in the declared output: ROTA_OUTPUT, or what the attempt wrote
// to stdout. (Source: JOBSPEC.md, section 3, Outputs.)
func takeOutput(o *rota.Outcome, a *keeper.Attempt, m *meta) {
	if m.Output == "" {
		return
	}
	b, size, err := readSmall(m.Dir, fileOutput, rota.MaxInlineOutput+1)
	if err != nil {
		invalid(o, "ROTA_OUTPUT: "+err.Error())
		return
	}
	from, cut := "ROTA_OUTPUT", false
	if size <= 0 {
		from, size = "stdout", a.Output.StdoutBytes
		if b, cut, err = keeper.Tail(filepath.Join(m.Dir, agent.FileStdout), rota.MaxInlineOutput); err != nil {
			invalid(o, err.Error())
			return
		}
		cut = cut || size > int64(len(b))
	}
	if size > rota.MaxInlineOutput && (from == "ROTA_OUTPUT" || m.Output == rota.OutputJSON) {
		invalid(o, tooLarge(from, size))
		o.Final = true
		return
	}
	if m.Output == rota.OutputJSON {
		takeJSON(o, b, from)
		return
	}
	takeText(o, b, from, size, cut)
}

func invalid(o *rota.Outcome, why string) { o.Cause, o.Message = rota.CauseInvalidOutput, why }

func tooLarge(from string, size int64) string {
	return fmt.Sprintf("the output (%s) has %d bytes, the limit of an inline output is %d: write less, or write the data to a file and only its name to the output", from, size, rota.MaxInlineOutput)
}

func takeJSON(o *rota.Outcome, b []byte, from string) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		invalid(o, "a JSON output is declared, but nothing was written to ROTA_OUTPUT or stdout")
		return
	}
	var v json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil {
		invalid(o, fmt.Sprintf("the output (%s) is not JSON: %v", from, err))
		return
	}
	o.Output = v
}

// takeText makes a JSON string of the text. One from stdout is cut at its front
// until it fits; one from ROTA_OUTPUT must fit.
func takeText(o *rota.Outcome, b []byte, from string, size int64, cut bool) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	if cut {
		b = wholeRunes(b)
	}
	text := strings.ToValidUTF8(string(b), "\uFFFD")
	quoted := quote(text)
	if len(quoted) > rota.MaxInlineOutput && from == "ROTA_OUTPUT" {
		invalid(o, tooLarge(from+", written as a JSON string", int64(len(quoted))))
		o.Final = true
		return
	}
	for len(quoted) > rota.MaxInlineOutput {
		cut = true
		// Every byte takes at least one: so much must go at least.
		text = string(wholeRunes([]byte(text[max((len(quoted)-rota.MaxInlineOutput)/6, 1):])))
		quoted = quote(text)
	}
	o.Output = quoted
	if cut {
		o.Message = fmt.Sprintf("the output is truncated: the last %d of %d bytes of stdout", len(text), size)
	}
}

// wholeRunes drops the end of a character that the text begins with.
func wholeRunes(b []byte) []byte {
	for i := 0; i < utf8.UTFMax && len(b) > 0 && !utf8.RuneStart(b[0]); i++ {
		b = b[1:]
	}
	return b
}

// quote writes a JSON string without the escapes that only HTML needs.
func quote(s string) json.RawMessage {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return json.RawMessage(`""`) // a string always encodes
	}
	return bytes.TrimSpace(w.Bytes())
}

// lastLine gives ": " and the last line of stderr that says something.
func lastLine(dir string) string {
	b, _, err := keeper.Tail(filepath.Join(dir, agent.FileStderr), 4*agent.MaxMessageBytes)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.ToValidUTF8(string(b), "\uFFFD"), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(strings.Map(printable, lines[i])); line != "" {
			return ": " + line
		}
	}
	return ""
}

// printable drops what moves a terminal's cursor.
func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r < ' ' || r == 0x7f:
		return -1
	}
	return r
}

// clip keeps a message within its bound, at the start of a character.
func clip(s string) string {
	n := agent.MaxMessageBytes
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
