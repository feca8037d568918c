package noop_test

import (
	"testing"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
	"github.com/rota-sched/rota/agent/noop"
	"github.com/rota-sched/rota/agenttest"
)

func TestNoopIsADriver(t *testing.T) {
	agenttest.Exercise(t, agenttest.Subject{
		Driver: noop.Driver{},
		Quick: func(*testing.T) agent.Task {
			return agent.Task{Assignment: rota.Assignment{Spec: &rota.TaskSpec{Driver: rota.DriverNoop}}}
		},
	})
}

func TestNoopCostsNoGoroutine(t *testing.T) {
	h, err := noop.Driver{}.Start(t.Context(), agent.Task{}, agenttest.Quiet{})
	if _, ok := h.(agent.Finished); !ok || err != nil {
		t.Fatalf("start gave %T, %v; want an attempt that has ended", h, err)
	}
}
