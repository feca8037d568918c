package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/api"
)

func TestEveryRefusalHasItsExitCode(t *testing.T) {
	refused := func(word string, status int) error {
		return fmt.Errorf("ask: %w", &api.Error{Address: "n1", Problem: &api.Problem{Type: word, Status: status, Title: "no", Detail: "because"}})
	}
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"any error", errors.New("x"), 1},
		{"usage", usage("", "x"), 2},
		{"not built", notBuilt("x", ""), 2},
		{"broken job file", refused(api.TypeInvalidSpec, 422), 2},
		{"part of the language not built", refused(api.TypeNotBuilt, 422), 2},
		{"too large", refused(api.TypeTooLarge, 413), 2},
		{"not found", refused(api.TypeNotFound, 404), 3},
		{"gone", refused(api.TypeGone, 410), 3},
		{"denied", refused(api.TypeDenied, 403), 5},
		{"no leader", refused(api.TypeNoLeader, 503), 7},
		{"unknown outcome", refused(api.TypeUnknown, 504), 7},
		{"overloaded", refused(api.TypeOverloaded, 429), 7},
		{"unreachable", &api.UnreachableError{Addresses: []string{"x"}}, 7},
		{"conflict", refused(api.TypeConflict, 409), 8},
		{"ended", refused(api.TypeEnded, 409), 8},
		{"a problem of a newer version", refused("budget-exhausted", 402), 4},
		{"a defect", refused(api.TypeInternal, 500), 1},
		{"deadline", context.DeadlineExceeded, 6},
		{"interrupted", context.Canceled, 130},
		{"said already", &quietExit{10}, 10},
	} {
		a := &app{}
		got := exitOf(c.err)
		if c.err != nil {
			if f := a.knownFault(c.err); f != nil {
				got = f.code
			}
		}
		if got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

func TestARunsEndHasItsExitCode(t *testing.T) {
	for s, want := range map[rota.RunStatus]int{rota.RunSucceeded: 0, rota.RunFailed: 1, rota.RunCancelled: 1, rota.RunPaused: 4} {
		if got := exitOfRun(s); got != want {
			t.Errorf("%s: exit code %d, want %d", s, got, want)
		}
	}
}

func TestCaretsStandUnderTheirRange(t *testing.T) {
	at := func(line, from, to int, snippet string) rota.Diagnostic {
		return rota.Diagnostic{Snippet: snippet, Range: rota.Range{Start: rota.Position{Line: line, Column: from}, End: rota.Position{Line: line, Column: to}}}
	}
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		name        string
		d           rota.Diagnostic
		text, caret string
	}{
		{"plain", at(1, 3, 5, "a bc d"), "a bc d", "  ^^"},
		{"empty range", at(1, 3, 3, "a bc d"), "a bc d", "  ^"},
		{"tabs", at(1, 3, 4, "\t\tx"), "    x", "    ^"},
		{"wide characters", at(1, 3, 4, "日本x"), "日本x", "    ^"},
		{"past the end", at(1, 9, 12, "abc"), "abc", "   ^"},
		{"control characters", at(1, 2, 3, "a\x00b\x1b"), "a␀b␛", " ^"},
		{"over several lines", rota.Diagnostic{Snippet: "ab {  ", Range: rota.Range{Start: rota.Position{Line: 1, Column: 1}, End: rota.Position{Line: 3, Column: 1}}}, "ab {", "^^^^"},
		{"unknown column", at(1, 0, 0, "abc"), "abc", "^"},
	} {
		text, caret := snippet(c.d)
		if strings.TrimRight(text, " ") != c.text || caret != c.caret {
			t.Errorf("%s:\n%s\n%s\nwant\n%s\n%s", c.name, text, caret, c.text, c.caret)
		}
	}
	text, caret := snippet(at(1, 150, 160, long))
	if textWidth(text) > snippetColumns || len(caret) > snippetColumns+1 || !strings.Contains(caret, strings.Repeat("^", 10)) {
		t.Errorf("a long line is not cut around the place:\n%s\n%s", text, caret)
	}
}

