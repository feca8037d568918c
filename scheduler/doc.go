// Package scheduler decides which queued task goes to which node, and can say why
// the others wait. It promises that the same stream of changes gives the same
// decisions, that a scheduler built from a snapshot decides like the one that saw
// every change, that nothing is proposed which rota.Fits refuses, and that a
// blocked backlog costs as much as it has kinds of demands, not tasks. It never
// reads a clock, starts a goroutine, does I/O or changes the state: its placements
// are wishes, which the state machine grants or refuses.
package scheduler
