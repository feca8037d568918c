// Package exec is the driver that runs a task's command as a process of the node.
// It promises the environment of CONTRACT.md, a fresh working directory for each
// attempt that names none, an output that obeys the limits, and an outcome whose
// message says in one line what went wrong. The processes themselves belong to the
// node's keeper: this package starts, signals and kills nothing by itself, and it
// never passes a command through a shell.
package exec
