// Package sim is a world in a box: servers with a replicated log, nodes with
// agent, keeper and processes, clients, a network, clocks and disks, all modelled,
// around the very step functions that ship (leader.Core with its scheduler,
// agent.Core, keeper.Core and the state machine). One seed is one history of kills,
// partitions, pauses, bad disks, changes of voters and restarts; the same seed gives
// the same history to the bit. The package promises that nothing but the world
// around the cores is written twice: a decision that is made here instead of there
// is a defect of this package. What it stands in for are the shells: package
// cluster with Raft and its stores, and the loops around the cores. It never opens
// a socket, a file or a real process.
package sim
