// Package agent runs on its node what the cluster placed there, and says what
// became of it. It promises that no fence is started twice, that nothing is
// started which the node's lease might not cover, that the lease's deadline
// counts from the instant a renewal was sent, and that every outcome is reported
// until the cluster has answered. What it decides is decided in Core, a step
// function without clock, goroutine or I/O; Agent is the shell around it. It
// never executes anything itself (drivers do), never kills on the deadline (the
// keeper does) and never decides where a task runs.
package agent
