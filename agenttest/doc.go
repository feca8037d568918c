// Package agenttest holds what tests of agents and drivers need: the conformance
// suite that every driver passes (Exercise), a cluster of one answer (Cluster), a
// keeper in memory (Keeper) and a driver whose attempts do what their command
// says (Script). It promises to use no clock but time's, so that everything runs
// in a synctest bubble, and never touches the network.
package agenttest
