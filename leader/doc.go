// Package leader does the duties of the leading node: it places queued tasks,
// keeps the table of leases, wakes the state machine's timers, has late
// expressions evaluated and tells every node what it is to run. It promises that
// a renewal is answered only after it was committed in this leadership, that a
// session is never declared over before its node must have killed everything, and
// that every stream to a node carries placements in the order of the log, without
// a hole. What it decides is decided in Core, a step function without clock,
// goroutine or I/O; Leader is the shell around it. It never changes the state
// otherwise than by proposing operations, and holds nothing that the next leader
// could not rebuild from a snapshot.
package leader
