package cluster

import (
	"path/filepath"

	"github.com/rota-sched/rota"
)

// Credentials are the cluster's ID and the key that its nodes share; both empty
// while the node belongs to no cluster.
func (c *Cluster) Credentials() (clusterID string, key []byte) {
	mem := c.ident.membership()
	if mem == nil {
		return "", nil
	}
	return mem.ClusterID, mem.Key
}

// ReadCredentials reads them from a node's data directory without opening it: for
// the node's keeper, which is a process of its own. The error wraps
// rota.ErrNotFound where the node belongs to no cluster yet.
func ReadCredentials(dir string) (clusterID string, key []byte, err error) {
	mem, err := readMembership(filepath.Join(dir, clusterFile))
	if err != nil {
		return "", nil, err
	}
	if mem == nil {
		return "", nil, &rota.Refusal{Kind: rota.KindNotFound, Detail: "the data directory " + dir + " belongs to no cluster yet"}
	}
	return mem.ClusterID, mem.Key, nil
}
