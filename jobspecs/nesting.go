package jobspecs

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxNesting bounds brackets within brackets, operators before operators, splats
// after splats, and the depth of an expression's tree. HCL's parser and evaluator
// recurse: a text of a million opening brackets overflows the stack of the whole
// process, which nothing can catch. (Measured: 1 MiB of "(", "[", "!", "${", "[*]"
// or blocks ends the process.)
const (
	maxNesting    = 200
	tooDeepDetail = "The limit is 200 brackets, blocks or operators within each other. Split it with locals."
)

// maxPieces bounds the pieces of one text: HCL cuts it at every % and $ and line,
// and joins the pieces in quadratic time. (Measured: 50,000 pieces took 16 s.)
const (
	maxPieces           = 2000
	tooManyPiecesDetail = `It has more than 2,000 lines, % and $ together. Keep it in a file of its own and read it with file("NAME").`
)

type lexer func(src []byte, filename string, start hcl.Pos) (hclsyntax.Tokens, hcl.Diagnostics)

// tooMuch says where a text would cost the parser too much, and why; at is -1 if
// it would not. A cheap look at the bytes nearly always says so; brackets in strings
// and comments are only told apart, by lexing, when it might.
func tooMuch(text []byte, lex lexer) (at int, summary, detail string) {
	if !mayNestTooDeep(text) && !mayHaveManyPieces(text) {
		return -1, "", ""
	}
	tokens, _ := lex(text, "", hcl.InitialPos)
	d := depths{chains: []chain{{lines: true}}}
	pieces := 0
	for _, t := range tokens {
		if t.Type == hclsyntax.TokenQuotedLit || t.Type == hclsyntax.TokenStringLit {
			pieces++
		} else {
			pieces = 0
		}
		if pieces > maxPieces {
			return t.Range.Start.Byte, "A text of too many pieces", tooManyPiecesDetail
		}
		if t.Type != hclsyntax.TokenComment && d.next(t) {
			return t.Range.Start.Byte, "Too deeply nested", tooDeepDetail
		}
	}
	return -1, "", ""
}

func nestsTooDeep(text []byte, lex lexer) bool {
	at, _, _ := tooMuch(text, lex)
	return at >= 0
}

func mayHaveManyPieces(text []byte) bool {
	return bytes.Count(text, []byte("%"))+bytes.Count(text, []byte("$")) > maxPieces ||
		bytes.Contains(text, []byte("<<")) && bytes.Count(text, []byte("\n")) > maxPieces
}

// depths follows the tokens of a text.
type depths struct {
	chains     []chain // one per open bracket
	directives int     // open %{if} and %{for}
	signs      int     // - and ! in a row
	last, prev hclsyntax.TokenType
	control    bool // the last token opened a directive
}

// chain counts the splats of one expression: each is a level for the parser.
type chain struct {
	splats int
	lines  bool // a newline ends the expression here
}

// next takes a token and reports whether it is one too many.
func (d *depths) next(t hclsyntax.Token) bool {
	top := &d.chains[len(d.chains)-1]
	switch t.Type {
	case hclsyntax.TokenMinus, hclsyntax.TokenBang:
		d.signs++
	case hclsyntax.TokenNewline:
		if top.lines {
			top.splats = 0
		}
		return false // is neither before nor after anything
	default:
		d.signs = 0
	}
	if d.control {
		d.control = false
		if bytes.HasPrefix(t.Bytes, []byte("e")) { // else, endif, endfor
			d.directives = max(0, d.directives-1)
		} else {
			d.directives++
		}
	}
	switch t.Type {
	case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp:
		d.chains = append(d.chains, chain{})
	case hclsyntax.TokenOBrace:
		d.chains = append(d.chains, chain{lines: true})
	case hclsyntax.TokenTemplateControl:
		d.chains = append(d.chains, chain{})
		d.control = true
	case hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
		if len(d.chains) > 1 {
			d.chains = d.chains[:len(d.chains)-1]
		}
		if d.prev == hclsyntax.TokenOBrack && d.last == hclsyntax.TokenStar {
			d.chains[len(d.chains)-1].splats++
		}
	case hclsyntax.TokenStar:
		if d.last == hclsyntax.TokenDot {
			top.splats++
		}
	case hclsyntax.TokenEqual, hclsyntax.TokenComma, hclsyntax.TokenColon, hclsyntax.TokenQuestion:
		top.splats = 0
	default:
	}
	d.prev, d.last = d.last, t.Type
	return len(d.chains)+d.directives > maxNesting || d.signs > maxNesting || d.chains[len(d.chains)-1].splats > maxNesting
}

// mayNestTooDeep looks at bytes only. It never misses deep nesting, and cries wolf
// for texts with very many brackets or asterisks in strings and comments.
func mayNestTooDeep(text []byte) bool {
	depth, signs, directives, stars := 0, 0, 0, 0
	comment := byte(0) // possibly inside one: '/' to the end of the line, '*' to the end mark
	for i, c := range text {
		before := byte(0)
		if i > 0 {
			before = text[i-1]
		}
		switch c {
		case '(', '[', '{':
			depth++
			if before == '%' && c == '{' {
				directives++
			}
		case ')', ']', '}':
			depth = max(0, depth-1)
		case '*':
			stars++
		case '-', '!':
			signs++
		}
		switch {
		case c == '-' || c == '!':
		case comment == '/' && c == '\n', comment == '*' && before == '*' && c == '/':
			comment = 0
		case comment != 0 || c == ' ' || c == '\t' || c == '\n' || c == '\r':
		case c == '#' || before == '/' && c == '/':
			comment = '/'
		case before == '/' && c == '*':
			comment = '*'
		case c != '/':
			signs = 0
		}
		if depth > maxNesting/2 || signs > maxNesting/2 || directives > maxNesting/2 || stars > maxNesting {
			return true
		}
	}
	return false
}

// jsonNestsTooDeep is the same for JSON, whose strings are looked at one by one.
func jsonNestsTooDeep(text []byte) (int, bool) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth = max(0, depth-1)
		}
		if depth > maxNesting {
			return i, true
		}
	}
	return 0, false
}
