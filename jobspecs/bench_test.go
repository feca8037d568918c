package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// bigJob writes a job of n tasks that each mention the one before.
func bigJob(n int) []byte {
	var b strings.Builder
	b.WriteString("job \"j\" {\n  task \"t0\" {\n    command = [\"true\"]\n    output {}\n  }\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "  task \"t%d\" {\n    command = [\"echo\", task.t%d.output]\n    output {}\n  }\n", i, i-1)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

func benchmark(b *testing.B, text []byte, tasks int) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		f, ds := jobspecs.Parse(jobspecs.Source{Filename: "big.hcl", Text: text}, jobspecs.Inputs{})
		if ds.HasErrors() {
			b.Fatal(ds.Error())
		}
		if got := len(f.Jobs()[0].Tasks); got != tasks {
			b.Fatalf("%d tasks", got)
		}
	}
}

// Targets: 2,000 tasks in under 60 ms, 10,000 in under 400 ms. (Source:
// JOBSPEC.md, section 5.)
func BenchmarkParse2000(b *testing.B)  { benchmark(b, bigJob(2000), 2000) }
func BenchmarkParse10000(b *testing.B) { benchmark(b, bigJob(10_000), 10_000) }

// BenchmarkSyntaxOnly10000 is the share of the above that HCL's own parser takes.
func BenchmarkSyntaxOnly10000(b *testing.B) {
	text := bigJob(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := hclsyntax.ParseConfig(text, "big.hcl", hcl.InitialPos); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}

func BenchmarkFanOut10000(b *testing.B) {
	text := fmt.Sprintf("job \"j\" {\n  task \"a\" {\n    for_each = toset([for i in range(100) : \"a${i}\"])\n    command  = [\"echo\", each.key]\n    output {}\n  }\n" +
		"  task \"b\" {\n    matrix {\n      x = range(100)\n      y = range(99)\n    }\n    command = [\"echo\", \"${matrix.x}-${matrix.y}\", task.a[\"a7\"].output]\n  }\n}\n")
	benchmark(b, []byte(text), 100+9900)
}

func BenchmarkResolve(b *testing.B) {
	f, ds := jobspecs.Parse(jobspecs.Source{Filename: "big.hcl", Text: bigJob(2000)}, jobspecs.Inputs{})
	if ds.HasErrors() {
		b.Fatal(ds.Error())
	}
	look := func(k rota.TaskKey) (jobspecs.TaskValue, bool) {
		return jobspecs.TaskValue{Key: k, Status: rota.StatusDelivered, Output: []byte(`"x"`), HasOutput: true}, true
	}
	for b.Loop() {
		if _, _, ds := f.Resolve("j", "t1000", "r", look); ds.HasErrors() {
			b.Fatal(ds.Error())
		}
	}
}
