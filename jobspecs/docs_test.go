package jobspecs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rota-sched/rota/jobspecs"
)

// TestDocumentationSaysWhatIsBuilt: the example of docs/JOBSPEC.md works, and
// every word that the reader knows, or refuses as not built, stands on the page.
func TestDocumentationSaysWhatIsBuilt(t *testing.T) {
	page, err := os.ReadFile("../docs/JOBSPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```hcl\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	f, job := parse(t, example)
	if got := len(job.Tasks); got != 4 {
		t.Errorf("the example has %d tasks", got)
	}
	spec, _, ds := f.Resolve("greet", "say[ada]", "r", ended(delivered("words", `{"hello":"Good morning"}`)))
	if ds.HasErrors() || spec.Command[1] != "Good morning, Ada!" {
		t.Errorf("%+v %s", spec, ds.Error())
	}
	for _, word := range jobspecs.Words() {
		if !strings.Contains(string(page), word) {
			t.Errorf("the page does not mention %q", word)
		}
	}
}
