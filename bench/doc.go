// Package bench measures Rota on this machine, as `rota bench`: what a cluster of
// three nodes does in a second and how long it takes to get over a loss. It promises
// to show every repeat and never the best alone, with the machine's own limit of the
// same minute beside it, and to leave no process and no file behind. It never judges:
// no test depends on a figure.
package bench
