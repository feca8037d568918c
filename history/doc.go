// Package history keeps what happened: the events that the applied entries of the
// log tell, in segment files on this node, bounded by bytes, readable from any
// event on and followed live. It promises that events come out in log order
// without a hole, that a reader who asks for what is no longer kept is told so
// (ErrGone) instead of being given less, and that neither a slow reader nor a slow
// disk ever holds up the goroutine that applies the log. It never decides
// anything, and nothing depends on it: what must be kept is in the records of the
// state.
package history
