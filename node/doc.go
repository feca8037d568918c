// Package node wires one running node: it opens the parts of the floors below in
// the right order, adapts the small interfaces that they declare to each other,
// runs them until it is told to stop, and stops them in the opposite order. It
// promises that Run returns only when everything it started has ended. It never
// decides anything about tasks, leases or the log itself.
package node
