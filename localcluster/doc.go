// Package localcluster runs the nodes of a cluster as processes of their own on this
// machine, for demonstrations and measurements that kill some of them. It promises
// that Close leaves no process and no file of them behind, whatever happened before,
// and it kills nothing that it did not start. It never looks inside a node: it speaks
// to them as any user does.
package localcluster
