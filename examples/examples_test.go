package examples_test

import (
	"os"
	"testing"

	"github.com/rota-sched/rota/jobspecs"
)

func TestX(t *testing.T) {
	for _, n := range []string{"demo.hcl", "source-report.hcl"} {
		b, _ := os.ReadFile(n)
		_, ds := jobspecs.Parse(jobspecs.Source{Filename: n, Text: b}, jobspecs.Inputs{AllowMissing: true})
		t.Log(ds.Error())
	}
}
