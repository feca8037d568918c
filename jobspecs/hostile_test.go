package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// TestDeepNestingIsRefusedNotFatal: a text that nests without end overflows the
// stack of HCL's parser or evaluator, which would end the whole server.
func TestDeepNestingIsRefusedNotFatal(t *testing.T) {
	const n = 1 << 20
	fill := func(prefix, part, suffix string) string {
		return prefix + strings.Repeat(part, (n-len(prefix)-len(suffix)-2)/len(part)) + suffix + "\n"
	}
	short := func(prefix, part, suffix string) string { // parsing these is no danger, evaluating them is
		return prefix + strings.Repeat(part, 10_000) + suffix + "\n"
	}
	for name, text := range map[string]string{
		"parentheses": fill("locals {\na = ", "(", ""),
		"lists":       fill("locals {\na = ", "[", ""),
		"objects":     fill("locals {\na = ", "{a=", ""),
		"not":         fill("locals {\na = ", "!", "true\n}"),
		"not spaced":  fill("locals {\na = ", "! ", "true\n}"),
		"minus":       fill("locals {\na = ", "-", "1\n}"),
		"minus lines": fill("locals {\na = (", "-\n", "1)\n}"),
		"comments":    fill("locals {\na = (", "-/**/", "1)\n}"),
		"calls":       fill("locals {\na = ", "f(", ""),
		"plus":        short("locals {\na = 1", "+1", "\n}"),
		"index":       short("locals {\na = [1]", "[1-1]", "\n}"),
		"splat":       fill("locals {\na = b", "[*]", "\n}"),
		"templates":   fill("locals {\na = ", `"${`, ""),
		"directives":  fill("locals {\na = \"", `%{if a}`, "\""),
		"directives~": fill("locals {\na = \"", `%{~if a}`, "\""),
		"for":         fill("locals {\na = ", "[for a in b: ", ""),
		"heredocs":    fill("locals {\na = ", "<<A\n${", ""),
		"blocks":      fill("", "a {\n", ""),
		"ternaries":   short("locals {\na = 1", "==1?1:1", "\n}"),
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{})
			if len(ds) != 1 || ds[0].Summary != "Too deeply nested" {
				t.Errorf("%d diagnostics: %.500s", len(ds), ds.Error())
			}
		})
	}
	for name, text := range map[string]string{
		"json lists":     strings.Repeat("[", n-1),
		"json objects":   strings.Repeat(`{"a":`, n/5-1),
		"json template":  `{"locals":{"a":"` + strings.Repeat("${(", n/3-10) + `"}}`,
		"json template2": `{"locals":{"a":"${` + strings.Repeat("!", n-30) + `a}"}}`,
		"json type":      `{"variable":{"a":{"type":"` + strings.Repeat("list(", n/5-10) + `"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.json", Text: []byte(text)}, jobspecs.Inputs{})
			if !ds.HasErrors() {
				t.Error("it was accepted")
			}
		})
	}
	text := []byte("variable \"v\" {\n type = list(any)\n}\njob \"j\" {\n task \"a\" {\n command = [\"true\"]\n }\n}\n")
	for name, raw := range map[string]string{
		"deep JSON":  strings.Repeat("[", 200_000) + strings.Repeat("]", 50_000),
		"deep JSON2": strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"deep text":  `"` + strings.Repeat("[", 200_000) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: text}, jobspecs.Inputs{Variables: vars("v", raw)})
			if !ds.HasErrors() {
				t.Error("it was accepted")
			}
		})
	}
}

// TestGrowingValuesAreRefused: a small text must not ask for terabytes.
func TestGrowingValuesAreRefused(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString("locals {\n  a0 = \"0123456789\"\n")
	for i := range 60 {
		fmt.Fprintf(&doubling, "  a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
	}
	doubling.WriteString("}\njob \"j\" {\n  task \"a\" {\n    driver = \"noop\"\n  }\n}\n")
	big := `join("", [for i in range(1000) : join("", [for j in range(30) : "0123456789"])])`
	for name, text := range map[string]string{
		"doubling":   doubling.String(),
		"width":      "locals {\n a = format(\"%999999999d\", 1)\n}",
		"width list": "locals {\n a = formatlist(\"%999999999d\", [1])\n}",
		"replace":    "locals {\n a = " + big + "\n b = replace(local.a, \"0\", local.a)\n}",
		"pattern":    "locals {\n a = " + big + "\n b = replace(local.a, \"/[0-9]/\", local.a)\n}",
		"join":       "locals {\n a = " + big + "\n b = join(local.a, range(1000))\n}",
		"indexes":    "locals {\n a = " + big + "\n b = format(\"" + strings.Repeat("%[1]s", 1000) + "\", local.a)\n}",
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{})
			d, ok := firstError(ds)
			if !ok || !containsAll(d.Summary+d.Detail, "larg") {
				t.Errorf("%s", ds.Error())
			}
		})
	}
}

