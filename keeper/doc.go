// Package keeper holds a node's task processes: it is one small process beside
// the agent, the parent of everything a task starts, and it outlives the agent.
// It promises that no attempt is started twice, that none is started or left
// alive past the lease's deadline, whatever the agent does, that an exit is kept
// until it is acknowledged, and that a session is released only when nothing of
// it is alive. It never reads a job, never talks to the cluster but for that
// release, and never decides how an attempt went: it knows processes, not tasks.
package keeper
