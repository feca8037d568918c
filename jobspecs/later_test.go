package jobspecs_test

import (
	"strings"
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/jobspecs"
)

// TestWholeLanguageIsRefusedOnlyWhereItIsNotBuilt: the target specs of the
// language use blocks of later versions; nothing else in them is a mistake.
func TestWholeLanguageIsRefusedOnlyWhereItIsNotBuilt(t *testing.T) {
	for _, name := range []string{"report", "review", "finetune"} {
		t.Run(name, func(t *testing.T) {
			_, ds := read(t, "testdata/specs/"+name+".hcl", jobspecs.Inputs{AllowMissing: true})
			t.Logf("\n%s", ds.Error())
			if !ds.HasErrors() {
				t.Error("it was accepted")
			}
			for _, d := range ds {
				if d.Severity == rota.SeverityError && !strings.Contains(d.Summary, "not built yet") {
					t.Errorf("another error: %s", d)
				}
			}
		})
	}
}