// TestEndlessExpressionsAreNotBegun: nothing can stop an evaluation, so what would
// take minutes is refused; what takes a moment is not.
func TestEndlessExpressionsAreNotBegun(t *testing.T) {
	job := "\njob \"j\" {\n  task \"a\" {\n    driver = \"noop\"\n  }\n}\n"
	big := "locals {\n  big = flatten([for i in range(20) : [for j in range(1000) : i * j]])\n"
	for name, expression := range map[string]string{
		"three loops":   `[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]`,
		"quadratic":     `[for a in local.big : [for b in local.big : b]]`,
		"splat in loop": `[for a in local.big : local.big[*]]`,
		"calls in loop": `[for a in local.big : contains(local.big, a)]`,
		"split":         `[for a in split("", jsonencode(local.big)) : split("", jsonencode(local.big))]`,
		"many mentions": `[` + strings.Repeat("sort(local.big),", 5000) + `]`,
		"template":      `"%{for a in local.big}%{for b in local.big}x%{endfor}%{endfor}"`,
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, big+"  x = "+expression+"\n}"+job, "3:", "too long")
		})
	}
	parse(t, big+`  ok1 = [for a in local.big : a if a > 5]
  ok2 = { for i in range(1000) : "k${i}" => { for j in range(20) : "f${j}" => i } }
  ok3 = [for k in keys(local.ok2) : local.ok2[k].f3]
  ok4 = sum([for k, m in local.ok2 : sum(values(m))])
  ok5 = [for a in range(1000) : [for b in range(100) : a * b]]
}`+job)
	f, _ := parse(t, "job \"j\" {\n  task \"a\" {\n    command = [\"x\"]\n    output {\n      type = \"json\"\n    }\n  }\n"+
		"  task \"b\" {\n    command = [\"x\", length([for x in task.a.output : [for y in task.a.output : [for z in task.a.output : 1]]])]\n  }\n}")
	_, _, ds := f.Resolve("j", "b", "r", ended(delivered("a", "["+strings.Repeat("1,", 30_000)+"1]")))
	if !containsAll(ds.Error(), "t.hcl:9:", "too long") {
		t.Errorf("%s", ds.Error())
	}
	resolve(t, f, "b", delivered("a", "[1,2,3]"))
}

// TestTextsOfManyPiecesAreRefused: HCL's parser takes quadratic time for them.
func TestTextsOfManyPiecesAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"percent": "locals {\n a = \"" + strings.Repeat("%x", 400_000) + "\"\n}",
		"dollar":  "locals {\n a = \"" + strings.Repeat("$x", 400_000) + "\"\n}",
		"lines":   "locals {\n a = <<EOT\n" + strings.Repeat("x\n", 400_000) + "EOT\n}",
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(text)}, jobspecs.Inputs{})
			if !containsAll(ds.Error(), "pieces", "file(") {
				t.Errorf("%.500s", ds.Error())
			}
		})
	}
}

// TestLimitsAreNamed: what is too much says which limit and what to do.
func TestLimitsAreNamed(t *testing.T) {
	job := func(body string) string {
		return "job \"j\" {\n  task \"a\" {\n    " + body + "\n  }\n}\n"
	}
	huge := job("command = [\"true\"]") + strings.Repeat("# filling\n", 200_000)
	_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(huge)}, jobspecs.Inputs{})
	if d, ok := firstError(ds); !ok || !containsAll(d.String(), "1 MiB") {
		t.Errorf("2 MiB: %s", ds.Error())
	}
	refused(t, job(`command = ["echo", "`+strings.Repeat("x", 128<<10)+`"]`), "3:24", "131071", "input")
	refused(t, job(`command = ["echo", "a\u0000b"]`), "3:24", "NUL")
	refused(t, job("command = [\"true\"]\n    env = {\n      \"A=B\" = 1\n    }"), "5:7", "A=B")
	refused(t, job("command = [\"true\"]\n    env = {\n      ROTA_TASK = 1\n    }"), "5:7", "ROTA_")
	refused(t, job(`command = concat(["echo"], [for i in range(300) : "`+strings.Repeat("x", 1000)+`"])`), "2:3", "256 KiB")
	refused(t, "job \"j\" {\n  task \""+strings.Repeat("x", 129)+"\" {\n    command = [\"true\"]\n  }\n}", "2:8", "128")
}

