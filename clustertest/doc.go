// Package clustertest runs the nodes of a cluster inside one test: real Raft, real
// gossip, on a network, disks and clocks that the test holds in its hand. It works
// in testing/synctest bubbles, where a minute of elections takes milliseconds. It
// promises that a killed node says nothing more to anybody and keeps what it had
// stored, and that a cut line loses packets and stalls streams as a real one does.
// It never runs outside tests.
package clustertest
