// Package noop is the driver whose attempts end at once, well, without doing
// anything: for measuring everything around them and for joints of a graph. It
// promises that an attempt costs no goroutine, process or file, and it never
// touches the disk.
package noop

import (
	"context"

	"github.com/rota-sched/rota"
	"github.com/rota-sched/rota/agent"
)

// Driver does nothing. Its zero value is ready.
type Driver struct{}

// Name implements agent.Driver.
func (Driver) Name() rota.Driver { return rota.DriverNoop }

// Start returns an attempt that has ended. It never fails.
func (Driver) Start(context.Context, agent.Task, agent.Sink) (agent.Handle, error) {
	return agent.Finished{}, nil
}

// Adopt always returns agent.ErrLost: nothing of a noop attempt outlives Start.
func (Driver) Adopt(context.Context, agent.Task, agent.Sink) (agent.Handle, error) {
	return nil, agent.ErrLost
}