func TestManyDiagnosticsAreCounted(t *testing.T) {
	var ds rota.Diagnostics
	for i := range 30 {
		ds = append(ds, rota.Diagnostic{Severity: rota.SeverityError, Summary: "s", File: "f", Range: rota.Range{Start: rota.Position{Line: i + 1, Column: 1}}})
	}
	ds = append(ds, rota.Diagnostic{Severity: rota.SeverityWarning, Summary: "w"})
	var b bytes.Buffer
	writeDiagnostics(screen{Writer: &b}, ds)
	if !strings.HasSuffix(b.String(), "30 errors, 1 warning\n") || !strings.Contains(b.String(), "and 11 more") {
		t.Errorf("got\n%s", b.String())
	}
}

func TestNumbersAreReadable(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range [][2]string{
		{humanDuration(340 * time.Millisecond), "340ms"},
		{humanDuration(9_960 * time.Millisecond), "9.9s"},
		{humanDuration(125 * time.Second), "2m05s"},
		{humanDuration(26 * time.Hour), "1d2h"},
		{humanBytes(0), "0B"},
		{humanBytes(1536), "1.5KiB"},
		{humanBytes(80 << 30), "80GiB"},
		{humanBytes(1<<20 - 1), "1023KiB"},
		{humanBytes(1 << 62), "4EiB"},
		{humanCores(4000), "4"},
		{humanCores(500), "0.5"},
		{humanCores(125), "0.125"},
		{humanAge(rota.InstantOf(now.Add(-90*time.Second)), now), "1m ago"},
		{humanAge(rota.InstantOf(now.Add(time.Second)), now), "now"},
		{humanAge(0, now), "-"},
		{cut("日本語", 5), "日本…"},
		{cut("abc", 3), "abc"},
		{shellWords([]string{"a b", "it's", ""}), `'a b' 'it'\''s' ''`},
		{taskName("/usr/bin/my prog.sh"), "my-prog-sh"},
		{taskName("/"), "command"},
		{visible("a\x1b[31m\u202eb"), "a␛[31m\ufffdb"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
}

func TestSizesAndDurationsAreThoseOfJobFiles(t *testing.T) {
	for s, want := range map[string]int64{"1024": 1024, "1KiB": 1024, "1.5GiB": 3 << 29, "80 GiB": 80 << 30, "1kB": 1000, "0.1MB": 100_000} {
		if got, err := rota.ParseSize(s); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "GiB", "-1KiB", "1e9GiB", "1/2GiB", "99999999999TiB", "1 000", strings.Repeat("9", 100)} {
		if got, err := rota.ParseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", s, got)
		}
	}
	for s, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour} {
		if got, err := parseDuration(s); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "d", "1", "x", "1dd"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("parseDuration(%q) = %s, want an error", s, got)
		}
	}
}

func TestTheWordMeantIsFound(t *testing.T) {
	words := []string{"status", "start", "runs", "run", "validate"}
	for got, want := range map[string]string{"stauts": "status", "statsu": "status", "rnu": "run", "vali": "validate", "xyz": "", "satrt": "start"} {
		if near := nearest(got, words); near != want {
			t.Errorf("nearest(%q) = %q, want %q", got, near, want)
		}
	}
}

func TestTheBarIsAsWideAsAsked(t *testing.T) {
	run := &api.RunView{TasksTotal: 7, TaskCounts: map[string]int{"delivered": 3, "running": 2, "dead_lettered": 1, "queued": 1}}
	for width := 5; width < 70; width++ {
		if b := bar(screen{}, run, width); len(b) != width {
			t.Fatalf("width %d: %q has %d columns", width, b, len(b))
		}
	}
	if b := bar(screen{}, run, 7); b != "###!>>." {
		t.Errorf("got %q", b)
	}
}
