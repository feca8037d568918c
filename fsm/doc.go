// Package fsm is the replicated state of a Rota cluster: entries of the log go
// in, results and changes come out. It promises that equal entries in equal order
// give equal state, results, changes and digest on every replica, that a refused
// command changes nothing, and that a snapshot restores to exactly the state it
// was taken from. It never reads a clock, draws chance, starts a goroutine, does
// I/O beyond the reader and writer it is handed, or panics on what it is given.
package fsm
