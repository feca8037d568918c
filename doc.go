// Package rota holds the words of Rota: the values that every other package
// speaks in, and nothing that moves. A job becomes a run, a run has tasks, a
// task is placed on a node as an attempt, and an attempt ends with an outcome.
// The package promises that its types are plain values (a record handed out by
// the state machine is never changed afterwards) and that the one function which
// says whether a task fits a node, Fits, is the same for the scheduler that
// proposes and for the state machine that checks. It never does I/O, reads no
// clock, starts no goroutine and imports the standard library only.
package rota
