// Package cmd is the command line: it turns arguments into calls of a node's
// HTTP door and answers into text, JSON or exit codes. It promises that stdout
// carries data only, that every failure names what to do next, and that the exit
// codes and shapes are those of the contract with scripts (docs/CLI.md). It never
// decides anything about tasks, keeps no state between two calls, and starts
// nodes only through the doors that its caller hands in.
package cmd
