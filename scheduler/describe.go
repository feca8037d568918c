package scheduler

import (
	"fmt"
	"strings"
	"time"

	"github.com/rota-sched/rota"
)

// Describe explains a task that is not queued from its record alone. nodeName
// turns a node's ID into its name.
func Describe(t *rota.Task, now rota.Instant, nodeName func(rota.NodeID) string) Explanation {
	e := Explanation{Task: t.ID, Status: t.Status, Reason: t.Why}
	if !e.Reason.IsZero() {
		return e
	}
	where := func() string {
		if t.Placement == nil {
			return ""
		}
		return " on " + nodeName(t.Placement.Node)
	}
	switch t.Status { //nolint:exhaustive // the rest carries its reason in Why, or needs none
	case rota.StatusCreated:
		e.Reason = describeCreated(t)
	case rota.StatusRetrying:
		e.Reason = rota.Reason{Code: rota.ReasonBackoff, Text: fmt.Sprintf("tries again %s, after %s (%s)", in(t.DueAt, now), count(t.AttemptsUsed, "counted attempt"), t.Cause)}
	case rota.StatusQueued:
		e.Reason = rota.Reason{Code: rota.ReasonOrder, Text: "it has just become ready"}
	case rota.StatusAssigned:
		e.Reason.Text = "placed" + where() + ", which has not said yet that it started"
	case rota.StatusRunning:
		e.Reason.Text = "running" + where()
	case rota.StatusDeadLettered:
		e.Reason.Text = strings.TrimSuffix(fmt.Sprintf("failed for good after %s: %s: %s", count(t.AttemptsUsed, "counted attempt"), t.Cause, t.Message), ": ")
	}
	return e
}

func describeCreated(t *rota.Task) rota.Reason {
	if t.OpenDeps == 0 && len(t.Spec.Late) > 0 {
		return rota.Reason{Code: rota.ReasonExpressions, Text: "waits for the leader to evaluate " + strings.Join(t.Spec.Late, ", ")}
	}
	return rota.Reason{Code: rota.ReasonDependencies, Text: fmt.Sprintf("waits for %d of the %s it depends on", t.OpenDeps, count(len(t.DependsOn), "task"))}
}

func in(at, now rota.Instant) string {
	d := at.Sub(now)
	if d <= 0 {
		return "now"
	}
	return "in " + d.Round(roundWaiting(d)).String()
}

// roundWaiting is how exactly people want to read a wait.
func roundWaiting(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return 10 * time.Millisecond
	}
	return time.Second
}
