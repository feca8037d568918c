// Package nemesis starts real nodes in network namespaces of their own, does bad
// things to them while clients work, and then counts: everything acknowledged is
// there, every task was delivered once, what the clients saw is linearizable, no
// two attempts ran at once while the assumptions held, and the cluster works
// again. All of it happens inside namespaces that the tests make and that end
// with them; it needs root and skips with the reason where it cannot be had.
package nemesis
