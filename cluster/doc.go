// Package cluster makes one log of many machines: Raft, gossip and the forwarding
// of proposals. Whoever calls Propose on any node gets the result that the state
// machine gave on the leader, after a majority has the operation on disk. The
// package promises that an acknowledged operation is lost with a majority of the
// voters' disks only, that whatever it reads back from disk was checked, that
// a node never answers for a log it has lost the end of, and that every wait ends
// with its context. It never decides what should happen: it carries operations,
// and its word about the life of a node is a hint.
package cluster
