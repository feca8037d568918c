// Package hostinfo says what a machine has for tasks: cores, memory, disk, GPUs
// with the identities that CUDA knows them by, and which boot of which system it
// is. It promises to take a container's limits for the machine's where they are
// lower, and to say in words what it could not find out. It never changes
// anything and never guesses a GPU that no tool has reported.
package hostinfo
