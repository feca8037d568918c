package exec

import (
	"strings"
	"testing"
	"time"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/keeper"
)

// TestAnEndSaysWhichLimitWasMet: whoever reads it knows what to change.
func TestAnEndSaysWhichLimitWasMet(t *testing.T) {
	a := &keeper.Attempt{Why: keeper.WhyAsked, Reason: rota.CauseTimeoutRun.String(), Killed: true}
	o := outcome(a, &meta{Dir: t.TempDir(), Limit: 90 * time.Second}, rota.CauseCancelled)
	if o.Cause != rota.CauseTimeoutRun || !strings.Contains(o.Message, `start_to_close = "1m30s"`) || !strings.Contains(o.Message, "raise the limit") {
		t.Errorf("%s: %s", o.Cause, o.Message)
	}
	a = &keeper.Attempt{Output: keeper.Output{DroppedBytes: 12345}}
	if o = outcome(a, &meta{Dir: t.TempDir()}, rota.CauseCancelled); o.Cause != rota.CauseNone || !strings.Contains(o.Message, "12345 bytes") {
		t.Errorf("%s: %s", o.Cause, o.Message)
	}
}