// TestLongCyclePrintsTheWholeCircle with a place for each edge.
func TestLongCyclePrintsTheWholeCircle(t *testing.T) {
	var b strings.Builder
	b.WriteString("job \"j\" {\n")
	for i := range 500 {
		fmt.Fprintf(&b, "  task \"t%d\" {\n    driver = \"noop\"\n    depends_on = [task.t%d]\n  }\n", i, (i+1)%500)
	}
	b.WriteString("}\n")
	_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(b.String())}, jobspecs.Inputs{})
	if len(ds) != 1 {
		t.Fatalf("%d diagnostics", len(ds))
	}
	for i := range 500 {
		if want := fmt.Sprintf("task.t%d needs task.t%d (t.hcl:%d:19)", i, (i+1)%500, 4*i+4); !strings.Contains(ds[0].Detail, want) {
			t.Fatalf("%q is not in %s", want, ds[0].Detail)
		}
	}
	if ds[0].Range.Start != (rota.Position{Line: 4, Column: 19, Byte: strings.Index(b.String(), "task.t1")}) {
		t.Errorf("%+v", ds[0].Range)
	}
}

// TestManyMistakesAreCutShort: the answer stays readable and bounded.
func TestManyMistakesAreCutShort(t *testing.T) {
	var b strings.Builder
	b.WriteString("job \"j\" {\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "  task \"t%d\" {\n    comand = [\"true\"]\n  }\n", i)
	}
	b.WriteString("}\n")
	_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(b.String())}, jobspecs.Inputs{})
	if len(ds) != 101 || !strings.Contains(ds[100].String(), "4900 more") {
		t.Errorf("%d diagnostics, the last: %s", len(ds), ds[len(ds)-1])
	}
}

// TestOneMistakeIsToldOnce, however many instances make it.
func TestOneMistakeIsToldOnce(t *testing.T) {
	_, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(`
job "j" {
  task "a" {
    for_each = toset([for i in range(100) : "k${i}"])
    command  = ["echo", tonumber(each.key)]
    workdir  = "rel/${each.key}"
  }
}`)}, jobspecs.Inputs{})
	if len(ds) != 2 || !strings.Contains(ds[0].Detail, "for a[k0]") {
		t.Errorf("%s", ds.Error())
	}
}

// TestColumnsCountCharacters, not bytes, in both syntaxes and behind a byte order
// mark.
func TestColumnsCountCharacters(t *testing.T) {
	refused(t, "\xef\xbb\xbfjob \"j\" {\n  task \"a\" {\n    command = [\"äöü€\", \"日本\", foo]\n  }\n}", "3:30", "foo")
	refused(t, "\xef\xbb\xbfjob \"j\" { x = 1 }\n", "1:11", "x")
	refused(t, "job \"j\" {\r\n  task \"a\" {\r\n    command = [foo]\r\n  }\r\n}\r\n", "3:16", "foo")
}

// TestParsingTwiceIsTheSame, diagnostics included.
func TestParsingTwiceIsTheSame(t *testing.T) {
	for _, path := range []string{"testdata/specs/report.hcl", "testdata/specs/review.hcl", "testdata/specs/finetune.hcl"} {
		_, first := read(t, path, jobspecs.Inputs{})
		for range 20 {
			if _, again := read(t, path, jobspecs.Inputs{}); again.Error() != first.Error() {
				t.Fatalf("%s\n%s", first.Error(), again.Error())
			}
		}
	}
}

// TestBigJobsParseInReasonableTime is a coarse guard against quadratic work; the
// benchmarks measure.
func TestBigJobsParseInReasonableTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second on a busy machine")
	}
	start := time.Now()
	parse(t, string(bigJob(10_000)))
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("10,000 tasks took %s", took)
	}
}
