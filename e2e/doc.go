// Package e2e tests Rota as people use it: it builds the binary, starts real
// processes on loopback and in network namespaces of its own, kills them, and
// looks only through the command line. It promises to end every process it
// started, by its PID, and never ships in the binary.
package e2e
