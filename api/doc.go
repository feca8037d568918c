// Package api is both ends of Rota's HTTP protocol: the doors that every node
// opens for people and for other nodes, and the clients that knock on them. It
// promises the routes and shapes of the contract, that every refusal is a problem
// document which says what to do next, and that no request, however malformed,
// makes a node do more than its bounds allow. It never decides anything about the
// state: it reads snapshots and proposes commands through the small interfaces it
// declares, which the node fills in.
package api
