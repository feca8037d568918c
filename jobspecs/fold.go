package jobspecs

import (
	"bytes"
	"fmt"
	"regexp"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// foldSyntax reports the first of a text's syntax errors and leaves out those
// that follow from it: one missing quote gives five. Arguments written twice are
// no syntax errors and are all reported.
func foldSyntax(r *report, text []byte, diags hcl.Diagnostics) {
	var first *hcl.Diagnostic
	at, rest := hcl.Range{}, 0
	for _, d := range diags {
		if d.Severity != hcl.DiagError || d.Subject == nil || d.Summary == "Root value must be object" && len(diags) > 1 {
			continue
		}
		if d.Summary == "Attribute redefined" {
			r.error(*d.Subject, d.Summary, positions.ReplaceAllString(d.Detail, "line $1"))
			continue
		}
		rest++
		rng := subject(text, d)
		if first == nil || rng.Start.Byte < at.Start.Byte {
			first, at = d, rng
		}
	}
	if first == nil {
		return
	}
	summary, detail := syntaxWords(text, first, at)
	if rest > 1 {
		detail += " (What follows from it is not reported.)"
	}
	r.error(at, summary, detail)
}

// positions finds HCL's own notation of places, which repeats the file's name.
var positions = regexp.MustCompile(`\S*:(\d+),\d+-(?:\d+,)?\d+`)

// subject is where a syntax error is shown: an unterminated string at its opening
// quote, everything else where HCL saw it.
func subject(text []byte, d *hcl.Diagnostic) hcl.Range {
	if !unterminated(d) {
		return *d.Subject
	}
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	var open []hcl.Range
	for _, t := range tokens {
		if t.Range.Start.Byte >= d.Subject.Start.Byte && len(open) > 0 {
			break
		}
		switch t.Type {
		case hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			open = append(open, t.Range)
		case hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		default:
		}
	}
	if len(open) == 0 {
		return *d.Subject
	}
	return open[len(open)-1]
}

func unterminated(d *hcl.Diagnostic) bool {
	return d.Summary == "Invalid multi-line string" || d.Summary == "Unterminated template string"
}

// syntaxWords says a syntax error in words that lead out of it.
func syntaxWords(text []byte, d *hcl.Diagnostic, at hcl.Range) (summary, detail string) {
	if unterminated(d) {
		if bytes.HasPrefix(text[min(at.Start.Byte, len(text)):], []byte("<<")) {
			return "Unterminated heredoc", "The text that begins here has no closing marker. Write the marker alone on a line after the text."
		}
		return "Unterminated string", `The quoted text that begins here has no closing quote on its line. Add the missing ", ` +
			`write \n for a newline, or use a heredoc (<<EOT) for several lines.`
	}
	line := text[bytes.LastIndexByte(text[:min(at.Start.Byte, len(text))], '\n')+1:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	for _, opening := range []string{"${{", "%{"} {
		if bytes.Contains(line, []byte(opening)) {
			return d.Summary, fmt.Sprintf("%s In a quoted text ${ begins a value and %%{ a directive. To write them as they are, double the first character: "+
				`$${ and %%%%{. Or keep the text in a file of its own and read it with file("NAME").`, d.Detail)
		}
	}
	return d.Summary, positions.ReplaceAllString(d.Detail, "line $1")
}
