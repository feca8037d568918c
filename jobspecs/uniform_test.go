package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rota-sched/rota/jobspecs"
)

// TestConversionsMeanTheSameForEqualTypes and for mixed ones.
func TestConversionsMeanTheSameForEqualTypes(t *testing.T) {
	for expression, want := range map[string]string{
		`toset(["b", "a", "b"])`:                         `["a","b"]`,
		`toset([1, "a"])`:                                `["1","a"]`,
		`toset([])`:                                      `[]`,
		`tolist(["b", "a"])`:                             `["b","a"]`,
		`tolist([1, "a"])`:                               `["1","a"]`,
		`tolist([["a"], ["b", "c"]])`:                    `[["a"],["b","c"]]`,
		`tomap({ a = "x", b = "y" })`:                    `{"a":"x","b":"y"}`,
		`tomap({ a = 1, b = "y" })`:                      `{"a":"1","b":"y"}`,
		`tomap({ a = { n = 1 }, b = { n = 2 } })`:        `{"a":{"n":1},"b":{"n":2}}`,
		`tolist([null, "a"])`:                            `[null,"a"]`,
		`toset(tolist(["a"]))`:                           `["a"]`,
		`coalesce(tolist(null), ["x"])`:                  `["x"]`,
		`[for x in toset(["a", "b"]) : "${x}-${x}"]`:     `["a-a","b-b"]`,
		`keys(tomap({ z = "1", a = "2" }))`:              `["a","z"]`,
		`can(toset("x")) ? "yes" : "no"`:                 `"no"`,
		`length(toset([for i in range(300) : "i${i}"]))`: `300`,
	} {
		source := fmt.Sprintf("job \"j\" {\n  task \"t\" {\n    command = [\"echo\", jsonencode(%s)]\n  }\n}\n", expression)
		f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: []byte(source)}, jobspecs.Inputs{})
		if ds.HasErrors() {
			t.Errorf("%s: %v", expression, ds)
			continue
		}
		if got := f.Jobs()[0].Specs[0].Command[1]; got != want {
			t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
}

// TestASetOfTenThousandLiterals makes as many tasks.
func TestASetOfTenThousandLiterals(t *testing.T) {
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: "t.hcl", Text: literalSet(10_000)}, jobspecs.Inputs{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	if n := len(f.Jobs()[0].Tasks); n != 10_000 {
		t.Errorf("%d tasks", n)
	}
}

// BenchmarkLiteralSet10000: the time grows with the number, not with its square.
func BenchmarkLiteralSet10000(b *testing.B) { benchmark(b, literalSet(10_000), 10_000) }

func literalSet(n int) []byte {
	var b strings.Builder
	b.WriteString("job \"j\" {\n  task \"t\" {\n    driver = \"noop\"\n    for_each = toset([\n")
	for i := range n {
		fmt.Fprintf(&b, "      \"item-%d\",\n", i)
	}
	b.WriteString("    ])\n  }\n}\n")
	return []byte(b.String())
}
